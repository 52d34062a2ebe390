"""`audio_generation` of music without a model: a score (see `composition`) played by synthetic instruments in a synthetic room."""

import itertools
from collections.abc import Iterator
from functools import cache
from math import ceil
from typing import Self

import numpy as np
from scipy import fft

from models.audio import STEM_CHANNELS, Audio, Samples
from models.audio import STEM_SAMPLE_RATE as RATE
from models.audio_generation import AudioRequest, GeneratedAudio, OnStep
from models.audio_generation.scenes import Scene, crossed, in_turn, scenes, to_make
from models.sketch import SketchAudioSettings
from models.sketch.arrangement import Note, Part
from models.sketch.composition import Score, compose, draw_tonic
from models.sketch.instruments import VOICES, Voice, render
from models.sketch.style import style_of

BLOCK = 2**17  # samples, 2.7 s: what is played and reverberated at a time
_CEILING = 0.97  # largest sample
_KNEE = 0.6  # softer than this, the master leaves everything as it is
_CACHED_SAMPLES = 40_000_000  # of rendered notes: 160 MB
_PARTS: dict[Part, float] = {"lead": 1.0, "chords": 0.62, "pad": 0.3, "bass": 0.75, "drums": 0.7}  # levels in the mix


class MusicGenerator:
    """Plays what the prompt, the mood and the seed suggest. The same request gives the same samples."""

    model = "sketch/music"
    device = "cpu"
    licence: str | None = None

    @classmethod
    def load(cls, settings: SketchAudioSettings) -> Self:
        """Nothing to load: there are no weights."""
        return cls()

    def generate(self, request: AudioRequest, *, on_step: OnStep) -> GeneratedAudio:
        """Music of round(48000·seconds) samples, two channels. Steps, guidance and candidates have no meaning here.

        Every scene is a piece of its own, in a style of its prompt and mood, that leads to a last chord where the next begins. The
        seed gives all of them one key, also those of another take; and a take the same words in the same mood one style. A loop is
        a piece whose last chord still rings when it begins again. `on_step` counts the blocks of 2.7 s of all scenes. Raises
        Cancelled when it does.
        """
        length = max(1, round(request.seconds * RATE))
        parts = scenes(request, samples=length, rate=RATE)
        steps = sum(ceil(to_make(scene, rate=RATE) / BLOCK) for scene in parts)
        done = itertools.count(1)

        def make(scene: Scene, samples: int) -> Samples:
            score, rng = _composed(scene, request, seconds=samples / RATE)
            sound = np.zeros((STEM_CHANNELS, samples), np.float32)
            for start, block in zip(range(0, samples, BLOCK), _blocks(score, rng), strict=False):
                part = sound[:, start : start + BLOCK]
                part += block[:, : part.shape[1]]
                on_step(next(done), steps)
            set_loudness(sound, loudness=0.06 + 0.07 * score.style.dynamics)
            if not request.loop:
                fade(sound, rise=scene is parts[0], ring_seconds=score.fit.ring_seconds if scene is parts[-1] else 0)
            return sound

        whole = crossed(in_turn(parts, make, rate=RATE), samples=length)
        round_peaks(whole)
        return GeneratedAudio(Audio(whole, RATE), steps=None, guidance=None, loops=request.loop)


def _composed(scene: Scene, request: AudioRequest, *, seconds: float) -> tuple[Score, np.random.Generator]:
    """The piece for a scene, and what chance has left for its players."""
    common = np.random.default_rng(request.seed)
    tonic = draw_tonic(common)
    chance = common if scene.seed == request.seed else np.random.default_rng(scene.seed)
    style = style_of(scene.prompt, negative=request.negative_prompt, mood=scene.mood, rng=chance)
    own = np.random.default_rng((scene.seed, 1 + scene.border))
    # The last bar leads to a chord at the border, where the next scene is heard, in the same key: nothing dies away before.
    ring_seconds = scene.fall / 2 / RATE if scene.fall else None
    return compose(style, tonic=tonic, seconds=seconds, ring_seconds=ring_seconds, rng=own), own


