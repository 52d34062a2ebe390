"""From the name of a checkpoint to a diffusers pipeline that runs: for AudioLDM2, and what other generators share.

AudioLDM2's published checkpoints declare their language model as `GPT2Model`. The pipeline calls a method that only the
generating class still has, so as declared they load and then fail on the first call (diffusers issue 12630, open).
Loaded as `GPT2LMHeadModel` the same weights give the same states: the head is tied to the embedding, and AudioLDM2
ignores what it computes.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.errors import ModelUnavailable

if TYPE_CHECKING:
    import torch

PINNED_REVISIONS = {
    "cvssp/audioldm2": "c8e7e189d324425c05c4c2f81214041ef4107983",
    "ACE-Step/acestep-v15-xl-turbo-diffusers": "200ba991ae448051e14b0183157e35c2d27c9fb0",
}
"""Commits on the hub that this code was written for."""

_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on this machine."""

    name: str
    """What the record calls it: the hub's name and commit, or the folder's name."""
    folder: Path


def find_checkpoint(checkpoint: str, *, revision: str | None) -> Checkpoint:
    """The checkpoint's folder: itself, or the hub's, downloaded unless it is cached.

    Raises ModelUnavailable when there is none and none can be had.
    """
    folder = Path(checkpoint)
    if folder.is_dir():
        if not (folder / "model_index.json").is_file():
            raise ModelUnavailable(f"the folder {checkpoint} holds no diffusers pipeline: it has no model_index.json")
        return Checkpoint(folder.resolve().name, folder)
    if not _HUB_NAME.fullmatch(checkpoint):
        raise ModelUnavailable(f"there is no folder {checkpoint}")
    revision = revision or PINNED_REVISIONS.get(checkpoint)

    from diffusers import DiffusionPipeline

    try:
        folder = Path(DiffusionPipeline.download(checkpoint, revision=revision))
    except Exception as error:  # whatever the hub's client, its transport or a proxy between raise
        wanted = f"{checkpoint} (revision {revision})" if revision else checkpoint
        raise ModelUnavailable(
            f"{wanted} is neither a folder here nor to be had from the Hugging Face hub: "
            f"{first_line(error.__cause__ or error)}"
        ) from error
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


def first_line(error: BaseException) -> str:
    """What the error says, short."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
