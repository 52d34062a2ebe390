"""The sound of the result: stems and own sound, faded unless they loop, mixed, as loud as asked, never above the true-peak ceiling.

Everything streams, so memory does not grow with the film but by some bytes a millisecond. Own sound is decoded once, and decides
where the generated one is lowered. Levels are taken while it is mixed, and its loudness is reached by one gain for all of it. Only
where that would lift a peak over the ceiling does a limiter follow. Two-pass `loudnorm` would ride the level instead as soon as one
peak is too high, costs several times as much, and lets true peaks pass.
"""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from contextvars import copy_context
from dataclasses import dataclass, replace
from pathlib import Path

import ffmpeg
import numpy as np
from pydantic import Field

from models import media
from models.audio import FLOAT_WAV, STEM_SAMPLE_RATE, Samples, space_for
from models.ducking import Ducking, DuckingSettings, Heard, listen
from models.errors import MediaToolFailed, MediaToolLimit
from models.levels import SILENT_LUFS, Levels, Meter, chunks, integrated, under
from models.limiting import Limiter
from models.record import Options, StemKind
from models.schema import Frozen
from models.widening import Sound, as_stereo, together, widened

LIMITER_ATTEMPTS = 12  # none of them is a pass over the sound
CLOSE_ENOUGH = 0.05  # LU
WORTH_SAYING = 0.2  # LU
MEASURED_TO = 0.1  # dB; what lies between the points at which a peak is measured
OWN_SOUND_BROKEN = "the video's own sound cannot be decoded and was left out"
OWN_SOUND_SILENT = "the video's own sound is silent and was left out"


class MixSettings(Frozen):
    """How the sound is mixed and levelled."""

    fade_in_seconds: float = Field(0.02, ge=0, le=10)
    """Fade at the start where none is asked for; at most an eighth of a short clip."""
    fade_out_seconds: float = Field(0.4, ge=0, le=30)
    """Fade at the end where none is asked for; at most a quarter of a short clip."""
    true_peak_dbtp: float = Field(-1, ge=-12, le=0)
    """Ceiling of the true peak (4x oversampled), in the finished file."""
    codec_headroom_db: float = Field(0.5, ge=0, le=6)
    """Taken off the ceiling before a lossy codec, which adds peaks of its own."""
    max_gain_db: float = Field(30, ge=0, le=60)
    """Most that a quiet mix is lifted: beyond that, it is noise that would be heard."""
    max_limiting_db: float = Field(12, ge=0, le=30)
    """Most that a peak is pressed down for the sake of loudness: beyond that, the mix stays quieter than asked."""
    max_error_rate: float = Field(0.05, ge=0, le=1)
    """Share of undecodable packets above which the video's own sound counts as broken."""
    silent_dbfs: float = Field(-60, ge=-90, le=-20)
    """Peak below which own sound is silent, rumble and constant offset apart. So it is where nothing passes the gate of BS.1770."""
    ducking: DuckingSettings = DuckingSettings()


@dataclass(frozen=True)
class StemFile:
    """One generated track on disk."""

    kind: StemKind
    path: Path
    """48 kHz stereo FLAC or WAV; its first sample belongs to the first frame."""
    loops: bool = False
    """Its end goes over into its beginning, and is not faded."""


@dataclass(frozen=True)
class OwnSound:
    """The source's own sound, where it has any."""

    source: Path
    stream: int
    """Index of the stream in the file."""
    channels: int
    start_seconds: float
    """Presentation time of the picture's first frame, which is where the result begins."""


@dataclass(frozen=True)
class Mix:
    """The finished sound, 48 kHz stereo 32-bit float, still to be turned up by `gain_db`. Levels are those after that gain."""

    path: Path
    gain_db: float
    integrated_lufs: float | None
    """None for silence, and for clips under 0.4 s, which BS.1770 cannot measure."""
    true_peak_dbtp: float | None
    """None for silence."""
    original_used: bool
    loops: bool = False
    """Its end goes over into its beginning."""
    own: Path | None = None
    """The own sound, whether or not it is in the mix: 48 kHz stereo 32-bit float WAV as long as the mix, at its own level. None
    where there is none, it is silent or broken, or it is to be replaced."""
    own_peak_dbfs: float | None = None
    """Its highest sample."""
    ducked_seconds: float = 0
    """For how long the generated sound is lowered by more than half of the decibels asked for."""
    notes: tuple[str, ...] = ()

    @property
    def sound(self) -> ffmpeg.nodes.FilterableStream:
        """The sound at its final level."""
        return media.source(self.path)["a:0"].filter("volume", volume=f"{self.gain_db:.2f}dB", precision="float")

    def turned_up(self, decibels: float) -> "Mix":
        """The same samples, to be played that much louder."""
        lufs, peak = self.integrated_lufs, self.true_peak_dbtp
        return replace(
            self,
            gain_db=self.gain_db + decibels,
            integrated_lufs=None if lufs is None else round(lufs + decibels, 2),
            true_peak_dbtp=None if peak is None else round(peak + decibels, 2),
        )


