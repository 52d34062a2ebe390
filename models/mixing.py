"""The sound of the result: stems and own sound, faded unless they loop, mixed, as loud as asked, never above the true-peak ceiling.

Everything streams through ffmpeg, so memory does not grow with the film. Loudness is measured (ITU-R BS.1770, the `ebur128`
filter) in the pass that mixes, and reached by one gain for the whole film. Only where that gain would lift a peak over the
ceiling does a look-ahead limiter follow, and its result is measured again. Two-pass `loudnorm` would ride the level instead as
soon as one peak is too high, costs eight times as much, and lets true peaks pass.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import ffmpeg
from pydantic import Field

from models import media
from models.audio import STEM_SAMPLE_RATE
from models.errors import MediaToolFailed, MediaToolLimit
from models.record import Options, StemKind
from models.schema import Frozen

# A peak that still lies between the limiter's samples is found by the measurement behind it.
LIMITER_SAMPLE_RATE = 2 * STEM_SAMPLE_RATE  # Hz
LIMITER_PASSES = 4
LIMITER_MEMORY = 1.0  # seconds that it has heard before the beginning of a loop, and hears behind its end
CLOSE_ENOUGH = 0.2  # LU
MEASURED_TO = 0.05  # dB; the measurement prints tenths
SILENT_LUFS = -70.0  # the absolute gate of BS.1770
ABSURD_PEAK = 24.0  # dBFS; floating-point sound may pass full scale, but not by that much
SANITY = "Peak_level+Number_of_NaNs+Number_of_Infs"  # of `astats`
OWN_SOUND_BROKEN = "the video's own sound cannot be decoded and was left out"


class MixSettings(Frozen):
    """How the sound is mixed and levelled."""

    fade_in_seconds: float = Field(0.02, ge=0, le=10)
    """Fade at the start; at most an eighth of a short clip."""
    fade_out_seconds: float = Field(0.4, ge=0, le=30)
    """Fade at the end; at most a quarter of a short clip."""
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


class Mixer:
    """Makes one sound of stems and own sound. Writes into `folder`: at most two files of 23 MB a minute."""

    def __init__(self, settings: MixSettings, *, options: Options, seconds: float, folder: Path) -> None:
        self._settings = settings
        self._options = options
        self._seconds = seconds
        self._folder = folder

    def mix(self, stems: Sequence[StemFile], *, own: OwnSound | None, lossy: bool, timeout_seconds: float) -> Mix:
        """The mix at the loudness asked for, round(48000·seconds) samples long.

        The rate `options.original` weighs own sound against the stems by amplitude; without own sound, or where that turns out to
        be broken, the stems stand alone. `timeout_seconds` holds for each pass. Raises MediaToolFailed when a stem cannot be read.
        """
        mixed = self._mixed(stems, own if self._options.original > 0 else None, timeout_seconds)
        ceiling = self._settings.true_peak_dbtp - MEASURED_TO - (self._settings.codec_headroom_db if lossy else 0)
        return self._levelled(mixed, ceiling, timeout_seconds)

    def _mixed(self, stems: Sequence[StemFile], own: OwnSound | None, timeout_seconds: float) -> Mix:
        path, loops = self._folder / "mix.wav", any(stem.loops for stem in stems)
        if own is not None:
            rate = self._options.original
            parts = [self._faded(_own_sound(own, self._seconds)).filter("volume", volume=rate, precision="float")]
            parts += [self._stem(stem, 1 - rate) for stem in stems if rate < 1]
            try:
                mixed = self._write(self._together(parts), path, timeout_seconds)
                return replace(mixed, original_used=True, loops=loops)
            except MediaToolLimit:
                raise
            except MediaToolFailed:
                stand_alone = self._mixed(stems, None, timeout_seconds)
                return replace(stand_alone, notes=(OWN_SOUND_BROKEN,))
        parts = [self._stem(stem, 1) for stem in stems]
        return replace(self._write(self._together(parts), path, timeout_seconds), loops=loops)

    def _stem(self, stem: StemFile, weight: float) -> ffmpeg.nodes.FilterableStream:
        decibels = self._options.music_volume_db if stem.kind == "music" else self._options.sound_volume_db
        volume = weight * 10 ** (decibels / 20)
        sound = _stereo(media.source(stem.path)["a:0"]).filter("volume", volume=f"{volume:.8f}", precision="float")
        return sound if stem.loops else self._faded(sound)

    def _faded(self, sound: ffmpeg.nodes.FilterableStream) -> ffmpeg.nodes.FilterableStream:
        fade_in = min(self._settings.fade_in_seconds, self._seconds / 8)
        fade_out = min(self._settings.fade_out_seconds, self._seconds / 4)
        begins = f"{self._seconds - fade_out:.6f}"
        return sound.filter("afade", type="in", duration=f"{fade_in:.6f}").filter(
            "afade", type="out", start_time=begins, duration=f"{fade_out:.6f}"
        )

    def _together(self, parts: Sequence[ffmpeg.nodes.FilterableStream]) -> ffmpeg.nodes.FilterableStream:
        padded = [part.filter("apad") for part in parts]
        together = padded[0] if len(padded) == 1 else ffmpeg.filter(padded, "amix", inputs=len(padded), normalize=0)
        return together.filter("atrim", end_sample=self._length)

    @property
    def _length(self) -> int:
        return max(1, round(self._seconds * STEM_SAMPLE_RATE))

    def _levelled(self, mixed: Mix, ceiling: float, timeout_seconds: float) -> Mix:
        lufs, peak, target = mixed.integrated_lufs, mixed.true_peak_dbtp, self._options.loudness_lufs
        if peak is None:
            return mixed
        gain = 0.0 if target is None or lufs is None else min(target - lufs, self._settings.max_gain_db)
        if peak + gain <= ceiling:
            return mixed.turned_up(gain)
        wanted = None if target is None or lufs is None else lufs + gain
        # What goes into the limiter is raised until what comes out is loud enough, or a peak would be pressed too far.
        most = max(ceiling + self._settings.max_limiting_db - peak, min(gain, 0.0))
        drive = min(gain, most)
        for _ in range(LIMITER_PASSES):
            limited = self._limited(mixed, drive, ceiling, timeout_seconds)
            missing = 0.0 if wanted is None or limited.integrated_lufs is None else wanted - limited.integrated_lufs
            if missing <= CLOSE_ENOUGH or drive >= most:
                break
            drive = min(drive + missing, most)
        if missing > CLOSE_ENOUGH:
            note = f"the mix is {missing:.1f} LU quieter than asked: its peaks stand too high above the rest"
            return replace(limited, notes=(*limited.notes, note))
        return limited

    def _limited(self, mixed: Mix, drive: float, ceiling: float, timeout_seconds: float) -> Mix:
        # A loop is played three times over, and the middle one taken, with what the limiter remembers of the others.
        memory = min(round(LIMITER_MEMORY * STEM_SAMPLE_RATE), self._length) if mixed.loops else 0
        played = media.source(mixed.path, stream_loop=2) if mixed.loops else media.source(mixed.path)
        begins = self._length - memory if mixed.loops else 0
        sound = (
            played["a:0"]
            .filter("atrim", start_sample=begins, end_sample=begins + self._length + 2 * memory)
            .filter("volume", volume=f"{drive:.2f}dB", precision="float")
            .filter("aresample", LIMITER_SAMPLE_RATE)
            .filter("alimiter", limit=f"{10 ** (ceiling / 20):.6f}", attack=2, release=20, level=0, latency=1)
            .filter("aresample", STEM_SAMPLE_RATE)
            .filter("apad")
            .filter("atrim", start_sample=memory, end_sample=memory + self._length)
        )
        written = self._write(sound, self._folder / "limited.wav", timeout_seconds)
        limited = replace(written, original_used=mixed.original_used, loops=mixed.loops, notes=mixed.notes)
        peak = limited.true_peak_dbtp
        return limited if peak is None or peak <= ceiling else limited.turned_up(ceiling - peak)

    def _write(self, sound: ffmpeg.nodes.FilterableStream, path: Path, timeout_seconds: float) -> Mix:
        measured = sound.filter("ebur128", peak="true", framelog="verbose")
        output = ffmpeg.output(
            measured, f"file:{path}", format="wav", acodec="pcm_f32le", ar=STEM_SAMPLE_RATE, rf64="auto"
        )
        graph = output.global_args("-copyts", "-max_error_rate", str(self._settings.max_error_rate))
        _, log = media.run(graph, timeout_seconds=timeout_seconds)
        _refuse_absurd(log)
        lufs = float(re.findall(r"\bI:\s+(\S+) LUFS", log)[-1])
        peak = float(re.findall(r"\bPeak:\s+(\S+) dBFS", log)[-1])
        return Mix(
            path=path,
            gain_db=0,
            integrated_lufs=lufs if lufs > SILENT_LUFS else None,
            true_peak_dbtp=peak if peak > SILENT_LUFS else None,
            original_used=False,
        )


def _own_sound(own: OwnSound, seconds: float) -> ffmpeg.nodes.FilterableStream:
    # Not by -itsoffset: for some streams, older versions of ffmpeg set that right in their own way.
    sound = media.source(own.source)[str(own.stream)].filter("asetpts", f"PTS-{own.start_seconds:.6f}/TB")
    # First of all, no more than is heard: the resampler holds the whole silence of a hole in memory, and a file can claim hours.
    sound = sound.filter("atrim", end=f"{seconds:.6f}")
    sound = sound.filter("astats", measure_perchannel="none", measure_overall=SANITY)
    if own.channels == 1:
        # ffmpeg's own way to stereo takes 3 dB off each side.
        sound = sound.filter("pan", args="stereo|c0=c0|c1=c0")
    # Holes in the stream become silence, and what sounds before the first frame is dropped: both keep it in step.
    return _stereo(
        sound.filter("aresample", STEM_SAMPLE_RATE, filter_size=64, cutoff=0.98, **{"async": 1}, first_pts=0)
    )


def _refuse_absurd(log: str) -> None:
    """Raises MediaToolFailed if `astats` met samples that are no sound. As integers, NaN would be a click at full scale."""
    found = re.findall(r"(Number of \w+|Peak level dB): (\S+)", log)
    if any(float(value) > (ABSURD_PEAK if name == "Peak level dB" else 0) for name, value in found):
        raise MediaToolFailed("the own sound holds samples that are no sound")


def _stereo(sound: ffmpeg.nodes.FilterableStream) -> ffmpeg.nodes.FilterableStream:
    return sound.filter("aformat", sample_fmts="fltp", sample_rates=STEM_SAMPLE_RATE, channel_layouts="stereo")