def _blocks(score: Score, rng: np.random.Generator) -> Iterator[Samples]:
    """The piece, one block after another, each (2, BLOCK): what was played in it, and what still rings from before."""
    players = _Players(score, rng)
    room = Room(score.style.reverb_seconds)
    bus = np.zeros((3, BLOCK + players.longest), np.float32)  # left, right, and what goes to the room
    for block in itertools.count():
        players.play(bus, block=block)
        yield bus[:2, :BLOCK] + room.reverberate(bus[2, :BLOCK])
        bus[:, :-BLOCK] = bus[:, BLOCK:].copy()
        bus[:, -BLOCK:] = 0


class _Players:
    """Renders each different note once, and adds it wherever it is played."""

    def __init__(self, score: Score, rng: np.random.Generator) -> None:
        self._cache: dict[tuple[str, int, int, bool], Samples] = {}
        self._cached = 0
        self._blocks: dict[int, list[tuple[int, int, Note]]] = {}
        self._needed: dict[tuple[str, int, int, bool], float] = {}
        self.longest = 0
        """Samples of the longest note."""
        for note, jitter in zip(score.notes, rng.normal(0, 0.006, len(score.notes)), strict=True):
            start = max(0.0, score.time(_swung(note.start) if score.style.swing else note.start) + _lag(note, jitter))
            held = max(0.03, score.time(note.start + note.beats) - score.time(note.start))
            length = min(held + VOICES[note.instrument].release_seconds, VOICES[note.instrument].longest_seconds)
            first, samples = round(start * RATE), round(length * RATE)
            self._blocks.setdefault(first // BLOCK, []).append((first % BLOCK, samples, note))
            key = _key(note, samples)
            self._needed[key] = max(self._needed.get(key, 0), length)
            self.longest = max(self.longest, samples)

    def play(self, bus: Samples, *, block: int) -> None:
        """Add the notes that begin in a block. bus: (3, samples), left, right and to the room."""
        for first, samples, note in self._blocks.get(block, ()):
            voice = VOICES[note.instrument]
            sound = self._note(note, samples)[:, :samples]
            heard = slice(first, first + sound.shape[1])
            level = voice.gain * _level(note)
            played = level * sound * _release(sound.shape[1], voice)
            bus[0, heard] += played[0] * np.float32(np.sqrt(1 - voice.pan))
            bus[1, heard] += played[-1] * np.float32(np.sqrt(1 + voice.pan))
            bus[2, heard] += np.float32(voice.send) * played.mean(0)

    def _note(self, note: Note, samples: int) -> Samples:
        key = _key(note, samples)
        if key not in self._cache:
            if self._cached > _CACHED_SAMPLES:
                self._cache.clear()
                self._cached = 0
            _, pitch, touch, short = key
            sound = render(
                note.instrument,
                pitch=pitch,
                velocity=(0.3, 0.55, 0.85)[touch],
                seconds=self._needed[key] + 1 / RATE,
                short=short,
            )
            self._cache[key] = sound
            self._cached += sound.size
        return self._cache[key]


def _key(note: Note, samples: int) -> tuple[str, int, int, bool]:
    """Notes with the same key sound alike: instrument, pitch, how hard (of three) and whether it is short."""
    return note.instrument, note.pitch, (note.velocity > 0.42) + (note.velocity > 0.68), samples < RATE


def _swung(beat: float) -> float:
    """The second quaver of a beat comes late."""
    return beat + (1 / 6 if abs(beat % 1 - 0.5) < 0.01 else 0)


def _lag(note: Note, jitter: float) -> float:
    """Seconds that a player is off the beat: nobody is exact, and a drummer nearly."""
    return float(jitter) * (0.4 if note.part in ("drums", "bass") else 1)


def _level(note: Note) -> np.float32:
    """Amplitude of a note before its instrument's own gain."""
    return np.float32(_PARTS[note.part] * note.velocity**1.3)


def _release(samples: int, voice: Voice) -> Samples:
    """1 while a note is held, then down to 0."""
    falling = min(samples, round(voice.release_seconds * RATE))
    envelope = np.ones(samples, np.float32)
    envelope[samples - falling :] = 0.5 + 0.5 * np.cos(np.pi * np.arange(falling, dtype=np.float32) / falling)
    return envelope


class Room:
    """A reverb: two streams of noise that die away, the high ones sooner, convolved block by block."""

    def __init__(self, seconds: float) -> None:
        """`seconds` until the low notes' echo has fallen by 60 dB; echoes are cut after 2.7 s."""
        time = np.arange(BLOCK, dtype=np.float32) / RATE
        response = np.zeros((2, BLOCK), np.float32)
        for share, noise in _bands():
            response += noise * np.exp(-6.9 * time / (share * seconds))
        response *= np.clip((time - 0.012) / 0.02, 0, 1) * np.clip((BLOCK / RATE - time) / 0.3, 0, 1)
        response /= np.sqrt((response**2).sum() / 2)
        self._response = fft.rfft(response, 2 * BLOCK)
        self._ringing = np.zeros((2, BLOCK), np.float32)

    def reverberate(self, block: Samples) -> Samples:
        """What a block of (BLOCK,) sounds like in the room, and what still rings of those before: (2, BLOCK)."""
        wet = fft.irfft(fft.rfft(block, 2 * BLOCK) * self._response)
        heard: Samples = wet[:, :BLOCK] + self._ringing
        self._ringing = wet[:, BLOCK:]
        return heard


@cache
def _bands() -> list[tuple[float, Samples]]:
    """What every room's echo is made of: bands of noise (2, BLOCK), each with its share of the time in which the low notes die."""
    edges = (
        (120, 600, 1.0, 1.0),
        (600, 2500, 0.85, 0.8),
        (2500, 8000, 0.5, 0.45),
    )  # Hz, Hz, share of the time, level
    spectrum = fft.rfft(np.random.default_rng(0).standard_normal((2, BLOCK)).astype(np.float32))
    hertz = fft.rfftfreq(BLOCK, 1 / RATE)
    bands = []
    for low, high, share, amount in edges:
        band = np.clip((hertz - 0.7 * low) / (0.3 * low), 0, 1) * np.clip((1.3 * high - hertz) / (0.3 * high), 0, 1)
        bands.append((share, amount * fft.irfft(spectrum * band.astype(np.float32))))
    return bands


def set_loudness(sound: Samples, *, loudness: float) -> None:
    """In place: to an RMS of about `loudness`, with peaks that can be rounded off."""
    pieces = _pieces(sound)
    power = sum(float(np.vdot(piece, piece)) for piece in pieces) / sound.size
    peak = max(float(np.abs(piece).max()) for piece in pieces)
    gain = np.float32(min(loudness / (power**0.5 + 1e-9), 1.5 / (peak + 1e-9)))
    for piece in pieces:
        np.multiply(piece, gain, out=piece)


def round_peaks(sound: Samples) -> None:
    """In place: what is loud is made softer, and nothing exceeds full scale."""
    for piece in _pieces(sound):
        over = np.abs(piece) > _KNEE
        loud = piece[over]
        piece[over] = np.sign(loud) * (
            _KNEE + (_CEILING - _KNEE) * np.tanh((np.abs(loud) - _KNEE) / (_CEILING - _KNEE))
        )


def _pieces(sound: Samples) -> list[Samples]:
    return [sound[:, at : at + BLOCK] for at in range(0, sound.shape[1], BLOCK)]


def fade(sound: Samples, *, rise: bool, ring_seconds: float) -> None:
    """In place: in at once, if it is the beginning, and out to silence within the last chord."""
    count = sound.shape[1]
    rising, fall = (
        min(round(0.005 * RATE), count // 4) if rise else 0,
        min(round(0.8 * ring_seconds * RATE), count // 2),
    )
    sound[:, :rising] *= np.linspace(0, 1, rising, dtype=np.float32)
    sound[:, count - fall :] *= (0.5 + 0.5 * np.cos(np.linspace(0, np.pi, fall, dtype=np.float32))) if fall else 1
