"""`audio_generation`: what a record asks of a generator, and the stem that comes of it. For the other modules see `steps.py`."""

from pathlib import Path
from typing import Protocol

from models.audio import STEM_CHANNELS, STEM_SAMPLE_RATE, write_stem
from models.audio_generation import AudioRequest, GeneratedAudio, OnStep
from models.audio_generation.notes import notes_on
from models.dependencies import require
from models.record import AudioGeneration, RankedCandidate, Record, Reference, ScenePrompt, Stem, StemKind
from models.workspace import Workspace


class Generator(Protocol):
    """What `audio_generation` needs: AudioLDM2, ACE-Step, or the sketches of music and of foley."""

    model: str

    def generate(self, request: AudioRequest, *, on_step: OnStep) -> GeneratedAudio: ...


def audio_request(record: Record, kind: StemKind, *, reference: Path | None = None) -> AudioRequest:
    """What the record asks of the generator of this stem. `reference`: the file of the record's, where it is to be heard."""
    require(record, "audio_generation")
    prompts, options = record.prompt_enhancement, record.video_input.options
    assert prompts is not None
    (first, take), *later = (
        (one.music_prompt, one.music_take) if kind == "music" else (one.sound_prompt, one.sound_take)
        for one in prompts.scenes
    )
    moods = [one.mood for one in record.frame_description.scenes] if record.frame_description else []
    known = len(moods) == len(prompts.scenes)
    return AudioRequest(
        prompt=first,
        later_prompts=tuple(
            (scene.start_seconds, prompt) for scene, (prompt, _) in zip(record.scenes[1:], later, strict=True)
        ),
        later_moods=tuple(moods[1:]) if known else (),
        later_takes=tuple(take for _, take in later),
        crossing_seconds=options.crossing_seconds,
        negative_prompt=prompts.negative_prompt,
        seconds=record.video_input.result_seconds,
        seed=_stem_seed(options.seed or 0, kind),
        steps=options.steps,
        guidance=options.guidance,
        candidates=options.candidates,
        keep_candidates=options.keep_candidates,
        loop=options.loop,
        reference=reference,
        reference_weight=options.reference_weight,
        mood=moods[0] if known else None,
        take=take,
    )


def generate_audio(
    record: Record, kind: StemKind, generator: Generator, files: Workspace, *, on_step: OnStep
) -> AudioGeneration:
    """`audio_generation`, one stem: made by the model at its own rate, kept as 48 kHz stereo as long as the result."""
    heard = heard_reference(record)
    request = audio_request(record, kind, reference=files.path(heard.path) if heard else None)
    made = generator.generate(request, on_step=on_step)
    ranking = _ranking(made, f"{files.made}/{kind}", request=request, files=files)
    key = ranking[made.chosen].path if ranking else None
    if key is None:
        key = f"{files.made}/{kind}.flac"
        write_stem(made.audio, files.new(key), seconds=request.seconds, loop=made.loops)
    stem = Stem(
        kind=kind,
        model=generator.model,
        path=key,
        duration_seconds=request.seconds,
        sample_rate=STEM_SAMPLE_RATE,
        channels=STEM_CHANNELS,
        model_sample_rate=made.audio.sample_rate,
        model_channels=made.audio.samples.shape[0],
        prompt=request.prompt,
        later_prompts=tuple(
            ScenePrompt(seconds=seconds, prompt=prompt, take=take)
            for (seconds, prompt), take in zip(request.later_prompts, request.later_takes, strict=True)
        ),
        take=request.take,
        negative_prompt=request.negative_prompt,
        seed=request.seed,
        steps=made.steps,
        guidance=made.guidance,
        candidates=len(made.candidates) or 1,
        score=made.score,
        prompt_words_unread=made.prompt_words_unread,
        chosen=made.chosen,
        ranking=ranking,
        loops=made.loops,
        reference=heard.token if heard and made.listened else None,
        reference_weight=request.reference_weight if made.listened else None,
        notes=notes_on(made, request=request, model=generator.model),
    )
    return AudioGeneration(stems=(stem,))


def heard_reference(record: Record) -> Reference | None:
    """The record's reference, if it counts."""
    came = record.video_input
    return came.reference if came.options.reference_weight > 0 else None


def _ranking(
    made: GeneratedAudio, name: str, *, request: AudioRequest, files: Workspace
) -> tuple[RankedCandidate, ...]:
    """The candidates of a stem; of those that are kept, the sound is written, numbered from 1."""
    ranking = []
    for number, candidate in enumerate(made.candidates, start=1):
        key = f"{name}-{number}.flac" if request.keep_candidates and candidate.audio else None
        if key and candidate.audio:
            write_stem(candidate.audio, files.new(key), seconds=request.seconds, loop=made.loops)
        ranking.append(RankedCandidate(score=candidate.score, path=key))
    return tuple(ranking)


def _stem_seed(seed: int, kind: StemKind) -> int:
    # Diffusion from the same noise puts events at the same places, whatever the prompt: stems must not share it.
    return seed if kind == "music" else (seed + 1) % 2**32
