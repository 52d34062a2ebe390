"""What the result's formats can hold, and how picture and sound are encoded for them."""

from dataclasses import dataclass

from models.record import AudioFormat, VideoFormat

OutputOptions = dict[str, str | int]
"""ffmpeg's output options."""


@dataclass(frozen=True)
class SoundCodec:
    name: str
    options: OutputOptions
    """For the output's first sound track."""
    lossy: bool = True


@dataclass(frozen=True)
class PictureCodec:
    name: str
    options: OutputOptions
    """For the output's first picture."""
    still_options: OutputOptions
    """For a still image: nothing reordered and nothing hidden, so that the packets can be repeated."""


@dataclass(frozen=True)
class Tracks:
    """What a container holds beside picture and mix, by the codecs' names."""

    sounds: frozenset[str] = frozenset()
    """Copied; any other sound is encoded as the mix is."""
    subtitles: frozenset[str] = frozenset()
    """Copied."""
    text: str | None = None
    """What any other subtitles that are text become: name of ffmpeg's encoder."""
    covers: frozenset[str] = frozenset()
    padded: bool = False
    """Whether it says by how much a codec is late, and is that much longer itself."""
    attached: bool = False
    """Whether it has room for attached files: fonts, and one cover."""
    handlers: bool = False
    """Whether players take a track's title from its handler."""
    mac_languages: bool = False
    """Whether languages are numbered as the Macintosh did."""


@dataclass(frozen=True)
class Container:
    muxer: str
    sound: SoundCodec
    copies: frozenset[str] = frozenset()
    """Picture codecs that it holds, and that players expect in it: their packets are copied."""
    picture: PictureCodec | None = None
    """What any other picture is encoded as; None for sound alone."""
    options: OutputOptions | None = None
    tracks: Tracks = Tracks()


# `fast` takes half the time at this bit rate, and its noise in the bands of hearing is no stronger: -22 against -19 dB on average.
_AAC = SoundCodec("aac", {"c:a:0": "aac", "b:a:0": "192k", "aac_coder": "fast"})
# In Matroska, Opus says how many samples its decoder must drop; AAC cannot, and would sound 21 ms late.
_OPUS = SoundCodec("opus", {"c:a:0": "libopus", "b:a:0": "160k"})
_MP3 = SoundCodec("mp3", {"c:a:0": "libmp3lame", "b:a:0": "256k"})
_VORBIS = SoundCodec("vorbis", {"c:a:0": "libvorbis", "q:a:0": 6})
_FLAC = SoundCodec("flac", {"c:a:0": "flac", "sample_fmt:a:0": "s32"}, lossy=False)
_PCM = SoundCodec("pcm_s24le", {"c:a:0": "pcm_s24le"}, lossy=False)

# Without B-frames: mp4 then keeps how long the last frame of a variable frame rate is shown.
_H264 = PictureCodec(
    "h264",
    {"c:v:0": "libx264", "preset": "veryfast", "crf": 18, "bf": 0},
    {"c:v:0": "libx264", "preset": "medium", "crf": 18, "bf": 0, "tune": "stillimage"},
)
_VP9_BASE: OutputOptions = {"c:v:0": "libvpx-vp9", "b:v:0": 0, "row-mt": 1}
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
_FLAGS_AS_GIVEN: OutputOptions = {"default_mode": "passthrough"}

_ISO_SOUNDS = frozenset({"aac", "mp3", "ac3", "eac3", "alac"})
_INTEGERS = frozenset({"pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le", "pcm_s32be", "pcm_u8"})
_PCM_CODECS = _INTEGERS | {"pcm_f32le", "pcm_f64le", "pcm_alaw", "pcm_mulaw"}
_MKV_SOUNDS = _ISO_SOUNDS | _PCM_CODECS | {"mp2", "opus", "vorbis", "flac", "dts", "truehd", "mlp", "tta", "wavpack"}
_MKV_SUBTITLES = frozenset(
    {"subrip", "ass", "ssa", "webvtt", "text", "hdmv_pgs_subtitle", "dvd_subtitle", "dvb_subtitle"}
)
_PICTURES = frozenset({"mjpeg", "png"})
_MP4_TRACKS = Tracks(
    _ISO_SOUNDS | {"opus", "flac", "mp2"}, frozenset({"mov_text"}), "mov_text", _PICTURES, handlers=True
)
_MOV_TRACKS = Tracks(_ISO_SOUNDS | _PCM_CODECS, frozenset({"mov_text"}), "mov_text", handlers=True, mac_languages=True)
_MKV_TRACKS = Tracks(_MKV_SOUNDS, _MKV_SUBTITLES, "srt", _PICTURES, padded=True, attached=True)
_WEBM_TRACKS = Tracks(frozenset({"opus", "vorbis"}), frozenset({"webvtt"}), "webvtt", padded=True)

CONTAINERS: dict[VideoFormat | AudioFormat, Container] = {
    "mp4": Container("mp4", _AAC, _MP4, _H264, _PLAY_AT_ONCE, _MP4_TRACKS),
    "mov": Container("mov", _AAC, _ISO | _CAMERA, _H264, _PLAY_AT_ONCE, _MOV_TRACKS),
    "mkv": Container("matroska", _OPUS, _MP4 | _WEB | _CAMERA | _OLD, _H264, _FLAGS_AS_GIVEN, _MKV_TRACKS),
    "webm": Container("webm", _OPUS, _WEB, _VP9, _FLAGS_AS_GIVEN, _WEBM_TRACKS),
    "wav": Container("wav", _PCM, options={"rf64": "auto"}),
    "flac": Container("flac", _FLAC),
    "mp3": Container("mp3", _MP3),
    "m4a": Container("ipod", _AAC, options=_PLAY_AT_ONCE),
    "ogg": Container("ogg", _VORBIS),
}
