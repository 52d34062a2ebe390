"""Small videos, images and hostile files for tests, made in milliseconds with PyAV and Pillow.

Every frame carries its own number as a black and white pattern, so that a test can tell which frame it looks at:

    video = make_video(tmp_path / "clip.mp4", frames=50, rate=25, sound=True)
    assert frame_number(extracted.path) == 12
"""

import functools
import importlib.util
import itertools
import os
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, ParamSpec

import av
import numpy as np
import numpy.typing as npt
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.stream import VideoStream
from PIL import Image

P = ParamSpec("P")
Photograph = Literal["china", "flower", "bus", "zidane"]

_COLUMNS, _ROWS = 8, 2  # 16 bits of the frame's number

# By file ending: libavformat's name of the muxer, picture codec, sound codec.
_CONTAINERS = {
    ".mp4": ("mp4", "libx264", "aac"),
    ".mov": ("mov", "libx264", "aac"),
    ".mkv": ("matroska", "libx264", "aac"),
    ".webm": ("webm", "libvpx", "libopus"),
    ".avi": ("avi", "mpeg4", "mp2"),
    ".ts": ("mpegts", "libx264", "aac"),
    ".mpg": ("mpeg", "mpeg2video", "mp2"),
    ".flv": ("flv", "libx264", "aac"),
    ".wmv": ("asf", "wmv2", "libmp3lame"),
    ".ogv": ("ogg", "libvpx", "libopus"),
    ".gif": ("gif", "gif", ""),
    ".png": ("apng", "apng", ""),
}
_PIXELS = {"gif": "gray", "apng": "rgb24", "mjpeg": "yuvj420p", "prores_ks": "yuv422p10le"}
_CODEC_OPTIONS = {
    # No keyframes at changes, so that `gop` alone decides.
    "libx264": {"preset": "ultrafast", "sc_threshold": "0", "threads": "1"},
    "libvpx": {"deadline": "realtime", "cpu-used": "8"},
    "mpeg4": {"sc_threshold": "1000000000"},
}


def numbered_picture(number: int, *, size: tuple[int, int] = (64, 48)) -> npt.NDArray[np.uint8]:
    """A picture that shows `number` (0 to 65535): uint8, shape (height, width, 3), RGB."""
    bits = [(number >> bit) & 1 for bit in range(_COLUMNS * _ROWS)]
    code = Image.fromarray(np.array(bits, dtype=np.uint8).reshape(_ROWS, _COLUMNS) * 255)
    return np.asarray(code.resize(size, Image.Resampling.NEAREST).convert("RGB"))


def frame_number(picture: Path | Image.Image) -> int:
    """The number that a picture shows, whatever its size. It must be upright."""
    image = Image.open(picture) if isinstance(picture, Path) else picture
    code = np.asarray(image.convert("L").resize((_COLUMNS, _ROWS), Image.Resampling.BOX)) > 127
    return sum(1 << bit for bit, on in enumerate(code.flatten()) if on)


def _apart(write: Callable[P, Path]) -> Callable[P, Path]:
    """In a thread of its own: where it is root, SVT-AV1 gives the thread that calls it the highest real-time priority, for good.

    All that this thread started later would inherit that, and starve the rest of the machine, the kernel's own threads too.
    """

    @functools.wraps(write)
    def in_a_thread(*arguments: P.args, **named: P.kwargs) -> Path:
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(write, *arguments, **named).result()

    return in_a_thread


