import time
from dataclasses import fields
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from models.audio import Samples
from models.audio_generation import AudioRequest, nothing_to_report
from models.errors import Cancelled
from models.record import Mood
from models.sketch import SketchAudioSettings
from models.sketch.arrangement import Note
from models.sketch.composition import Score, Section, compose, draw_tonic
from models.sketch.harmony import SCALES
from models.sketch.music import MusicGenerator
from models.sketch.style import Style, style_of

RATE = 48_000
JOYFUL, SERENE = Mood(valence=0.8, arousal=0.8), Mood(valence=0.7, arousal=-0.8)
SAD, TENSE = Mood(valence=-0.8, arousal=-0.7), Mood(valence=-0.8, arousal=0.8)
MOODS = (JOYFUL, SERENE, SAD, TENSE)
SEEDS = range(6)

Floats = NDArray[np.float64]


def generate(
    prompt: str = "", *, seconds: float = 12, seed: int = 1, mood: Mood | None = None, negative: str = ""
) -> Samples:
    request = AudioRequest(prompt, seconds, seed, negative, mood=mood)
    generated = MusicGenerator.load(SketchAudioSettings()).generate(request, on_step=nothing_to_report)
    assert generated.audio.sample_rate == RATE
    assert generated.steps is None
    assert generated.guidance is None
    return generated.audio.samples


def style(prompt: str = "", *, seed: int = 1, mood: Mood | None = None, negative: str = "") -> Style:
    return style_of(prompt, negative=negative, mood=mood, rng=np.random.default_rng(seed))


def score(
    prompt: str = "", *, seconds: float = 60, seed: int = 1, mood: Mood | None = None, negative: str = ""
) -> Score:
    rng = np.random.default_rng(seed)
    tonic = draw_tonic(rng)
    return compose(
        style_of(prompt, negative=negative, mood=mood, rng=rng),
        tonic=tonic,
        seconds=seconds,
        rng=np.random.default_rng((seed, 1)),
    )


def melody(piece: Score, section: Section | None = None) -> list[Note]:
    """The melody's notes in order, without those that double it; of one section, or of the whole."""
    notes: list[Note] = []
    for note in piece.notes:
        inside = section is None or section.start <= note.start < section.start + section.beats
        if note.part == "lead" and inside and not (notes and notes[-1].start == note.start):
            notes.append(note)
    return notes


def line(piece: Score, section: Section) -> Floats:
    """The melody of a section's first two bars on a grid of quavers, around its mean: its contour."""
    notes = melody(piece, section)
    grid = section.start + np.arange(0, 2 * piece.fit.beats, 0.5)
    pitches = [next((note.pitch for note in reversed(notes) if note.start <= at), notes[0].pitch) for at in grid]
    contour: Floats = np.asarray(pitches, dtype=np.float64) - np.mean(pitches)
    return contour


def likeness(one: Floats, other: Floats) -> float:
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other) + 1e-9))


