"""The `sketch` profile: drafts without weights, downloads or a GPU, seconds on a laptop.

`scene` looks (tags, mood, a sentence), `foley` makes sound effects and `music` makes music, behind the verbs of the paper's
modules.
"""

from typing import Literal

from models.schema import ModuleSettings


class SketchAudioSettings(ModuleSettings):
    """How `FoleyGenerator` and `MusicGenerator` are loaded. There is nothing to choose."""

    kind: Literal["sketch"] = "sketch"
