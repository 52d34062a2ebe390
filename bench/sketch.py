"""What a minute of drafted sound costs on one core.

    python -m bench.sketch [--seconds 60]

Makes sound effects and music of the given length for each of a few scenes, and for several of them in turn, and prints the
seconds of processor time of all threads together, the best of three runs. Both are to stay under 3 s per minute, however many
scenes there are.
"""

import argparse
import itertools
import time

from models.audio_generation import AudioRequest, nothing_to_report
from models.record import Mood
from models.sketch import SketchAudioSettings
from models.sketch.foley import FoleyGenerator
from models.sketch.music import MusicGenerator

RUNS = 3
IN_TURN = 6
SCENES = {
    "A bright, calm scene with sky above water and sand.": Mood(valence=0.6, arousal=-0.5),
    "A dark, calm night scene with lights.": Mood(valence=-0.5, arousal=-0.4),
    "People talk in a busy street with cars, rain and wind.": Mood(valence=-0.2, arousal=0.7),
    "A forest with birds, a stream and a fire.": Mood(valence=0.7, arousal=0.3),
}


def seconds_for(generator: FoleyGenerator | MusicGenerator, request: AudioRequest) -> float:
    """Processor time of the quickest run: what others do on this machine does not count."""
    seconds = []
    for _ in range(RUNS):
        start = time.process_time()
        generator.generate(request, on_step=nothing_to_report)
        seconds.append(time.process_time() - start)
    return min(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    length = parser.parse_args().seconds
    foley, music = FoleyGenerator.load(SketchAudioSettings()), MusicGenerator.load(SketchAudioSettings())
    print(f"{length:g} s of sound, seconds of one core, best of {RUNS}\n\n  foley   music    both")
    for prompt, mood in SCENES.items():
        request = AudioRequest(prompt, length, seed=1, mood=mood)
        report(prompt, seconds_for(foley, request), seconds_for(music, request))
    request = in_turn(length)
    report(f"{IN_TURN} scenes, these in turn", seconds_for(foley, request), seconds_for(music, request))


def in_turn(seconds: float) -> AudioRequest:
    """All the scenes one after another, and from the first again."""
    (prompt, mood), *later = itertools.islice(itertools.cycle(SCENES.items()), IN_TURN)
    return AudioRequest(
        prompt,
        seconds,
        seed=1,
        mood=mood,
        later_prompts=tuple((seconds * number / IN_TURN, words) for number, (words, _) in enumerate(later, start=1)),
        later_moods=tuple(mood for _, mood in later),
    )


def report(what: str, foley: float, music: float) -> None:
    print(f"{foley:7.2f} {music:7.2f} {foley + music:7.2f}   {what}", flush=True)


if __name__ == "__main__":
    main()
