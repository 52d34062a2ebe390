"""The service's settings: what `args:` of `serve_config.yaml` may say.

Fixed for a replica's life; what changes per run is an option.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from models.audio_generation.audioldm2 import AudioLDM2Settings
from models.frame_description import ImageTextSettings, Moondream2Settings
from models.frame_extraction import FrameExtractionSettings
from models.frame_selection import FrameSelectionSettings
from models.object_detection import ObjectDetectionSettings
from models.prompt_enhancement import PromptEnhancementSettings
from models.reconstruction import ReconstructionSettings
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
    music: Annotated[SketchAudioSettings | AudioLDM2Settings, Field(discriminator="kind")] = SketchAudioSettings()
    sounds: Annotated[SketchAudioSettings | AudioLDM2Settings, Field(discriminator="kind")] = SketchAudioSettings()
    reconstruction: ReconstructionSettings = ReconstructionSettings()

    @property
    def limits_of_all(self) -> MediaLimits:
        """`limits`, with nothing accepted that is longer than the audio models make."""
        generators = (self.music, self.sounds)
        made = [audio.max_seconds for audio in generators if isinstance(audio, AudioLDM2Settings)]
        return self.limits.model_copy(update={"max_seconds": min(self.limits.max_seconds, *made)} if made else {})

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