@dataclass(frozen=True)
class _Own:
    """The own sound, decoded."""

    path: Path
    heard: Heard


class Mixer:
    """Makes one sound of stems and own sound. Writes into `folder`: at most three files of 23 MB a minute."""

    def __init__(self, settings: MixSettings, *, options: Options, seconds: float, folder: Path) -> None:
        self._settings = settings
        self._options = options
        self._seconds = seconds
        self._folder = folder

    def mix(self, stems: Sequence[StemFile], *, own: OwnSound | None, lossy: bool, timeout_seconds: float) -> Mix:
        """The mix at the loudness asked for, round(48000·seconds) samples long.

        The rate `options.original` weighs own sound against the stems by amplitude; without own sound, or where that turns out to
        be broken or silent, the stems stand alone. What loops is not faded, whatever is asked. `timeout_seconds` holds for each run
        of ffmpeg. Raises MediaToolFailed when a stem cannot be read, MediaToolLimit, StorageFull, Cancelled.
        """
        generated = self._folder / "generated.wav"
        sum_of_stems = together([self._stem(stem) for stem in stems])
        with ThreadPoolExecutor(1) as beside:
            made = beside.submit(copy_context().run, self._write, sum_of_stems, generated, timeout_seconds)
            decoded, notes = self._decoded(own, timeout_seconds)
            made.result()
        options, loops = self._options, any(stem.loops for stem in stems)
        used = decoded if options.original > 0 else None
        ducking = None
        if used and options.original_mode == "duck" and 0 < options.original < 1 and options.duck_db > 0:
            ducking = Ducking(used.heard, self._settings.ducking, options=options, loops=loops)
        path, levels = self._mixed(generated, used, ducking)
        ceiling = self._settings.true_peak_dbtp - MEASURED_TO - (self._settings.codec_headroom_db if lossy else 0)
        levelled = self._levelled(path, levels, ceiling, loops=loops)
        return replace(
            levelled,
            original_used=used is not None,
            own=decoded.path if decoded else None,
            own_peak_dbfs=round(decoded.heard.peak_dbfs, 2) if decoded else None,
            ducked_seconds=round(ducking.ducked_seconds, 3) if ducking else 0.0,
            notes=(*notes, *levelled.notes),
        )

    def _decoded(self, own: OwnSound | None, timeout_seconds: float) -> tuple[_Own | None, tuple[str, ...]]:
        """The own sound, if it is wanted and any is heard; else perhaps why not."""
        if own is None or self._options.original_mode == "replace":
            return None, ()
        path = self._folder / "own.wav"
        try:
            self._write(_own_sound(own, self._seconds), path, timeout_seconds)
            heard = listen(path, rumble_hertz=self._settings.ducking.rumble_hertz)
        except MediaToolLimit:
            raise
        except MediaToolFailed:
            return None, (OWN_SOUND_BROKEN,)
        return (None, (OWN_SOUND_SILENT,)) if heard.silent(self._settings.silent_dbfs) else (_Own(path, heard), ())

    def _mixed(self, generated: Path, own: _Own | None, ducking: Ducking | None) -> tuple[Path, Levels]:
        """The mix at the level at which it comes, and its levels."""
        import soundfile

        path, meter, rate = self._folder / "mix.wav", Meter(), self._options.original
        with ExitStack() as files:
            files.enter_context(space_for(path))
            made = files.enter_context(soundfile.SoundFile(generated))
            theirs = files.enter_context(soundfile.SoundFile(own.path)) if own else None
            mix = files.enter_context(soundfile.SoundFile(path, "w", **FLOAT_WAV))
            for start, piece in chunks(made):
                mixed = piece
                if theirs is not None:
                    mixed = piece if ducking is None else under(ducking.gain(start, len(piece)), piece)
                    mixed *= 1 - rate
                    mixed += rate * self._between_fades(start, theirs.read(len(piece), dtype="float32"))
                mix.write(mixed)
                meter.add(mixed)
        generated.unlink()
        return path, meter.levels()

    def _stem(self, stem: StemFile) -> Sound:
        decibels = self._options.music_volume_db if stem.kind == "music" else self._options.sound_volume_db
        wide = stem.kind == "sounds" and self._options.stereo_width > 0
        sound = (
            widened(stem.path, self._options.stereo_width, loops=stem.loops)
            if wide
            else as_stereo(media.source(stem.path)["a:0"])
        )
        sound = sound.filter("volume", volume=f"{10 ** (decibels / 20):.8f}", precision="float")
        return (sound if stem.loops else self._faded(sound)).filter("apad")

    def _faded(self, sound: Sound) -> Sound:
        rising, falling = self._fades()
        # To `afade`, a length of zero means its default.
        if rising * STEM_SAMPLE_RATE >= 1:
            sound = sound.filter("afade", type="in", duration=f"{rising:.6f}")
        if falling * STEM_SAMPLE_RATE >= 1:
            begins = f"{self._seconds - falling:.6f}"
            sound = sound.filter("afade", type="out", start_time=begins, duration=f"{falling:.6f}")
        return sound

    def _between_fades(self, start: int, piece: Samples) -> Samples:
        """The same for a piece of a sound of shape (samples, channels), from the sample `start` on."""
        rising, falling = self._fades()
        begins, ends = start / STEM_SAMPLE_RATE, (start + len(piece)) / STEM_SAMPLE_RATE
        if begins >= rising and ends <= self._seconds - falling:
            return piece
        seconds = np.arange(start, start + len(piece)) / STEM_SAMPLE_RATE
        rise = seconds / rising if rising else np.ones(len(piece))
        fall = (self._seconds - seconds) / falling if falling else np.ones(len(piece))
        return under(np.clip(np.minimum(rise, fall), 0, 1).astype(np.float32), piece)

    def _fades(self) -> tuple[float, float]:
        """How long it rises and falls, in seconds."""
        settings, options, seconds = self._settings, self._options, self._seconds
        rising, falling = options.fade_in_seconds, options.fade_out_seconds
        return (
            min(settings.fade_in_seconds, seconds / 8) if rising is None else min(rising, seconds / 2),
            min(settings.fade_out_seconds, seconds / 4) if falling is None else min(falling, seconds / 2),
        )

    def _levelled(self, path: Path, levels: Levels, ceiling: float, *, loops: bool) -> Mix:
        lufs, target = integrated(levels.tenths()), self._options.loudness_lufs
        peak = 20 * math.log10(max(levels.peak, 1e-9))
        mixed = Mix(path, 0, _rounded(lufs), _rounded(peak), original_used=False, loops=loops)
        if peak < SILENT_LUFS:
            return replace(mixed, true_peak_dbtp=None)
        gain = 0.0 if target is None or lufs is None else min(target - lufs, self._settings.max_gain_db)
        if peak + gain <= ceiling:
            return mixed.turned_up(gain)
        wanted = None if target is None or lufs is None else lufs + gain
        # What goes into the limiter is raised until what comes out is loud enough, or a peak would be pressed too far.
        most = max(ceiling + self._settings.max_limiting_db - peak, min(gain, 0.0))
        limiter = Limiter(levels, ceiling=10 ** (ceiling / 20), loops=loops)
        limited = self._limited(limiter, mixed, wanted=wanted, drive=min(gain, most), most=most)
        return replace(limited, true_peak_dbtp=round(ceiling, 2))

    def _limited(self, limiter: Limiter, mixed: Mix, *, wanted: float | None, drive: float, most: float) -> Mix:
        for _ in range(LIMITER_ATTEMPTS):
            lufs = limiter.loudness(drive)
            missing = 0.0 if wanted is None or lufs is None else wanted - lufs
            if missing <= CLOSE_ENOUGH or drive >= most:
                break
            drive = min(drive + missing, most)
        path = self._folder / "limited.wav"
        limiter.write(mixed.path, drive_db=drive, limited=path)
        mixed.path.unlink()
        note = f"the mix is {missing:.1f} LU quieter than asked: its peaks stand too high above the rest"
        notes = (note,) if missing > WORTH_SAYING else ()
        return replace(mixed, path=path, integrated_lufs=_rounded(lufs), notes=notes)

    def _write(self, sound: Sound, path: Path, timeout_seconds: float) -> None:
        cut = sound.filter("apad").filter("atrim", end_sample=max(1, round(self._seconds * STEM_SAMPLE_RATE)))
        output = ffmpeg.output(cut, f"file:{path}", format="wav", acodec="pcm_f32le", ar=STEM_SAMPLE_RATE, rf64="auto")
        graph = output.global_args("-copyts", "-max_error_rate", str(self._settings.max_error_rate))
        media.run(graph, timeout_seconds=timeout_seconds)


def _own_sound(own: OwnSound, seconds: float) -> Sound:
    # Not by -itsoffset: for some streams, older versions of ffmpeg set that right in their own way.
    sound = media.source(own.source)[str(own.stream)].filter("asetpts", f"PTS-{own.start_seconds:.6f}/TB")
    # First of all, no more than is heard: the resampler holds the whole silence of a hole in memory, and a file can claim hours.
    sound = sound.filter("atrim", end=f"{seconds:.6f}")
    if own.channels == 1:
        # ffmpeg's own way to stereo takes 3 dB off each side.
        sound = sound.filter("pan", args="stereo|c0=c0|c1=c0")
    # Holes in the stream become silence, and what sounds before the first frame is dropped: both keep it in step.
    return as_stereo(
        sound.filter("aresample", STEM_SAMPLE_RATE, filter_size=64, cutoff=0.98, **{"async": 1}, first_pts=0)
    )


def _rounded(decibels: float | None) -> float | None:
    return None if decibels is None else round(decibels, 2)
