"""What the result's formats can hold, and how picture and sound are encoded for them."""

from dataclasses import dataclass

from models.record import AudioFormat, VideoFormat

OutputOptions = dict[str, str | int]
"""ffmpeg's output options."""


@dataclass(frozen=True)
class SoundCodec:
    name: str
    options: OutputOptions
    lossy: bool = True


@dataclass(frozen=True)
class PictureCodec:
    name: str
    options: OutputOptions
    still_options: OutputOptions
    """For a still image: nothing reordered and nothing hidden, so that the packets can be repeated."""


@dataclass(frozen=True)
class Container:
    muxer: str
    sound: SoundCodec
    copies: frozenset[str] = frozenset()
    """Picture codecs that it holds, and that players expect in it: their packets are copied."""
    picture: PictureCodec | None = None
    """What any other picture is encoded as; None for sound alone."""
    options: OutputOptions | None = None


# `fast` takes half the time at this bit rate, and its noise in the bands of hearing is no stronger: -22 against -19 dB on average.
_AAC = SoundCodec("aac", {"acodec": "aac", "b:a": "192k", "aac_coder": "fast"})
# In Matroska, Opus says how many samples its decoder must drop; AAC cannot, and would sound 21 ms late.
_OPUS = SoundCodec("opus", {"acodec": "libopus", "b:a": "160k"})
_MP3 = SoundCodec("mp3", {"acodec": "libmp3lame", "b:a": "256k"})
_VORBIS = SoundCodec("vorbis", {"acodec": "libvorbis", "q:a": 6})
_FLAC = SoundCodec("flac", {"acodec": "flac", "sample_fmt": "s32"}, lossy=False)
_PCM = SoundCodec("pcm_s24le", {"acodec": "pcm_s24le"}, lossy=False)

# Without B-frames: mp4 then keeps how long the last frame of a variable frame rate is shown.
_H264 = PictureCodec(
    "h264",
    {"vcodec": "libx264", "preset": "veryfast", "crf": 18, "bf": 0},
    {"vcodec": "libx264", "preset": "medium", "crf": 18, "bf": 0, "tune": "stillimage"},
)
_VP9_BASE: OutputOptions = {"vcodec": "libvpx-vp9", "b:v": 0, "row-mt": 1}
_VP9 = PictureCodec(
    "vp9",
    {**_VP9_BASE, "crf": 30, "deadline": "realtime", "cpu-used": 6},
    {**_VP9_BASE, "crf": 24, "deadline": "good", "cpu-used": 4, "auto-alt-ref": 0, "lag-in-frames": 0},
)

_ISO = frozenset({"h264", "hevc", "mpeg4"})
_WEB = frozenset({"vp8", "vp9", "av1"})
_CAMERA = frozenset({"prores", "dnxhd", "mjpeg"})
_OLD = frozenset({"theora", "ffv1", "flv1", "vc1", "wmv1", "wmv2", "wmv3", "msmpeg4v2", "msmpeg4v3", "h263"})
_MP4 = _ISO | {"av1", "vp9", "mpeg1video", "mpeg2video"}
_PLAY_AT_ONCE: OutputOptions = {"movflags": "+faststart"}

CONTAINERS: dict[VideoFormat | AudioFormat, Container] = {
    "mp4": Container("mp4", _AAC, _MP4, _H264, _PLAY_AT_ONCE),
    "mov": Container("mov", _AAC, _ISO | _CAMERA, _H264, _PLAY_AT_ONCE),
    "mkv": Container("matroska", _OPUS, _MP4 | _WEB | _CAMERA | _OLD, _H264),
    "webm": Container("webm", _OPUS, _WEB, _VP9),
    "wav": Container("wav", _PCM, options={"rf64": "auto"}),
    "flac": Container("flac", _FLAC),
    "mp3": Container("mp3", _MP3),
    "m4a": Container("ipod", _AAC, options=_PLAY_AT_ONCE),
    "ogg": Container("ogg", _VORBIS),
}
