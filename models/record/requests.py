"""What people send besides a file, and how the service answers besides a run."""

from typing import Literal

from pydantic import Field, JsonValue, field_validator

from models.record.options import MOST_SCENES, Module, Options, Prompt, StemKind, Take, Words
from models.schema import Frozen


class UploadedRun(Frozen):
    """What `POST /v1/runs` takes as JSON: a file that was sent to `/v1/uploads` before, and what is asked for."""

    upload: str = Field(pattern=r"^[0-9a-f]{32}$")
    """Id of the upload, which is complete."""
    options: Options = Options()
    reference: str | None = Field(None, pattern=r"^[0-9a-f]{32}$")
    """Id of another upload: a sound to sound like. Its first 30 s are listened to."""


class TextRun(Frozen):
    """What `POST /v1/runs` takes as JSON where there is no picture: words to make a sound of, and what is asked for."""

    text: Words
    """What is to be heard."""
    options: Options = Options()

    @field_validator("text")
    @classmethod
    def _says_something(cls, text: str) -> str:
        if not any(character.isprintable() and not character.isspace() for character in text):
            raise ValueError("say in words what is to be heard: these are blank")
        return text


class SceneFrame(Frozen):
    """Another frame for one scene."""

    scene: int = Field(ge=0, lt=MOST_SCENES)
    """Counted from 0."""
    index: int = Field(ge=0, lt=10_000)
    """Into the frames of `frame_extraction`."""


class FrameSelectionEdit(Frozen):
    """Other frames of the video, in place of those that were selected."""

    index: int | None = Field(None, ge=0, lt=10_000)
    """Into the frames of `frame_extraction`. Of a video that is one scene."""
    scenes: tuple[SceneFrame, ...] = Field((), max_length=MOST_SCENES)
    """Of the scenes that change."""


class SceneText(Frozen):
    """Other words for one scene."""

    scene: int = Field(ge=0, lt=MOST_SCENES)
    """Counted from 0."""
    text: Words


class FrameDescriptionEdit(Frozen):
    """Other words for the selected frames."""

    text: Words | None = None
    """Of a video that is one scene, or an image."""
    scenes: tuple[SceneText, ...] = Field((), max_length=MOST_SCENES)
    """Of the scenes that change."""


class ScenePromptsEdit(Frozen):
    """Other prompts or takes for one scene. None: as it was."""

    scene: int = Field(ge=0, lt=MOST_SCENES)
    """Counted from 0."""
    music_prompt: Prompt | None = None
    sound_prompt: Prompt | None = None
    music_take: Take | None = None
    """Another sound of the same prompt: 0 is the seed's own, every other number another."""
    sound_take: Take | None = None
    """As `music_take`."""


class PromptEnhancementEdit(Frozen):
    """Other prompts or takes. None: as it was."""

    music_prompt: Prompt | None = None
    """Of every scene."""
    sound_prompt: Prompt | None = None
    """Of every scene."""
    music_take: Take | None = None
    """Of every scene: another sound of the same prompt. 0 is the seed's own, every other number another."""
    sound_take: Take | None = None
    """As `music_take`."""
    negative_prompt: Prompt | None = None
    scenes: tuple[ScenePromptsEdit, ...] = Field((), max_length=MOST_SCENES)
    """Of the scenes that change alone."""


class Edits(Frozen):
    """Outputs that the user replaces by their own. What follows from them is computed anew."""

    frame_selection: FrameSelectionEdit | None = None
    frame_description: FrameDescriptionEdit | None = None
    prompt_enhancement: PromptEnhancementEdit | None = None


class Rerun(Frozen):
    """What `POST /v1/runs/{id}/rerun` takes: a new run from that one. What still holds is kept."""

    options: dict[str, JsonValue] = Field(default_factory=dict)
    """The options that change; the others stay, the seed among them. (A seed of null draws a new one.)"""
    edits: Edits = Edits()


class Problem(Frozen):
    """RFC 9457 problem details: how every error is answered."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str


class ModuleInfo(Frozen):
    """What stands behind a module."""

    module: Module
    part: StemKind | None = None
    model: str
    """Model, size and revision."""
    device: str
    """cpu, cuda:0 …"""
    profile: Literal["paper", "sketch", "any"]
    """`sketch` makes drafts without weights; `any` is the same in every profile."""
    draft: bool = False
    """Whether it makes drafts alone, beside another that makes the real thing: for runs that ask for a draft."""
    licence: str | None = None
    """Of the weights, where they have one of their own."""
