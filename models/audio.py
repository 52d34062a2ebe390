"""Sound in memory and on disk."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

STEM_SAMPLE_RATE = 48_000  # Hz
STEM_CHANNELS = 2

Samples = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Audio:
    """Sound in memory."""

    samples: Samples
    """float32, shape (channels, samples), in [-1, 1]."""
    sample_rate: int
    """Hz."""

    @property
    def seconds(self) -> float:
        return self.samples.shape[1] / self.sample_rate


def to_stem(audio: Audio, *, seconds: float) -> Audio:
    """The sound as a stem: 48 kHz, two channels, exactly round(48000·seconds) samples (cut, or padded with silence).

    Resampled by a polyphase filter: that adds no content above the source's own Nyquist frequency.
    """
    from scipy.signal import resample_poly

    samples = audio.samples
    if audio.sample_rate != STEM_SAMPLE_RATE:
        common = int(np.gcd(audio.sample_rate, STEM_SAMPLE_RATE))
        samples = resample_poly(samples, STEM_SAMPLE_RATE // common, audio.sample_rate // common, axis=1)
    if samples.shape[0] == 1:
        samples = np.repeat(samples, STEM_CHANNELS, axis=0)
    wanted = round(seconds * STEM_SAMPLE_RATE)
    samples = np.pad(samples[:STEM_CHANNELS, :wanted], ((0, 0), (0, max(0, wanted - samples.shape[1]))))
    return Audio(np.ascontiguousarray(samples, dtype=np.float32), STEM_SAMPLE_RATE)


def write_audio(audio: Audio, path: Path) -> None:
    """Write as 24-bit FLAC or WAV, by the path's ending."""
    import soundfile

    soundfile.write(path, audio.samples.T, audio.sample_rate, subtype="PCM_24")


def read_audio(path: Path) -> Audio:
    """Read a WAV or FLAC file."""
    import soundfile

    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return Audio(np.ascontiguousarray(samples.T), rate)