def loudness(samples: Samples, *, seconds: float) -> Floats:
    """RMS in dB of every stretch of so many seconds."""
    size = round(seconds * RATE)
    stretches = samples[:, : samples.shape[1] // size * size].reshape(2, -1, size)
    levels: Floats = 10 * np.log10((stretches.astype(np.float64) ** 2).mean(axis=(0, 2)) + 1e-15)
    return levels


def spectrum(samples: Samples) -> tuple[Floats, Floats]:
    """Frequencies in Hz, and the power at each."""
    power: Floats = np.square(np.abs(np.fft.rfft(samples.mean(0)))).astype(np.float64)
    return np.fft.rfftfreq(samples.shape[1], 1 / RATE).astype(np.float64), power


def chroma(samples: Samples) -> Floats:
    """Power of the twelve pitch classes, C first."""
    hertz, power = spectrum(samples)
    heard = (hertz > 120) & (hertz < 600)
    classes = np.round(69 + 12 * np.log2(hertz[heard] / 440)).astype(int) % 12
    return np.bincount(classes, weights=power[heard], minlength=12).astype(np.float64)


def onsets_per_second(samples: Samples) -> float:
    """How often the spectrum suddenly gains energy."""
    frames = np.lib.stride_tricks.sliding_window_view(samples.mean(0), 2048)[::512] * np.hanning(2048)
    bands = np.log1p(100 * np.abs(np.fft.rfft(frames.astype(np.float32)))[:, :400])
    flux = np.maximum(np.diff(bands, axis=0), 0).sum(axis=1)
    peaks = (flux[1:-1] > flux[:-2]) & (flux[1:-1] >= flux[2:]) & (flux[1:-1] > flux.mean() + flux.std())
    return float(peaks.sum() / (samples.shape[1] / RATE))


@pytest.mark.parametrize("seconds", [0.1, 0.55, 1, 2.5, 12, 60])
def test_the_sound_is_exactly_as_long_as_asked_in_stereo_and_never_clips(seconds: float) -> None:
    samples = generate(seconds=seconds, mood=JOYFUL)
    assert samples.shape == (2, round(seconds * RATE))
    assert samples.dtype == np.float32
    assert 0.05 < np.abs(samples).max() < 1
    assert not np.array_equal(samples[0], samples[1])


@pytest.mark.parametrize("mood", MOODS)
def test_it_is_never_silent_inside_and_fades_out_before_it_ends(mood: Mood) -> None:
    samples = generate(mood=mood)
    loud = loudness(samples, seconds=0.5)
    assert loud[:-6].min() > -45
    assert np.abs(samples[:, -480:]).max() < 0.003
    assert loud[-1] < loud.max() - 20


def test_one_who_plays_alone_begins_at_once() -> None:
    for seed in range(3):
        loud = loudness(generate("solo flute, no synth", seconds=24, seed=seed), seconds=1)
        assert loud[:-4].min() > -55


@pytest.mark.parametrize("mood", MOODS)
def test_its_spectrum_is_neither_shrill_nor_muddy(mood: Mood) -> None:
    hertz, power = spectrum(generate(seconds=12, mood=mood))
    assert power[hertz > 10_000].sum() < 0.002 * power.sum()
    assert power[hertz < 50].sum() < 0.01 * power.sum()
    assert power[hertz > 1000].sum() > 0.01 * power.sum()


def test_nothing_clicks() -> None:
    """A click is a jump that is large beside how fast the sound otherwise moves."""
    steps = np.abs(np.diff(generate(mood=SERENE), n=2))
    assert steps.max() < 60 * steps.mean()


def test_the_same_request_gives_the_same_samples_and_another_seed_another_piece() -> None:
    first = generate(seed=7, mood=SAD)
    assert np.array_equal(first, generate(seed=7, mood=SAD))
    assert not np.array_equal(first, generate(seed=8, mood=SAD))


def test_seeds_differ_in_key_motif_and_form() -> None:
    pieces = [score(seed=seed, mood=JOYFUL, seconds=90) for seed in range(12)]
    assert len({piece.tonic for piece in pieces}) >= 4
    assert len({tuple(note.pitch - piece.tonic for note in melody(piece)[:6]) for piece in pieces}) >= 10
    assert len({"".join(section.label for section in piece.sections) for piece in pieces}) >= 3


def test_two_moods_do_not_give_the_same_piece() -> None:
    for seed in SEEDS:
        happy, sad = score(seed=seed, mood=JOYFUL), score(seed=seed, mood=SAD)
        assert happy.style.mode != sad.style.mode
        assert happy.fit.tempo > 1.5 * sad.fit.tempo
        assert np.mean([n.pitch for n in melody(happy)]) > np.mean([n.pitch for n in melody(sad)])
        assert len(happy.notes) > 1.5 * len(sad.notes)
        assert np.mean([n.velocity for n in melody(happy)]) > np.mean([n.velocity for n in melody(sad)])
        assert {n.instrument for n in happy.notes} != {n.instrument for n in sad.notes}


def test_every_corner_of_the_moods_has_its_own_sound() -> None:
    described = {mood: style(mood=mood) for mood in MOODS}
    assert len({(s.lead, s.chords, s.pattern, s.drums) for s in described.values()}) == 4


def test_high_arousal_is_heard_as_more_onsets_a_second() -> None:
    for lively, still in ((JOYFUL, SERENE), (TENSE, SAD)):
        fast, slow = (generate("solo piano", mood=mood) for mood in (lively, still))
        assert onsets_per_second(fast) > 2 * onsets_per_second(slow)


@pytest.mark.parametrize(("mood", "third", "other"), [(JOYFUL, 4, 3), (SERENE, 4, 3), (SAD, 3, 4), (TENSE, 3, 4)])
def test_a_pleasant_mood_is_heard_in_major_and_an_unpleasant_one_in_minor(mood: Mood, third: int, other: int) -> None:
    tonic = score(mood=mood, seconds=16, seed=3).tonic
    heard = chroma(generate(mood=mood, seconds=16, seed=3))
    assert heard[(tonic + third) % 12] > 3 * heard[(tonic + other) % 12]


def test_it_ends_with_a_dominant_that_resolves_to_the_tonic() -> None:
    for seed, mood in enumerate((*MOODS, *MOODS)):
        piece = score(seed=seed, mood=mood, seconds=24)
        last = [note for note in piece.notes if note.start >= piece.final_beat and note.part != "drums"]
        assert {(note.pitch - piece.tonic) % 12 for note in last} <= {0, 3, 4, 7}
        assert melody(piece)[-1].pitch % 12 == piece.tonic % 12
        assert abs(melody(piece)[-1].pitch - melody(piece)[-2].pitch) <= 2
        chord = [n for n in piece.notes if n.start == piece.final_beat - piece.fit.beats and n.part == "pad"]
        assert {(note.pitch - piece.tonic) % 12 for note in chord} == {7, 11, 2}


def test_a_section_that_returns_begins_with_its_motif_and_others_contrast() -> None:
    same, different = [], []
    for seed in range(12):
        piece = score(seed=seed, mood=SERENE, seconds=90)
        first, *others = [section for section in piece.sections if section.label not in ("intro", "end")]
        same += [likeness(line(piece, first), line(piece, o)) for o in others if o.label == "A"]
        different += [likeness(line(piece, first), line(piece, o)) for o in others if o.label != "A"]
    assert min(same) > 0.5
    assert np.mean(same) > 0.85
    assert np.mean(different) < 0.5


def test_a_section_that_returns_is_varied() -> None:
    piece = next(p for seed in range(20) if len((p := score(seed=seed, mood=JOYFUL, seconds=120)).sections) > 6)
    heard = [
        tuple((note.start - section.start, note.pitch) for note in melody(piece, section))
        for section in piece.sections if section.label == "A"
    ]  # fmt: skip
    assert len(set(heard)) > 1


@pytest.mark.parametrize("prompt", ["", "jazz", "epic", "lullaby", "folk", "ambient", "electronic"])
def test_melodies_can_be_sung_and_parts_keep_out_of_each_others_way(prompt: str) -> None:
    for seed, mood in enumerate(MOODS):
        piece = score(prompt, seed=seed, mood=mood)
        scale = {(piece.tonic + pitch) % 12 for pitch in (*SCALES[piece.style.mode], 11)}
        notes = melody(piece)
        assert {note.pitch % 12 for note in notes} <= scale
        leaps = [abs(b.pitch - a.pitch) for a, b in pairwise(notes) if a.instrument == b.instrument]
        assert np.mean([leap <= 7 for leap in leaps]) > 0.9
        assert max(note.pitch for note in notes) <= 96
        assert min(note.pitch for note in notes) > max((n.pitch for n in piece.notes if n.part == "bass"), default=0)


def test_the_music_grows_to_a_summit_and_falls() -> None:
    piece = next(p for seed in range(20) if len((p := score(seed=seed, mood=JOYFUL)).sections) > 5)
    loud = [
        np.mean([n.velocity for n in melody(piece, section)])
        for section in piece.sections[:-1]
        if section.label != "intro"
    ]
    assert 0 < np.argmax(loud) < len(loud) - 1


@pytest.mark.parametrize("seconds", [0.1, 0.9, 1, 3, 5, 7.7, 12, 30, 61, 200, 600, 1800])
def test_form_fills_any_length_at_a_tempo_of_its_mood(seconds: float) -> None:
    piece = score(seconds=seconds, mood=SERENE)
    assert piece.time(piece.final_beat) + piece.fit.ring_seconds == pytest.approx(seconds)
    assert all(piece.time(note.start) < seconds for note in piece.notes)
    assert piece.sections[-1].label == "end"
    if seconds >= 12:
        assert abs(np.log2(piece.fit.tempo / piece.style.tempo)) < 0.35
        assert 0.5 < piece.fit.ring_seconds < 9


def test_ten_minutes_are_not_a_loop() -> None:
    piece = score(seconds=600, mood=JOYFUL)
    starts = [section.start for section in piece.sections[:-1]]
    bars = [
        frozenset((n.start - at, n.pitch) for n in piece.notes if n.part == "lead" and at <= n.start < at + 32)
        for at in starts
    ]
    assert len(starts) > 12
    assert len(set(bars)) > 0.7 * len(bars)
    assert len({section.label for section in piece.sections}) >= 4


@pytest.mark.parametrize(
    ("prompt", "mood"),
    [("sad piano", JOYFUL), ("a dark, gloomy piece", SERENE), ("something tense", JOYFUL), ("minor", JOYFUL)],
)
def test_words_make_it_minor_whatever_the_picture_is_like(prompt: str, mood: Mood) -> None:
    assert all(SCALES[style(prompt, seed=seed, mood=mood).mode][2] == 3 for seed in SEEDS)


@pytest.mark.parametrize("prompt", ["happy", "a cheerful tune", "major", "joyful, upbeat music"])
def test_words_make_it_major_whatever_the_picture_is_like(prompt: str) -> None:
    assert all(SCALES[style(prompt, seed=seed, mood=SAD).mode][2] == 4 for seed in SEEDS)


def test_words_set_the_tempo_whatever_the_picture_is_like() -> None:
    assert style("fast", mood=SAD).tempo > 125
    assert style("slow", mood=JOYFUL).tempo < 70
    assert style("at 132 bpm", mood=SAD).tempo == 132
    assert style("calm music", mood=JOYFUL).tempo < style("", mood=JOYFUL).tempo


def test_words_choose_instruments_and_metre() -> None:
    for seed in SEEDS:
        sad_piano = style("sad piano", seed=seed, mood=JOYFUL)
        assert sad_piano.lead == "piano"
        assert style("flute and harp", seed=seed).lead == "flute"
        assert style("flute and harp", seed=seed).chords == "harp"
        assert style("a waltz", seed=seed, mood=JOYFUL).beats == 3
        assert style("lullaby", seed=seed, mood=JOYFUL).drums is None
        assert style("jazz", seed=seed).swing
        assert style("epic", seed=seed).drums == "toms"
        assert style("ambient", seed=seed, mood=JOYFUL).bass is None


def test_the_users_own_words_lead_what_is_said_of_the_picture() -> None:
    rest = (
        "Instrumental music, clear and of high quality. It fits this scene: A bright, lively scene with sky above sand."
    )
    assert SCALES[style(f"Sad. {rest}", mood=JOYFUL).mode][2] == 3
    assert style(f"Calm. {rest}", mood=JOYFUL).tempo < style(rest, mood=JOYFUL).tempo


def test_what_is_said_of_the_picture_leaves_room_for_the_measured_mood() -> None:
    described = "Instrumental music, clear and of high quality. It fits this scene: A calm scene with water."
    tempos = [style(described, mood=Mood(valence=0.2, arousal=arousal)).tempo for arousal in (-0.9, -0.5, -0.1)]
    assert tempos == sorted(tempos)
    assert tempos[-1] > 1.1 * tempos[0]


@pytest.mark.parametrize(
    ("prompt", "negative"), [("energetic, no drums", ""), ("energetic", "drums"), ("epic without percussion", "")]
)
def test_drums_that_are_not_wanted_do_not_play(prompt: str, negative: str) -> None:
    assert any(note.part == "drums" for note in score("epic", mood=JOYFUL).notes)
    for seed in SEEDS:
        assert not any(note.part == "drums" for note in score(prompt, negative=negative, seed=seed, mood=JOYFUL).notes)


@pytest.mark.parametrize(
    "word", ["piano", "guitar", "harp", "bells", "marimba", "flute", "strings", "brass", "synth", "bass"]
)
def test_an_instrument_that_is_not_wanted_does_not_play(word: str) -> None:
    names = {"bells": "bell", "brass": "horn", "synth": "pad"}
    for seed, mood in enumerate((*MOODS, *MOODS)):
        for piece in (
            score(f"no {word}", seed=seed, mood=mood),
            score("orchestral", negative=word, seed=seed, mood=mood),
        ):
            playing = {note.instrument for note in piece.notes}
            assert names.get(word, word) not in playing
            assert len(playing) >= 2


def test_there_is_music_even_when_everything_is_refused() -> None:
    refused = "no piano, no guitar, no harp, no bells, no marimba, no flute, no strings, no brass, no synth, no bass, no drums"
    assert melody(score(refused))


def test_words_that_only_name_what_the_picture_shows_change_nothing() -> None:
    plain, shown = style(""), style("A rock by a house, a swing, a keyboard and a drone; a metal horn")
    assert all(getattr(plain, field.name) == getattr(shown, field.name) for field in fields(Style))


def test_steps_are_counted_to_the_last_and_a_cancel_stops_at_once() -> None:
    seen: list[tuple[int, int]] = []
    MusicGenerator().generate(AudioRequest("", 20, 1), on_step=lambda step, steps: seen.append((step, steps)))
    assert [step for step, _ in seen] == list(range(1, seen[0][1] + 1))

    def stop(step: int, steps: int) -> None:
        raise Cancelled(f"stopped at {step} of {steps}")

    with pytest.raises(Cancelled, match="stopped at 1"):
        MusicGenerator().generate(AudioRequest("", 20, 1), on_step=stop)


def scenes(*moods: Mood, seconds: float = 16, seed: int = 3, crossing: float = 1) -> list[Samples]:
    """One piece of scenes of one length, cut where they meet."""
    later = tuple((seconds * at, "") for at in range(1, len(moods)))
    asked = AudioRequest(
        "",
        seconds * len(moods),
        seed,
        later_prompts=later,
        mood=moods[0],
        later_moods=moods[1:],
        crossing_seconds=crossing,
    )
    made = MusicGenerator().generate(asked, on_step=nothing_to_report)
    return np.split(made.audio.samples, len(moods), axis=1)


def test_every_scene_has_its_own_mood_and_all_have_one_key() -> None:
    tonic = score(seed=3).tonic
    for heard, mood in zip(scenes(JOYFUL, SAD, SERENE, TENSE), (JOYFUL, SAD, SERENE, TENSE), strict=True):
        third, other = (4, 3) if mood in (JOYFUL, SERENE) else (3, 4)
        assert chroma(heard)[(tonic + third) % 12] > 2 * chroma(heard)[(tonic + other) % 12]


def test_scenes_of_one_mood_have_one_tempo_and_are_not_the_same_piece_twice() -> None:
    first, second, _ = scenes(JOYFUL, JOYFUL, JOYFUL)
    assert 0.7 < onsets_per_second(first) / onsets_per_second(second) < 1.4
    assert abs(np.corrcoef(first.mean(0), second.mean(0))[0, 1]) < 0.3


@pytest.mark.parametrize("crossing", [0, 1])
@pytest.mark.parametrize("mood", MOODS)
def test_the_music_fades_at_its_end_and_not_where_scenes_meet(mood: Mood, crossing: float) -> None:
    for seed in range(3):
        first, second = scenes(mood, mood, seconds=12, seed=seed, crossing=crossing)
        assert np.abs(second[:, -480:]).max() < 0.003
        usual = np.median(loudness(first, seconds=1))
        assert loudness(first[:, -RATE:], seconds=1)[0] > usual - 8
        assert loudness(second[:, :RATE], seconds=1)[0] > usual - 8


def test_it_says_what_it_is() -> None:
    generator = MusicGenerator.load(SketchAudioSettings())
    assert (generator.model, generator.device, generator.licence) == ("sketch/music", "cpu", None)


def test_a_minute_takes_at_most_six_seconds_of_one_core() -> None:
    """It takes about one; machines differ."""
    generate(seconds=1)
    before = time.thread_time()
    generate(seconds=60, mood=TENSE)
    assert time.thread_time() - before < 6