@_apart
def make_video(
    path: Path,
    *,
    frames: int = 25,
    rate: int | Fraction = 25,
    pictures: Sequence[npt.NDArray[np.uint8]] | None = None,
    size: tuple[int, int] = (64, 48),
    gop: int = 12,
    durations: Sequence[float] | None = None,
    start: float = 0,
    rotation: int = 0,
    aspect: tuple[int, int] | None = None,
    sound: bool = False,
    sound_seconds: float | None = None,
    own: npt.NDArray[np.float32] | None = None,
    sound_codec: str | None = None,
    codec: str | None = None,
    codec_options: dict[str, str] | None = None,
    muxer_options: dict[str, str] | None = None,
    tags: dict[str, str] | None = None,
) -> Path:
    """Write a video whose frame i shows the number i; the container follows the path's ending (see `_CONTAINERS`).

    pictures: what is shown instead, uint8, each of shape (height, width, 3), RGB; `frames` and `size` are then theirs.
    durations: seconds that each frame is shown, for a variable frame rate; `frames` and `rate` are then ignored.
    size: width and height as displayed (before `aspect`). rotation: the picture is stored turned, and the container tells
    players to turn it back by this many degrees counter-clockwise. start: presentation time of the first frame.
    aspect: sample aspect ratio. sound: a 440 Hz tone, as long as the picture unless `sound_seconds` says otherwise.
    own: other sound in its place, shape (2, samples), 48 kHz; its first sample belongs to the first frame. tags: metadata of the
    picture's stream.
    """
    muxer, picture_codec, usual_sound = _CONTAINERS[path.suffix]
    if pictures is not None:
        frames, size = len(pictures), (pictures[0].shape[1], pictures[0].shape[0])
    shown = [float(1 / rate)] * frames if durations is None else list(durations)
    with av.open(str(path), "w", format=muxer, container_options=muxer_options or {}) as container:
        stream: Any = container.add_stream(codec or picture_codec, rate=rate)
        stream.width, stream.height = size if rotation % 180 == 0 else size[::-1]
        odd = stream.codec_context.name == "libx264" and (size[0] % 2 or size[1] % 2)
        stream.pix_fmt = "yuv444p" if odd else _PIXELS.get(stream.codec_context.name, "yuv420p")
        stream.gop_size = gop
        # B-frames: decoding order and display order differ. Not at a variable rate: mp4 then forgets the last frame's length.
        stream.codec_context.max_b_frames = 2 if stream.codec_context.name == "libx264" and durations is None else 0
        stream.options = _CODEC_OPTIONS.get(stream.codec_context.name, {}) | (codec_options or {})
        stream.metadata.update(tags or {})
        stream.codec_context.time_base = 1 / Fraction(rate) if durations is None else Fraction(1, 1000)
        if aspect:
            stream.codec_context.sample_aspect_ratio = Fraction(*aspect)
        if rotation:
            stream.set_display_rotation(rotation)
        if own is None and sound:
            own = _tone(sum(shown) if sound_seconds is None else sound_seconds)
        heard: Any = None
        if own is not None:
            heard = container.add_stream(sound_codec or usual_sound, rate=48_000, layout="stereo")
            heard.bit_rate = 128_000
        seen = (numbered_picture(i, size=size) for i in range(len(shown))) if pictures is None else iter(pictures)
        turned = (np.rot90(picture, -rotation // 90) for picture in seen)
        _write_picture(container, stream, turned, shown=shown, start=start)
        if own is not None:
            _write_sound(container, heard, own, start)
    return path


def _write_picture(
    container: OutputContainer,
    stream: VideoStream,
    pictures: Iterable[npt.NDArray[np.uint8]],
    *,
    shown: list[float],
    start: float,
) -> None:
    base = stream.codec_context.time_base
    stamps = [round(start / base) + round(at / base) for at in itertools.accumulate(shown, initial=0.0)]
    lengths = {at: following - at for at, following in itertools.pairwise(stamps)}
    for stamp, pixels in zip(stamps, pictures, strict=False):
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels)).reformat(format=stream.pix_fmt, threads=1)
        picture.pts, picture.time_base = stamp, base
        for packet in stream.encode(picture):
            _mux(container, packet, lengths)
    for packet in stream.encode(None):
        _mux(container, packet, lengths)


def _mux(container: OutputContainer, packet: "av.Packet[Any]", lengths: dict[int, int]) -> None:
    # Encoders forget how long the last frame is shown.
    if packet.pts in lengths:
        packet.duration = lengths[packet.pts]
    container.mux(packet)


def _tone(seconds: float) -> npt.NDArray[np.float32]:
    wave = np.sin(2 * np.pi * 440 * np.arange(round(seconds * 48_000)) / 48_000) * 0.25
    return np.repeat(wave[None].astype(np.float32), 2, axis=0)


