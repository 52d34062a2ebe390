"""`reconstruction`: the sound under the picture.

The picture's packets are copied wherever the container can hold them, and the source's other tracks come along. All times count
from the picture's first frame: the source is shifted so that this frame lies at zero, and the sound begins there, whatever the
source's own clock said.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

import ffmpeg
from pydantic import Field

from models import media
from models.animations import readable
from models.audio import STEM_CHANNELS, STEM_SAMPLE_RATE
from models.containers import CONTAINERS, OutputOptions, PictureCodec
from models.errors import MediaToolFailed, MediaToolLimit, MissingOutput
from models.fidelity import PictureChanged, check_copy, check_length, length
from models.mixing import OWN_SOUND_BROKEN, Mix, Mixer, MixSettings, OwnSound, StemFile
from models.muxing import COMMENT, Job, beside, look_into, with_tracks, write
from models.picture import read_picture
from models.record import VIDEO_FORMATS, AudioFormat, Files, Reconstruction, VideoFormat, VideoInput
from models.result_files import DESCRIPTIONS, lowered_note, moved
from models.schema import ModuleSettings
from models.still_picture import fitted, shown
from models.text_track import SceneText, webvtt
from models.tracks import NOTHING_ELSE, Plan, shifted

__all__ = ["COMMENT", "ReconstructionSettings", "Reconstructor", "SceneText", "StemFile", "result_format"]

STILL_GOP_SECONDS = 10
SEAM = "the picture is shown for whole frames, a little longer or shorter than the loop: there is a seam where it begins again"


class ReconstructionSettings(ModuleSettings):
    """How sound and picture are put together."""

    mix: MixSettings = MixSettings()
    image_frame_rate: int = Field(25, ge=1, le=60)
    """Frames per second of a video that is made of a still image."""
    image_long_side: int = Field(1920, ge=16, le=7680)
    """Pixels of its longer side at most; smaller images keep their size."""
    timeout_seconds: float = Field(120, gt=0)
    """What every run of ffmpeg may take, however short the film."""
    timeout_per_second: float = Field(1, gt=0)
    """Added per second of the result, when sound is made and packets are copied."""
    timeout_per_second_encoding: float = Field(20, gt=0)
    """Added per second of the result, when a picture is encoded."""
    max_output_bytes: int = Field(16 * 2**30, ge=2**16)
    """A result that would grow beyond is given up."""

    tuning: ClassVar = frozenset({"timeout_seconds", "timeout_per_second", "timeout_per_second_encoding"})


def result_format(video_input: VideoInput) -> VideoFormat | AudioFormat:
    """The format asked for; else the source's own, mp4 or mkv, whichever first can hold the picture as it is; else mp4.

    Of words alone, wav.
    """
    if video_input.options.format is not None:
        return video_input.options.format
    if video_input.media == "text":
        return "wav"
    picture = video_input.first("video")
    if video_input.media == "image" or picture is None:
        return "mp4"
    own: list[VideoFormat] = [name for name in VIDEO_FORMATS if name == video_input.container]
    candidates: list[VideoFormat] = [*own, "mp4", "mkv"]
    return next((name for name in candidates if picture.codec in CONTAINERS[name].copies), "mp4")


@dataclass(frozen=True)
class _Picture:
    """What became of the picture."""

    picture: Literal["copied", "encoded", "none"]
    plan: Plan = NOTHING_ELSE
    """What became of the other tracks."""
    codec: str | None = None
    notes: tuple[str, ...] = ()


class Reconstructor:
    """Puts the sound under the picture."""

    model = "ffmpeg"
    device = "cpu"
    licence: str | None = None

    def __init__(self, settings: ReconstructionSettings) -> None:
        self._settings = settings

    def reconstruct(
        self,
        video_input: VideoInput,
        source: Path,
        *,
        stems: Sequence[StemFile],
        output: Path,
        texts: Sequence[SceneText] = (),
        origin: str | None = None,
    ) -> Reconstruction:
        """Write the result to `output`, in the format that `result_format` names, whatever the path's ending.

        Beside it, in the same folder, lie the mix and the source's own sound as stems (mix.flac, original.flac), copies of the
        generated stems where another format is asked for (music.wav, sounds.wav), and the scenes' `texts` (descriptions.vtt).
        `origin`, one line that says what made the sound, goes into the result's comment.
        All files appear under their names when they are complete, the result last, or not at all; the folder must exist, and
        holds what is written on the way. The result is as long as the picture, to one audio frame; a still image is shown for
        whole frames. Own sound that cannot be decoded is left out, and a note says so; so does the list of tracks for one that
        cannot be carried over.
        Raises MissingOutput without any stem, DamagedMedia for an image that cannot be read, MediaToolFailed when ffmpeg fails,
        MediaToolLimit when it takes too long or the result grows too large.
        """
        if not stems:
            raise MissingOutput("reconstruction needs at least one stem of audio_generation")
        with (
            readable(source) as film,
            tempfile.TemporaryDirectory(dir=output.parent, prefix=".reconstruction-") as name,
        ):
            folder = Path(name)
            if texts:
                (beside(folder) / DESCRIPTIONS).write_text(webvtt(texts), encoding="utf-8")
            job = replace(self._job(video_input, film, stems, folder=folder), origin=origin)
            picture = self._put_together(job)
            seconds = length(job.path)
            files = moved(job.beside, output.parent)
            job.path.replace(output)
        return _described(job, picture, files, path=output.name, seconds=seconds)

    def _job(self, video_input: VideoInput, film: Path, stems: Sequence[StemFile], *, folder: Path) -> Job:
        """With the sound mixed."""
        wanted = result_format(video_input)
        seconds = self._seconds(video_input, wanted)
        looked = look_into(video_input, film, wanted=wanted, seconds=seconds)
        return Job(
            video_input=video_input,
            source=film,
            format=wanted,
            mix=self._mix(video_input, stems, own=looked.own, seconds=seconds, folder=folder),
            stems=tuple(stems),
            looked=looked,
            folder=folder,
            seconds=seconds,
            max_bytes=self._settings.max_output_bytes,
        )

    def _mix(
        self,
        video_input: VideoInput,
        stems: Sequence[StemFile],
        *,
        own: OwnSound | None,
        seconds: float,
        folder: Path,
    ) -> Mix:
        options = video_input.options
        mixer = Mixer(self._settings.mix, options=options, seconds=seconds, folder=folder)
        lossy = CONTAINERS[result_format(video_input)].sound.lossy
        mix = mixer.mix(stems, own=own, lossy=lossy, timeout_seconds=self._timeout(seconds))
        used = options.original > 0 and options.original_mode != "replace"
        if own is None and video_input.first("audio") and used:
            mix = replace(mix, notes=(OWN_SOUND_BROKEN, *mix.notes))
        if mix.loops and abs(seconds - video_input.result_seconds) * STEM_SAMPLE_RATE > 0.5:
            mix = replace(mix, notes=(*mix.notes, SEAM))
        return mix

    def _put_together(self, job: Job) -> _Picture:
        coded_as = job.container.picture
        if coded_as is None:
            write(job, None, {}, timeout_seconds=self._timeout(job.seconds))
            return _Picture("none")
        if job.video_input.media == "image":
            self._show_still(job, coded_as)
            return _Picture("encoded", codec=coded_as.name)
        picture, codec = _picture(job)
        reason = f"{job.format} cannot hold {codec}"
        if codec in job.container.copies:
            plan = self._copied(job, picture, codec)
            if plan is not None:
                return _Picture("copied", plan, codec)
            reason = f"{job.format} cannot hold its packets as they are"
        plan = self._encode(job, picture, coded_as)
        return _Picture("encoded", plan, coded_as.name, (f"the picture was encoded as {coded_as.name}: {reason}",))

    def _copied(self, job: Job, picture: ffmpeg.nodes.FilterableStream, codec: str) -> Plan | None:
        """What became of the other tracks; None where the picture cannot be copied."""
        options: OutputOptions = {"c:v:0": "copy", "copypriorss:v:0": 1}
        apple = {"mp4", "mov"}
        if codec == "hevc" and job.format in apple and job.video_input.container not in apple:
            options["tag:v:0"] = "hvc1"  # Apple's players refuse ffmpeg's default

        def put(plan: Plan) -> None:
            write(job, picture, options, tracks=plan.kept, timeout_seconds=self._timeout(job.seconds))
            check_copy(job)
            check_length(job)

        try:
            return with_tracks(job, put, timeout_seconds=self._timeout(job.seconds))
        except MediaToolLimit:
            raise  # it says nothing about the container, and encoding takes longer still
        except (MediaToolFailed, PictureChanged):
            return None

    def _encode(self, job: Job, picture: ffmpeg.nodes.FilterableStream, codec: PictureCodec) -> Plan:
        even = picture.filter("scale", "max(2,trunc(iw/2)*2)", "max(2,trunc(ih/2)*2)").filter("format", "yuv420p")
        options: OutputOptions = {"fps_mode:v:0": "vfr", "enc_time_base:v:0": "1/90000", **codec.options}

        def put(plan: Plan) -> None:
            write(job, even, options, tracks=plan.kept, timeout_seconds=self._timeout(job.seconds, encoding=True))
            if plan.kept:  # nothing but a track can be the cause
                check_length(job)

        return with_tracks(job, put, timeout_seconds=self._timeout(job.seconds))

    def _show_still(self, job: Job, codec: PictureCodec) -> None:
        """A few seconds are encoded once; their packets are repeated for as long as asked."""
        rate = self._settings.image_frame_rate
        frames = round(job.seconds * rate)
        gop = min(frames, STILL_GOP_SECONDS * rate)
        image = fitted(read_picture(job.source), self._settings.image_long_side)
        path = job.folder / "still.mp4"
        graph = shown(image.size, path=path, frames=gop, rate=rate, codec=codec)
        media.run(graph, timeout_seconds=self._timeout(gop / rate, encoding=True), stdin=image.tobytes())
        repeated = media.source(path, stream_loop=-1)["v:0"]
        options: OutputOptions = {"c:v:0": "copy", "frames:v:0": frames}
        write(job, repeated, options, timeout_seconds=self._timeout(job.seconds))

    def _seconds(self, video_input: VideoInput, wanted: VideoFormat | AudioFormat) -> float:
        if video_input.media != "image" or CONTAINERS[wanted].picture is None:
            return video_input.result_seconds
        rate = self._settings.image_frame_rate
        return max(1, round(video_input.result_seconds * rate)) / rate

    def _timeout(self, seconds: float, *, encoding: bool = False) -> float:
        settings = self._settings
        per_second = settings.timeout_per_second_encoding if encoding else settings.timeout_per_second
        return settings.timeout_seconds + seconds * per_second


def _picture(job: Job) -> tuple[ffmpeg.nodes.FilterableStream, str]:
    """The source's picture with its first frame at zero, and its codec."""
    stream = job.video_input.first("video")
    if stream is None:
        raise MissingOutput(f"video_input knows no picture in {job.video_input.name}")
    return shifted(job.source, job.video_input.start_seconds)[str(stream.index)], stream.codec


def _described(job: Job, picture: _Picture, files: Files, *, path: str, seconds: float) -> Reconstruction:
    mix = job.mix
    return Reconstruction(
        model=Reconstructor.model,
        path=path,
        format=job.format,
        duration_seconds=seconds,
        picture=picture.picture,
        video_codec=picture.codec,
        audio_codec=job.container.sound.name,
        sample_rate=STEM_SAMPLE_RATE,
        channels=STEM_CHANNELS,
        original_used=mix.original_used,
        ducked_seconds=mix.ducked_seconds,
        integrated_lufs=mix.integrated_lufs,
        true_peak_dbtp=mix.true_peak_dbtp,
        tracks=picture.plan.told,
        files=files,
        notes=(*mix.notes, *picture.notes, *job.looked.notes, *lowered_note(mix)),
    )
