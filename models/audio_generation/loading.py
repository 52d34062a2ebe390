"""From the name of a checkpoint to a diffusers pipeline that runs: for AudioLDM2, and what other generators share.

AudioLDM2's published checkpoints declare their language model as `GPT2Model`. The pipeline calls a method that only the
generating class still has, so as declared they load and then fail on the first call (diffusers issue 12630, open).
Loaded as `GPT2LMHeadModel` the same weights give the same states: the head is tied to the embedding, and AudioLDM2
ignores what it computes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models import weights
from models.errors import ModelUnavailable
from models.fetching import first_line

if TYPE_CHECKING:
    import torch

PINNED_REVISIONS = {
    "cvssp/audioldm2": "c8e7e189d324425c05c4c2f81214041ef4107983",
    "ACE-Step/acestep-v15-xl-turbo-diffusers": "200ba991ae448051e14b0183157e35c2d27c9fb0",
}
"""Commits on the hub that this code was written for. That of cvssp/audioldm2-music is not known here: it is the one that its
main branch has when it is first fetched, and `weights.json` keeps to it from then on."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on this machine."""

    name: str
    """What the record calls it: the hub's name and commit, or the folder's name."""
    folder: Path


def published(checkpoint: str, *, revision: str | None) -> weights.HubFiles | None:
    """What has to come from the hub; None where the checkpoint is a folder.

    Raises ModelUnavailable when it is neither a folder nor can be a name on the hub.
    """
    folder = Path(checkpoint)
    if folder.is_dir():
        if not (folder / "model_index.json").is_file():
            raise ModelUnavailable(f"the folder {checkpoint} holds no diffusers pipeline: it has no model_index.json")
        return None
    if not weights.HUB_NAME.fullmatch(checkpoint):
        raise ModelUnavailable(f"there is no folder {checkpoint}")
    return weights.HubFiles(checkpoint, revision or PINNED_REVISIONS.get(checkpoint), patterns=None)


def find_checkpoint(checkpoint: str, *, revision: str | None) -> Checkpoint:
    """The checkpoint's folder: itself, or the hub's, downloaded unless it is here.

    Raises ModelUnavailable when there is none and none can be had.
    """
    wanted = published(checkpoint, revision=revision)
    if wanted is None:
        return Checkpoint(Path(checkpoint).resolve().name, Path(checkpoint))
    folder = weights.find(wanted)
    return Checkpoint(f"{checkpoint}@{folder.name[:7]}", folder)


def load_pipeline(checkpoint: Checkpoint, *, device: str, dtype: "torch.dtype") -> Any:
    """The AudioLDM2Pipeline in evaluation mode on `device`, with a DPM-Solver++ scheduler (Lu et al., arXiv:2211.01095).

    Everything is in `dtype` but the vocoder, which stays float32: what it rounds is noise in the sound (a vocoder with
    random weights had it 42 dB below the signal in float16, 24 dB in bfloat16), and it runs once, not at every step.
    Raises ModelUnavailable when a part is missing, broken or of another kind.
    """
    import torch
    from diffusers import AudioLDM2Pipeline, DPMSolverMultistepScheduler
    from transformers import GPT2LMHeadModel

    try:
        pipeline = AudioLDM2Pipeline.from_pretrained(
            checkpoint.folder,
            language_model=load_whole(GPT2LMHeadModel, checkpoint.folder / "language_model", dtype=dtype),
            dtype={"default": dtype, "vocoder": torch.float32},
            local_files_only=True,
        )
        pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline.to(device)
    except Exception as error:  # a broken file can break any of a dozen readers, each in its own way
        raise ModelUnavailable(f"AudioLDM2 cannot be loaded from {checkpoint.name}: {first_line(error)}") from error


def load_whole(model: Any, folder: Path, *, dtype: "torch.dtype") -> Any:
    """An object of this class of transformers. Raises ValueError when the folder lacks any of its weights."""
    loaded, found = model.from_pretrained(folder, dtype=dtype, local_files_only=True, output_loading_info=True)
    # transformers would fill them with random numbers and only log it
    if found["missing_keys"]:
        raise ValueError(f"the {folder.name.replace('_', ' ')} lacks {len(found['missing_keys'])} of its weights")
    return loaded
