"""The one place that starts ffmpeg, and the one list of formats that it may open.

ffmpeg follows what a file says: playlists, `concat` scripts and the like name other files and addresses. So every source is opened
as a local file, by demuxers that hold their data themselves. Command lines are argument lists; no shell ever sees a name.
"""

import errno
import functools
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import ffmpeg
from av.container import InputContainer

from models import work
from models.animations import readable
from models.errors import MediaToolFailed, MediaToolLimit, StorageFull, UnsupportedMedia
from models.file_signatures import is_animated_png

# Demuxers of self-contained files. Left out on purpose: hls, dash, concat, image2, sdp, rtsp, lavfi, and everything else.
FORMATS = (
    "mov", "mp4", "m4a", "3gp", "3g2", "mj2", "matroska", "webm", "avi", "mpegts", "mpeg", "flv", "asf", "ogg",
    "gif", "apng", "wav", "flac", "mp3", "aac",
)  # fmt: skip
PROTOCOLS = "file,pipe"
MAX_PIXELS = 89_478_485  # of one frame, whatever the first one was; Pillow's own limit for images
READ_SECONDS = 30.0  # a file on disk that keeps the library reading for longer at one place was made to

WANTED_SECONDS = 0.1  # how often is looked whether the result is still wanted
NO_SPACE = "No space left on device"
# ffmpeg ends with the negative of the error's number, of which eight bits are left. Its log may be on the same full disk.
NO_SPACE_CODES = (256 - errno.ENOSPC, 256 - errno.EDQUOT)

LOG_BYTES = 64 * 1024  # of the end of the log, where errors and measurements stand; damaged input fills megabytes


@contextmanager
def open_media(path: Path) -> Iterator[InputContainer]:
    """Open a video or sound file with PyAV, under the format list. Frames of more than MAX_PIXELS are not decoded.

    The library is given a file descriptor, and `fd` is the only protocol that it may use: it can open no other file and no
    address, whatever the file says, and the file's own name does not decide how it is read.
    An animation that the library can't decode is opened as the video that `models.animations.readable` makes of it.
    Raises UnsupportedMedia when the file can't be opened as any of the formats.
    """
    with readable(path) as shown, shown.open("rb") as file:
        limits = {"fd": str(file.fileno()), "protocol_whitelist": "fd", "format_whitelist": ",".join(FORMATS)}
        try:
            container = av.open(
                "fd:",
                "r",
                format=_told(shown),
                container_options=limits,
                metadata_errors="replace",
                timeout=READ_SECONDS,
            )
        except av.FFmpegError as error:
            raise UnsupportedMedia(f"{path.name} cannot be opened as a video or as sound: {error.strerror}") from error
    with container:
        for stream in container.streams.video:
            if stream.codec_context is not None:  # there is none for a codec that is not known
                stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        yield container


@functools.cache
def ffmpeg_binary() -> str:
    """Path of the ffmpeg to run: the system's where there is one, else the one that `imageio-ffmpeg` carries."""
    if found := shutil.which("ffmpeg"):
        return found
    import imageio_ffmpeg

    return str(imageio_ffmpeg.get_ffmpeg_exe())


def source(path: Path, **options: str | float) -> ffmpeg.nodes.FilterableStream:
    """An ffmpeg input node for a local file, under the format and protocol lists. `options` are ffmpeg's input options."""
    told = {"format": form} if (form := _told(path)) else {}
    limits = {"protocol_whitelist": PROTOCOLS, "format_whitelist": ",".join(FORMATS)}
    return ffmpeg.input(f"file:{path}", **limits, **told, **options)


def _told(path: Path) -> str | None:
    """The format, where the library would not find out: it takes an animated PNG with a colour profile for a still one."""
    return "apng" if path.is_file() and is_animated_png(path) else None


def run(graph: ffmpeg.nodes.OutputStream, *, timeout_seconds: float, stdin: bytes | None = None) -> tuple[bytes, str]:
    """Run one ffmpeg-python graph to its end. Existing outputs are overwritten.

    Returns what it wrote to stdout (for a graph that outputs to `pipe:`) and the last `LOG_BYTES` of its log.
    Raises MediaToolFailed, with the end of ffmpeg's log, on a non-zero exit, MediaToolLimit after `timeout_seconds`, StorageFull
    when the disk is full, and Cancelled, with ffmpeg stopped, when the work that this is part of is not wanted any more.
    """
    arguments = graph.compile(cmd=ffmpeg_binary(), overwrite_output=True)
    arguments[1:1] = ["-hide_banner", "-nostats"] + ([] if stdin is not None else ["-nostdin"])
    with tempfile.TemporaryFile() as written:
        with subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE, stdout=subprocess.PIPE, stderr=written
        ) as process:  # fmt: skip
            output = _output_of(process, stdin, timeout_seconds=timeout_seconds)
        written.seek(max(0, written.seek(0, os.SEEK_END) - LOG_BYTES))
        log = written.read().decode(errors="replace")
    if process.returncode:
        if process.returncode in NO_SPACE_CODES or NO_SPACE in log:
            raise StorageFull("there is no space left on the disk that is worked on")
        raise MediaToolFailed(f"ffmpeg failed ({process.returncode}): {log[-800:].strip()}")
    return output, log


def _output_of(process: "subprocess.Popen[bytes]", stdin: bytes | None, *, timeout_seconds: float) -> bytes:
    """What the process writes to stdout until it ends. It is killed when it takes too long, or is not wanted any more."""
    deadline = time.monotonic() + timeout_seconds
    try:
        while True:
            try:
                left = deadline - time.monotonic()
                return process.communicate(stdin, timeout=max(0.0, min(WANTED_SECONDS, left)))[0]
            except subprocess.TimeoutExpired as error:
                stdin = None  # it is being written
                work.check()
                if time.monotonic() > deadline:
                    raise MediaToolLimit(f"ffmpeg was stopped after {timeout_seconds:g} s") from error
    except BaseException:
        process.kill()
        raise
