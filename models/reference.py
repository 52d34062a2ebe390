"""A reference: a sound that the result is to sound like, from any file that has one.

It is decoded once, to what audio models listen to, by whoever looks at files before they are accepted. A stranger's file decides
neither how long that takes nor how much memory: only its beginning is decoded, and resampled when it is cut and mixed down.
"""

import time
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import av
import numpy as np

from models import media
from models.audio import Audio, Samples, write_audio
from models.errors import DamagedMedia, InvalidInput, UnsupportedMedia
from models.file_signatures import HEAD_BYTES, begins_like, description
from models.record import Reference
from models.video_input import SourceFile, display_name

HEARD_HERE = "sounds (wav, flac, mp3, m4a, aac, ogg) and videos with sound are listened to"
SHORTEST_SECONDS, LONGEST_SECONDS = 0.1, 30.0
RATE = 48_000  # Hz, of what is kept
SILENT = 1e-3  # a peak of -60 dBFS

_RATES = range(1_000, 768_001)  # Hz
_DECODING_SECONDS = 20.0


def read_reference(source: SourceFile, *, to: Path, key: str) -> Reference:
    """Write the beginning of the file's sound to `to`, as mono 48 kHz FLAC of at most 30 s, which will have this key.

    Raises UnsupportedMedia and DamagedMedia, with the name and what is wrong: no sound, none that is heard, or too little of it.
    """
    name = display_name(source.name)
    try:
        samples = _heard(source.path)
    except InvalidInput as error:
        raise type(error)(f"the reference {name}: {error}") from error
    write_audio(Audio(samples[np.newaxis], RATE), to)
    return Reference(token=source.token, name=name, path=key, seconds=len(samples) / RATE)


def kept_reference(kept: SourceFile) -> Reference:
    """What `read_reference` said of the file that it wrote."""
    import soundfile

    with soundfile.SoundFile(kept.path) as sound:
        seconds = sound.frames / sound.samplerate
    return Reference(token=kept.token, name=display_name(kept.name), path=kept.key, seconds=seconds)


def _heard(path: Path) -> Samples:
    """The file's sound, shape (samples,)."""
    mono, rate = _mixed_down(path)
    if not np.isfinite(mono).all():
        raise DamagedMedia("it holds samples that are no sound")
    samples = _resampled(np.clip(mono, -1, 1), rate)[: round(LONGEST_SECONDS * RATE)]
    if len(samples) < SHORTEST_SECONDS * RATE:
        raise DamagedMedia(f"less than {SHORTEST_SECONDS:g} s of it can be heard")
    if np.abs(samples).max() < SILENT:
        raise UnsupportedMedia(f"its first {len(samples) / RATE:g} s are silent")
    return samples


def _mixed_down(path: Path) -> tuple[Samples, int]:
    """All channels in one, from the beginning, shape (samples,), and the rate in Hz."""
    parts: list[Samples] = []
    rate, wanted = 0, 1
    with closing(_frames(path)) as frames:
        for frame in frames:
            if not rate:
                rate = frame.sample_rate
                if rate not in _RATES:
                    raise UnsupportedMedia(f"it has {rate} samples a second; {_RATES[0]} to {_RATES[-1]} are read")
                wanted = round(LONGEST_SECONDS * rate)
            if wanted <= 0 or frame.sample_rate != rate:  # something else begins
                break
            with np.errstate(all="ignore"):  # what is no number is found later
                together = frame.to_ndarray().reshape(frame.samples, -1)
                parts.append(together.mean(axis=1, dtype=np.float32)[:wanted])
            wanted -= len(parts[-1])
    if not parts:
        raise UnsupportedMedia(f"there is no sound in it that can be decoded; {HEARD_HERE}")
    return np.concatenate(parts), rate


def _frames(path: Path) -> Generator[Any]:
    """The sound's frames as far as they can be decoded: float32, channels interleaved."""
    deadline = time.monotonic() + _DECODING_SECONDS
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    try:
        with media.open_media(path) as container:
            streams = [stream for stream in container.streams.audio if stream.codec_context is not None]
            packets = container.demux(streams[0]) if streams else iter(())
            interleaved = av.AudioResampler(format="flt")  # planar, eight channels and more would crash PyAV 18
            while True:
                if time.monotonic() > deadline:
                    raise DamagedMedia(f"its sound could not be decoded within {_DECODING_SECONDS:g} s")
                try:
                    packet = next(packets, None)
                    if packet is None:
                        return
                    frames = [made for frame in packet.decode() for made in interleaved.resample(frame)]
                except (
                    av.FFmpegError,
                    IndexError,
                    ValueError,
                ):  # IndexError as in `PictureTrack`; ValueError: of another kind
                    continue
                yield from (frame for frame in frames if frame.format.name == "flt")
    except UnsupportedMedia as error:
        kind = begins_like(head) or description(head)
        raise UnsupportedMedia(f"it seems to be {kind}, and cannot be played; {HEARD_HERE}") from error


def _resampled(mono: Samples, rate: int) -> Samples:
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(mono[np.newaxis]), "fltp", "mono")
    frame.sample_rate = rate
    resampler = av.AudioResampler("fltp", "mono", RATE)
    made = [part.to_ndarray()[0] for part in (*resampler.resample(frame), *resampler.resample(None))]
    return np.concatenate(made) if made else np.zeros(0, np.float32)
