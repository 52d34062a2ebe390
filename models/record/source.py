"""`video_input`: what came in."""

from typing import Literal, Self

from pydantic import Field, model_validator

from models.record.options import Options, Words
from models.schema import Frozen

StreamKind = Literal["video", "audio", "subtitle", "data", "attachment"]

CLIP_SECONDS = 10.0  # that the audio models learnt on


class Stream(Frozen):
    """One stream of the source file."""

    index: int
    kind: StreamKind
    codec: str
    language: str | None = None
    title: str | None = None


class Reference(Frozen):
    """A sound that the result is to sound like, where the model can listen."""

    token: str = Field(pattern=r"^[0-9a-f]{32}$")
    """MD5 of the bytes that were sent."""
    name: str
    """The user's name of the file: for people to read, never part of a path."""
    path: str
    """Key of what is listened to: the sound's beginning, as 48 kHz mono FLAC."""
    seconds: float = Field(gt=0)
    """How long that is."""


class VideoInput(Frozen):
    """`video_input`: what came in, and what is asked for."""

    token: str = Field(pattern=r"^[0-9a-f]{32}$")
    """MD5 of the file's bytes, or of the words' in UTF-8."""
    name: str
    """The user's name of the file: for people to read, never part of a path. Of words alone, the first of them."""
    media: Literal["video", "image", "text"]
    """`text`: words alone. There is no picture then, and the result is sound."""
    path: str
    """Key of the source file."""
    container: str
    """Short name of the container or image format, as in a file's ending: mp4, mkv, jpeg; txt for words alone."""
    size_bytes: int = Field(ge=1)
    duration_seconds: float | None = Field(ge=0)
    """How long the picture is shown, first frame to the end of the last. None for a still image, and for words alone."""
    start_seconds: float = 0
    """Presentation time of the first frame; other times in the record count from it."""
    width: int
    """Pixels, as displayed (rotation and sample aspect ratio applied). 0 where there is no picture."""
    height: int
    frame_rate: float | None
    """Average frames per second. None for a still image, and for words alone."""
    has_audio: bool
    """Whether the source has a sound stream that can be decoded."""
    streams: tuple[Stream, ...]
    options: Options
    reference: Reference | None = None
    """What the sound is to be like, beside the words."""
    text: Words | None = None
    """The words that the sound is made of, where they stand in the place of a picture."""

    @model_validator(mode="after")
    def _words_or_a_picture(self) -> Self:
        if (self.text is None) == (self.media == "text"):
            raise ValueError("text holds the words of a run of words alone, and no others")
        return self

    @property
    def kind(self) -> str:
        """What came in, in words."""
        return {"video": "a video", "image": "an image", "text": "words alone"}[self.media]

    def first(self, kind: StreamKind) -> Stream | None:
        """The first stream of a kind; of `video`, that is the picture."""
        return next((stream for stream in self.streams if stream.kind == kind), None)

    def sound_seconds(self, scenes: int) -> float:
        """Sound to be made for one candidate of a stem. However short a scene is, it costs a model as much as a clip."""
        return max(self.result_seconds, (scenes - 1) * CLIP_SECONDS + self.result_seconds / scenes)

    @property
    def result_seconds(self) -> float:
        """How long the result is: as long as the picture, or as asked for a still image and for words alone."""
        return self.options.seconds if self.duration_seconds is None else self.duration_seconds
