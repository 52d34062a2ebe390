"""What the modules append that make the sound and put it under the picture."""

from typing import Literal

from pydantic import Field

from models.record.options import MOST_SCENES, AudioFormat, StemKind, Take, VideoFormat
from models.record.vision import Output
from models.schema import Frozen


class RankedCandidate(Frozen):
    """One of several sounds made for the same stem."""

    score: float | None
    """Similarity of prompt and sound (CLAP); None when nothing was ranked."""
    path: str | None = None
    """Key of its sound, a file like the stem's; None unless candidates are kept."""


class ScenePrompt(Frozen):
    """One scene of a stem."""

    seconds: float = Field(ge=0)
    """Where it begins."""
    prompt: str
    take: Take = 0
    """Which sound of the prompt: 0 is the seed's own, every other number another."""


class Stem(Output):
    """One generated track, 48 kHz stereo, as long as the result."""

    kind: StemKind
    model: str
    path: str
    duration_seconds: float
    sample_rate: int
    channels: int
    model_sample_rate: int
    """Rate at which the model makes sound; nothing above half of it is in the stem."""
    model_channels: int
    prompt: str
    """Of the first scene."""
    later_prompts: tuple[ScenePrompt, ...] = Field((), max_length=MOST_SCENES - 1)
    """Of the second scene and those after it."""
    take: Take = 0
    """Of the first scene."""
    negative_prompt: str
    seed: int
    steps: int | None
    guidance: float | None
    candidates: int
    """How many were made."""
    score: float | None = None
    """Similarity of prompt and sound (CLAP) of the chosen candidate; None when nothing was ranked."""
    prompt_words_unread: int = 0
    """Words at the prompt's end that the model could not read."""
    chosen: int = Field(0, ge=0)
    """Which candidate this is, counted from 0."""
    ranking: tuple[RankedCandidate, ...] = ()
    """Of several candidates all, in the order in which they were made."""
    loops: bool = False
    """Whether its end goes over into its beginning."""
    reference: str | None = None
    """Token of the reference that the model listened to."""
    reference_weight: float | None = None
    """How much that counted beside the words."""
    notes: tuple[str, ...] = ()
    """What a person should know: what was asked for and the model cannot do, words of the prompt that it did not read."""

    @property
    def takes(self) -> tuple[int, ...]:
        """Of every scene."""
        return self.take, *(later.take for later in self.later_prompts)

    @property
    def kept(self) -> dict[str, str]:
        """Keys of the kept candidates' files, by the names of their artifacts: music-1, music-2 and so on."""
        ranked = enumerate(self.ranking, start=1)
        return {f"{self.kind}-{number}": candidate.path for number, candidate in ranked if candidate.path}


class AudioGeneration(Frozen):
    """`audio_generation`: one stem per kind asked for. Stems are appended as they are made."""

    stems: tuple[Stem, ...]


class KeptTrack(Frozen):
    """What became of one of the source's streams, besides the picture."""

    index: int
    """Among the source's streams."""
    kind: Literal["audio", "subtitle", "attachment", "data", "video"]
    """video: another picture."""
    result: Literal["copied", "encoded", "dropped"]
    reason: str | None = None
    """Why it was not copied."""


class Files(Frozen):
    """What reconstruction writes besides the result. Keys; None for what there is not."""

    mix: str | None = None
    """The result's sound at its final level, before it is encoded: 48 kHz stereo."""
    original: str | None = None
    """The video's own sound, from the first frame on."""
    music: str | None = None
    """A copy of the stem in the format asked for; None where the stem has that format."""
    sounds: str | None = None
    """As `music`."""
    descriptions: str | None = None
    """The scenes' descriptions as WebVTT."""

    @property
    def by_name(self) -> dict[str, str]:
        """Keys by the names of their artifacts."""
        return {name: key for name, key in self if key is not None}


class Reconstruction(Output):
    """`reconstruction`: the sound under the picture."""

    model: str
    path: str
    format: VideoFormat | AudioFormat
    duration_seconds: float
    picture: Literal["copied", "encoded", "none"]
    """`copied`: the source's packets, bit for bit. `encoded`: the container cannot hold them, or the input is an image."""
    video_codec: str | None
    audio_codec: str
    sample_rate: int
    channels: int
    original_used: bool
    """Whether the source's own sound is part of the mix."""
    ducked_seconds: float = 0
    """For how long the generated sound was lowered under the own one."""
    integrated_lufs: float | None
    """Loudness of the mix as measured before encoding; None for silence or below the gate."""
    true_peak_dbtp: float | None
    tracks: tuple[KeptTrack, ...] = ()
    """What became of the source's other streams."""
    files: Files = Files()
    notes: tuple[str, ...] = ()
    """What a person should know: a broken own sound left out, a picture that had to be encoded."""