def _write_sound(
    container: OutputContainer, stream: AudioStream, samples: npt.NDArray[np.float32], start: float
) -> None:
    for at in range(0, samples.shape[1], 48_000):
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[:, at : at + 48_000]), "fltp", "stereo")
        frame.rate, frame.pts, frame.time_base = 48_000, round(start * 48_000) + at, Fraction(1, 48_000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def photograph(name: Photograph) -> Image.Image:
    """A photograph that comes with scikit-learn or ultralytics."""
    library, folder = ("sklearn", "datasets/images") if name in {"china", "flower"} else ("ultralytics", "assets")
    found = importlib.util.find_spec(library)  # ultralytics takes long to import
    assert found is not None
    assert found.origin is not None
    return Image.open(Path(found.origin).parent / folder / f"{name}.jpg").convert("RGB")


def panned(
    photo: Image.Image,
    *,
    frames: int,
    size: tuple[int, int] = (192, 108),
    share: float = 0.4,
) -> list[npt.NDArray[np.uint8]]:
    """A steady pan over a photograph, from left to right. share: of the frame's width, how far it goes in all."""
    width = round(size[0] * (1 + share))
    height = max(size[1], round(photo.height * width / photo.width))
    large = photo.resize((width, height), Image.Resampling.BOX)
    top = (height - size[1]) // 2
    lefts = [round((width - size[0]) * i / max(frames - 1, 1)) for i in range(frames)]
    return [np.asarray(large.crop((left, top, left + size[0], top + size[1]))) for left in lefts]


def make_sound(path: Path, *, seconds: float = 1, cover: bool = False) -> Path:
    """Write a tone without a picture: .mp3, .m4a, .flac or .wav. cover: with cover art, which is no video."""
    muxer, codec = {
        ".mp3": ("mp3", "libmp3lame"), ".m4a": ("mp4", "aac"), ".flac": ("flac", "flac"), ".wav": ("wav", "pcm_s16le"),
    }[path.suffix]  # fmt: skip
    with av.open(str(path), "w", format=muxer) as container:
        stream: Any = container.add_stream(codec, rate=48_000, layout="stereo")
        if cover:
            art: Any = container.add_stream("mjpeg", rate=1)
            art.width, art.height, art.pix_fmt = 64, 48, "yuvj420p"
            art.disposition = av.stream.Disposition.attached_pic
            picture = av.VideoFrame.from_ndarray(numbered_picture(0)).reformat(format="yuvj420p")
            container.mux([*art.encode(picture), *art.encode(None)])
        _write_sound(container, stream, _tone(seconds), 0)
    return path


def make_image(path: Path, *, size: tuple[int, int] = (64, 48), number: int = 0, orientation: int = 1) -> Path:
    """Write a still image that shows `number`, in the format of the path's ending. orientation: the EXIF tag's value."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, Any] = {"exif": exif} if orientation != 1 else {}
    Image.fromarray(numbered_picture(number, size=size)).save(path, **options)
    return path


def make_animation(path: Path, *, frames: int = 5, milliseconds: int | list[int] = 100) -> Path:
    """Write an animated .webp, .avif, .gif or .png with Pillow. milliseconds: of every frame, or of each."""
    first, *others = [Image.fromarray(numbered_picture(number)) for number in range(frames)]
    first.save(path, save_all=True, append_images=others, duration=milliseconds, loop=0)
    return path


def make_heic(
    path: Path, *, numbers: Sequence[int] = (0,), size: tuple[int, int] = (64, 48), orientation: int = 1
) -> Path:
    """Write a HEIC image of one or several pictures that show these numbers, the first of them the one to show.

    orientation: the EXIF tag's value, which the encoder turns into HEIC's own.
    """
    import pillow_heif

    pillow_heif.register_heif_opener()
    exif = Image.Exif()
    exif[0x0112] = orientation
    first, *others = [Image.fromarray(numbered_picture(number, size=size)) for number in numbers]
    first.save(path, "HEIF", save_all=bool(others), append_images=others, exif=exif.tobytes())
    return path


def cut(path: Path, *, part: float) -> Path:
    """A copy of a file that ends after this part of its bytes, as an upload that broke off."""
    data = path.read_bytes()
    short = path.with_name(f"cut_{path.name}")
    short.write_bytes(data[: int(len(data) * part)])
    return short


def corrupt(path: Path, *, kind: Literal["video", "audio"], begin: float = 0, end: float = float("inf")) -> None:
    """Overwrite, in place, the packets of a video's picture or sound between two times in seconds."""
    with av.open(str(path)) as container:
        stream = next(stream for stream in container.streams if stream.type == kind)
        packets: Any = [packet for packet in container.demux(stream) if packet.size and packet.pos is not None]
        spots = [(packet.pos, packet.size) for packet in packets if begin <= packet.pts * packet.time_base < end]
    with path.open("r+b") as file:
        for position, size in spots:
            file.seek(position)
            file.write(b"\xff" * size)


def hostile_files(folder: Path, *, target: str) -> dict[str, Path]:
    """Files that ask a media library to open `target`, a path or an address, by kind."""
    texts = {
        "hls.m3u8": f"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{target}\n#EXT-X-ENDLIST\n",
        "hls_named_video.mp4": f"#EXTM3U\n#EXTINF:9,\n{target}\n#EXT-X-ENDLIST\n",
        "script.ffconcat": f"ffconcat version 1.0\nfile '{target}'\n",
        "script.txt": f"file '{target}'\n",
        "dash.mpd": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"'
        ' mediaPresentationDuration="PT9S"><Period><AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1">'
        f"<BaseURL>{target}</BaseURL></Representation></AdaptationSet></Period></MPD>\n",
        "session.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
        "a=rtpmap:96 H264/90000\n",
        "picture.svg": f'<svg xmlns="http://www.w3.org/2000/svg"><image href="{target}" width="9" height="9"/></svg>\n',
    }
    files = {name: folder / name for name in texts}
    for name, text in texts.items():
        files[name].write_text(text)
    return files


class Trap:
    """A file and an address that notice when anybody opens them: what hostile files should point to.

    targets: the path and the address. sprung(): whether either was opened. Close it at the end of the test.
    """

    def __init__(self, folder: Path) -> None:
        self.opened = threading.Event()
        self._fifo = folder / "secret.mp4"
        os.mkfifo(self._fifo)
        self._writer = threading.Thread(target=self._wait, daemon=True)
        self._writer.start()
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.setblocking(False)
        host, port = self._server.getsockname()
        self.targets = {"file": str(self._fifo), "address": f"http://{host}:{port}/secret.mp4"}

    def _wait(self) -> None:
        # Opening a pipe for writing returns when somebody opens it for reading.
        with self._fifo.open("wb"):
            self.opened.set()

    def sprung(self) -> bool:
        try:
            self._server.accept()[0].close()
        except BlockingIOError:
            return self.opened.is_set()
        return True

    def close(self) -> None:
        os.close(os.open(self._fifo, os.O_RDONLY | os.O_NONBLOCK))
        self._writer.join(timeout=5)
        self._server.close()
