"""The service's settings: what `args:` of `serve_config.yaml` may say.

Fixed for a replica's life; what changes per run is an option.
"""

import math
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from models.audio_generation.ace_step import AceStepSettings
from models.audio_generation.audioldm2 import AudioLDM2Settings
from models.frame_description import ImageTextSettings, Moondream2Settings
from models.frame_extraction import FrameExtractionSettings
from models.frame_selection import FrameSelectionSettings
from models.object_detection import ObjectDetectionSettings
from models.prompt_enhancement import PromptEnhancementSettings
from models.reconstruction import ReconstructionSettings
from models.record import StemKind
from models.schema import Frozen
from models.sketch import SketchAudioSettings
from models.sketch.scene import SketchSceneSettings
from models.video_input import MediaLimits

Profile = Literal["sketch", "paper"]

_SKETCH = {"kind": "sketch"}
PROFILES: dict[Profile, dict[str, dict[str, str]]] = {
    "sketch": {
        "object_detection": _SKETCH,
        "frame_selection": _SKETCH,
        "frame_description": _SKETCH,
        "music": _SKETCH,
        "sounds": _SKETCH,
    },
    "paper": {
        "object_detection": {"kind": "yolov9"},
        "frame_selection": {"kind": "resnet18"},
        "frame_description": {"kind": "moondream2"},
        "music": {"kind": "audioldm2", "checkpoint": "cvssp/audioldm2-music"},
        "sounds": {"kind": "audioldm2", "checkpoint": "cvssp/audioldm2"},
    },
}


class UploadSettings(Frozen):
    """Resumable uploads (tus), for files of any size up to the limit."""

    max_bytes: int = Field(4 * 2**30, ge=1024)
    """Largest file."""
    part_bytes: int = Field(32 * 2**20, ge=1024, le=64 * 2**20)
    """Largest part taken in one request. Serve's proxy holds the whole body of a request in memory."""
    max_parts: int = Field(10_000, ge=1, le=100_000)
    """Most parts of one upload."""
    unfinished: int = Field(200, ge=1)
    """Uploads that have not come to their end; they hold space that nobody else gets. One more is refused (429)."""
    keep_seconds: float = Field(24 * 3600, gt=0)
    """How long an upload is kept after its last part came in."""
    reserve_bytes: int = Field(256 * 2**20, ge=0)
    """Space on the store's disk that no upload may take. Without effect on a bucket."""


class RunSettings(Frozen):
    """How many runs, and what becomes of one when something breaks."""

    at_once: int = Field(64, ge=1, le=1000)
    """Runs that one `Pipeline` replica works on. Others wait, and begin in the order in which they came."""
    waiting: int = Field(100, ge=0)
    """Runs that may wait for a replica to take them. One more is refused (429)."""
    per_key: int = Field(50, ge=1)
    """Unfinished runs of one API key. One more is refused (429)."""
    lease_seconds: float = Field(10, gt=0, le=600)
    """A replica that gives no sign of life for so long has lost its runs to the others."""
    drain_seconds: float = Field(5, ge=0, le=3600)
    """How long a replica that is ended in order goes on with the modules that are at work for its runs. What they have not done by
    then, they do again for another replica. Less than `graceful_shutdown_timeout_s` of the deployment `Pipeline`, which ends it."""
    retry_pauses: tuple[Annotated[float, Field(ge=0, le=600)], ...] = (1.0, 4.0, 16.0)
    """Seconds before each further attempt at a module that failed for a reason of ours; as many attempts as pauses."""


class Deadline(Frozen):
    """How long a module may work on one run; waiting for its turn does not count."""

    seconds: float = Field(gt=0)
    per_second: float = Field(0, ge=0)
    """Added per second of the result, and of every candidate of a stem."""


class Deadlines(Frozen):
    """After these, the work is stopped, and tried again as after any failure of ours. Trained models are slow on a CPU."""

    frame_extraction: Deadline = Deadline(seconds=600)
    object_detection: Deadline = Deadline(seconds=3600)
    frame_selection: Deadline = Deadline(seconds=3600)
    frame_description: Deadline = Deadline(seconds=3600)
    audio_generation: Deadline = Deadline(seconds=1200, per_second=120)
    reconstruction: Deadline = Deadline(seconds=600, per_second=30)


class AccessSettings(Frozen):
    """Who may use the service. Keys stand in the environment or in a file, never here; without any, this machine alone may."""

    keys_file: Path | None = None
    """One `name:secret` a line. None: $IMMERSIVAUDIO_API_KEYS, separated by commas or white space, else no keys."""
    cors_origins: tuple[str, ...] = ()
    """Origins whose pages may call the service from a browser, e.g. https://studio.example. None unless set."""


