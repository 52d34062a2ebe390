"""What the modules append that look at the picture and write the prompts."""

from typing import Literal, Self

from pydantic import Field, model_validator

from models.record.options import MOST_SCENES, Take
from models.schema import Frozen


class Frame(Frozen):
    """One picture of the video."""

    path: str
    seconds: float
    """Presentation time of the frame that was taken, counted from the video's first frame."""


Origin = Literal["computed", "cached", "kept", "edited"]


class Output(Frozen):
    """What a module appends."""

    origin: Origin = "computed"
    """`computed` in this run; `cached`: by an earlier run, from the same inputs and with the same model and settings; `kept` from
    the run that this one is a rerun of; `edited` by the user."""


class FrameExtraction(Output):
    """`frame_extraction`: pictures spread evenly over the video."""

    model: str
    folder: str
    count: int
    frames: tuple[Frame, ...]


class Box(Frozen):
    """Pixels of the frame, origin in its top left corner; x1 and y1 are exclusive."""

    x0: float
    y0: float
    x1: float
    y1: float


class DetectedObject(Frozen):
    label: str
    score: float = Field(ge=0, le=1)
    box: Box


class FrameObjects(Frozen):
    """What was found in one frame, best score first."""

    frame: int
    """Index into the frames of `frame_extraction`; 0 for a still image."""
    width: int = Field(ge=1)
    height: int = Field(ge=1)
    objects: tuple[DetectedObject, ...]


class ObjectDetection(Output):
    """`object_detection`: objects per frame, and the set of all."""

    model: str
    confidence: float
    frames: tuple[FrameObjects, ...]
    objects: tuple[str, ...]
    """The set of all labels of the video, in alphabetical order."""


class Scene(Frozen):
    """A part of the video, and the frame that stands for it."""

    start_seconds: float = Field(ge=0)
    """From the video's first frame. A scene begins where the one before ends, the first at 0."""
    end_seconds: float = Field(ge=0)
    index: int = Field(ge=0)
    """Of the frame, into the frames of `frame_extraction`."""
    path: str
    """Key of the frame."""


class FrameSelection(Output):
    """`frame_selection`: the medoid of the frames' latents; of several scenes, each its own.

    `path` and `index` are those of the first scene.
    """

    model: str
    path: str
    index: int = Field(ge=0)
    latent_shape: tuple[int, ...]
    """Shape of one frame's latent before it is flattened."""
    scenes: tuple[Scene, ...] = Field((), max_length=MOST_SCENES)
    """All of the video, in order. None in records before version 4: one scene."""
    notes: tuple[str, ...] = ()
    """What a person should know: fewer scenes than were asked for."""

    @model_validator(mode="after")
    def _one_after_the_other(self) -> Self:
        begins = 0.0
        for scene in self.scenes:
            if scene.start_seconds != begins or scene.end_seconds <= begins:
                raise ValueError("the first scene begins at 0, and every other where the one before it ends")
            begins = scene.end_seconds
        if self.scenes and (self.scenes[0].index, self.scenes[0].path) != (self.index, self.path):
            raise ValueError("index and path are those of the first scene's frame")
        return self


class Mood(Frozen):
    """Russell's circumplex: how pleasant, and how intense."""

    valence: float = Field(ge=-1, le=1)
    arousal: float = Field(ge=-1, le=1)


class SceneDescription(Frozen):
    """One scene in words."""

    text: str = Field(max_length=20_000)
    mood: Mood | None = None
    """Only from models that measure one."""


class FrameDescription(Output):
    """`frame_description`: the selected frames in words. `text` and `mood` are those of the first scene."""

    model: str
    question: str | None
    """What the model was asked; None for a model that is not asked."""
    text: str = Field(max_length=20_000)
    mood: Mood | None = None
    """Only from models that measure one."""
    later: tuple[SceneDescription, ...] = Field((), max_length=MOST_SCENES - 1)
    """Of the second scene and those after it."""

    @property
    def scenes(self) -> tuple[SceneDescription, ...]:
        """Of every scene."""
        return SceneDescription(text=self.text, mood=self.mood), *self.later


class ScenePrompts(Frozen):
    """The prompts of one scene."""

    music_prompt: str = Field(max_length=20_000)
    sound_prompt: str = Field(max_length=20_000)
    objects: tuple[str, ...] = ()
    """What is named in them, most of it first."""
    music_take: Take = 0
    """Which sound of the music prompt: 0 is the seed's own, every other number another."""
    sound_take: Take = 0
    """As `music_take`."""


class PromptEnhancement(Output):
    """`prompt_enhancement`: the prompts, composed of the description, the objects and the user's own words.

    Prompts and takes beside `later` are those of the first scene.
    """

    model: str
    music_prompt: str = Field(max_length=20_000)
    sound_prompt: str = Field(max_length=20_000)
    negative_prompt: str = Field(max_length=20_000)
    """Of all scenes."""
    objects: tuple[str, ...] = ()
    """What is named in the first scene's prompts, most of it first."""
    music_take: Take = 0
    """Of the first scene."""
    sound_take: Take = 0
    """Of the first scene."""
    later: tuple[ScenePrompts, ...] = Field((), max_length=MOST_SCENES - 1)
    """Of the second scene and those after it."""

    @property
    def scenes(self) -> tuple[ScenePrompts, ...]:
        """Of every scene."""
        first = ScenePrompts(
            music_prompt=self.music_prompt,
            sound_prompt=self.sound_prompt,
            objects=self.objects,
            music_take=self.music_take,
            sound_take=self.sound_take,
        )
        return first, *self.later