class RetentionSettings(Frozen):
    """When what nobody needs any more is deleted. Nothing that is in use is."""

    runs_seconds: float | None = Field(30 * 24 * 3600, gt=0)
    """How long a run is kept after its end. None: for ever."""
    sweep_seconds: float = Field(600, gt=0)
    """How often is looked."""


AudioSettings = SketchAudioSettings | AudioLDM2Settings | AceStepSettings


class WithMusicSettings(Frozen):
    """The sounds are made by the deployment `MusicGenerator`: the same checkpoint, one process, calls that both stems share.

    There is no deployment `SoundGenerator` then. Its entry under `deployments:` has to be deleted as well: Serve refuses
    to set up what does not exist.
    """

    kind: Literal["with_music"] = "with_music"


class AppSettings(Frozen):
    """Everything that `serve_config.yaml` may set under `args`. A key that is not here stops the deployment."""

    profile: Profile = "sketch"
    """Which models stand behind the modules that are not set on their own: drafts without weights, or the paper's."""
    store: str = "var/store"
    """Where runs and their files are kept: a folder, or a bucket's URL (s3://…, gs://…, az://…)."""
    upload_bytes: int = Field(64 * 2**20, ge=1024)
    """Largest file taken in one request."""
    heartbeat_seconds: float = Field(10, gt=0, le=15)
    """How long a follower may hear nothing. Clients take a line that is silent for 35 s for dead."""
    limits: MediaLimits = MediaLimits()
    """What may be sent."""
    max_audio_seconds: float = Field(6 * 3600, gt=0)
    """Most seconds of sound that one run may ask for, over all its stems and candidates."""
    uploads: UploadSettings = UploadSettings()
    runs: RunSettings = RunSettings()
    deadlines: Deadlines = Deadlines()
    access: AccessSettings = AccessSettings()
    retention: RetentionSettings = RetentionSettings()
    presigned_seconds: int | None = Field(None, ge=1, le=7 * 24 * 3600)
    """Results are fetched from the bucket itself, by a URL that is valid for so long. None: through the service."""

    frame_extraction: FrameExtractionSettings = FrameExtractionSettings()
    object_detection: Annotated[SketchSceneSettings | ObjectDetectionSettings, Field(discriminator="kind")] = (
        SketchSceneSettings()
    )
    frame_selection: Annotated[SketchSceneSettings | FrameSelectionSettings, Field(discriminator="kind")] = (
        SketchSceneSettings()
    )
    frame_description: Annotated[
        SketchSceneSettings | Moondream2Settings | ImageTextSettings, Field(discriminator="kind")
    ] = SketchSceneSettings()
    prompt_enhancement: PromptEnhancementSettings = PromptEnhancementSettings()
    music: Annotated[AudioSettings, Field(discriminator="kind")] = SketchAudioSettings()
    sounds: Annotated[AudioSettings | WithMusicSettings, Field(discriminator="kind")] = SketchAudioSettings()
    reconstruction: ReconstructionSettings = ReconstructionSettings()
    drafts: bool = False
    """Make drafts for runs that ask for one: music and sounds by the sketches, beside the models above, by the deployment
    `DraftGenerator`. Where music and sounds are sketches already, there is none, and its entry under `deployments:` has to go."""

    def makes_draft_of(self, kind: StemKind) -> bool:
        """Whether a run may ask for a draft of this stem."""
        return self.drafts or isinstance(getattr(self, kind), SketchAudioSettings)

    @property
    def limits_of_all(self) -> MediaLimits:
        """`limits`, with nothing accepted that is longer than the audio models make."""
        made = (getattr(audio, "max_seconds", math.inf) for audio in (self.music, self.sounds))
        return self.limits.model_copy(update={"max_seconds": min(self.limits.max_seconds, *made)})

    @model_validator(mode="after")
    def _only_a_bucket_signs_urls(self) -> Self:
        if self.presigned_seconds is not None and (self.store.startswith("file://") or "://" not in self.store):
            raise ValueError("presigned_seconds needs a store that is a bucket (s3://…, gs://…, az://…)")
        return self

    @model_validator(mode="after")
    def _one_model_makes_both(self) -> Self:
        if isinstance(self.sounds, WithMusicSettings) and isinstance(self.music, SketchAudioSettings):
            raise ValueError(
                "sounds cannot be made with_music where music is the sketch: the drafts of music and of sounds are two programs"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _profile_fills_what_is_not_set(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        preset = PROFILES.get(given.get("profile", "sketch"), {})
        filled = dict(given)
        for module, defaults in preset.items():
            own = given.get(module, {})
            # A module set to another kind keeps none of the profile's settings for it.
            if isinstance(own, dict) and own.get("kind", defaults["kind"]) == defaults["kind"]:
                filled[module] = {**defaults, **own}
        return filled
