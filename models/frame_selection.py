"""`frame_selection`: the frame that stands for the video, or for each of its scenes: the medoid of the frames' ResNet18 latents
(arXiv:1512.03385).

The latent is what `layer4`, the last block before the pooled head, makes of a frame: 512×16×29 for 16:9 at the default size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import Field

from models import work
from models.device import Device, torch_device
from models.errors import MissingOutput, ModelUnavailable
from models.picture import read_picture
from models.scenes import SelectedScene, divide
from models.schema import ModuleSettings
from models.weights import OneFile, Published, digest, find

if TYPE_CHECKING:
    import torch

# Mean and deviation of ImageNet's red, green and blue, as the published weights were trained with.
MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], dtype=np.float32)
RESNET18 = OneFile(
    "torchvision/resnet18-f37072fd.pth",
    "https://download.pytorch.org/models/resnet18-f37072fd.pth",
    sha256="f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec",
)
"""IMAGENET1K_V1. torchvision names the file by the first eight digits; those who publish the others agree on them."""
LONGEST = 4  # sides; a longer strip is squeezed, so that its latent stays in bounds


class FrameSelectionSettings(ModuleSettings):
    """ResNet18 without its head, and one medoid."""

    kind: Literal["resnet18"] = "resnet18"
    weights: Path | None = None
    """State dict of torchvision's resnet18. None: torchvision's IMAGENET1K_V1 (45 MB), fetched once."""
    side: int = Field(512, ge=64, le=1024)
    """Short side of a frame as the model sees it, pixels. 512 gives the paper's latent; 224 takes a fifth of the time."""
    batch_size: int = Field(4, ge=1, le=256)
    """Frames per call of the model. 4 is as fast as any on a CPU; a GPU wants 16."""
    device: Device = "auto"

    tuning: ClassVar = frozenset({"batch_size"})

    def published(self) -> tuple[Published, ...]:
        """What torchvision publishes, unless there is another file."""
        return (RESNET18,) if self.weights is None else ()


@dataclass(frozen=True)
class Selection:
    """The frames that were selected."""

    scenes: tuple[SelectedScene, ...]
    """In the order of time; at least one."""
    latent_shape: tuple[int, ...]
    """(channels, height, width) of one frame's latent before it is flattened."""

    @property
    def index(self) -> int:
        """Position of the first scene's frame among the images."""
        return self.scenes[0].index


class FrameSelector:
    """A loaded ResNet18."""

    def __init__(self, network: Any, settings: FrameSelectionSettings, *, model: str, device: str) -> None:
        self.model = model
        self.device = device
        self.licence: str | None = "BSD-3-Clause" if settings.weights is None else None
        self._network = network
        self._settings = settings

    @classmethod
    def load(cls, settings: FrameSelectionSettings) -> Self:
        """Load the weights. Raises ModelUnavailable when they cannot be had or are not of a ResNet18."""
        device = torch_device(settings.device)
        import torch
        from torchvision.models import resnet18

        if settings.weights is None:
            state, model = _state(find(RESNET18)), "resnet18 IMAGENET1K_V1"
        else:
            state, model = _own(settings.weights.expanduser())
        network = resnet18(weights=None)
        network.fc = torch.nn.Identity()  # a checkpoint of any number of classes will do
        try:
            network.load_state_dict({name: value for name, value in state.items() if not name.startswith("fc.")})
        except (RuntimeError, AttributeError, TypeError) as error:
            raise ModelUnavailable(
                f"{settings.weights} is not a state dict of torchvision's resnet18: {error}"
            ) from error
        latent = torch.nn.Sequential(*list(network.children())[:-2])  # all but the pooling and the head
        latent = latent.eval().requires_grad_(False).to(device).to(memory_format=torch.channels_last)
        return cls(latent, settings, model=model, device=device)

    def select(self, images: Sequence[Path], *, scenes: int | Literal["auto"] = 1) -> Selection:
        """Of each scene, the image whose latent has the smallest sum of distances to the scene's others'.

        images: in the order of time. scenes: how many; `auto` as many as there are, see `models.scenes.divide`.
        The first image's shape decides the latent's; an image of another shape is resized to that. Raises DamagedMedia,
        and MissingOutput when there is no image.
        """
        if not images:
            raise MissingOutput("there is no frame to select from")
        size = input_size(*read_picture(images[0]).size, side=self._settings.side)
        latents = []
        batch = work.batch_size(self._settings.batch_size)
        for start in range(0, len(images), batch):
            work.step(start, len(images))
            latents.append(self._latents([read_picture(path) for path in images[start : start + batch]], size))
        flat = np.concatenate([part.reshape(len(part), -1) for part in latents])
        return Selection(divide(flat, scenes), latent_shape=latents[0].shape[1:])

    def _latents(self, pictures: Sequence[Image.Image], size: tuple[int, int]) -> npt.NDArray[np.float32]:
        """float32, shape (pictures, 512, height/32, width/32), each rounded up."""
        import torch

        # Pillow's bilinear filter widens when it shrinks, as torchvision's antialiased one does.
        pixels = np.stack([np.asarray(picture.resize(size, Image.Resampling.BILINEAR)) for picture in pictures])
        normal = (pixels.astype(np.float32) / 255 - MEAN) / DEVIATION
        frames = torch.from_numpy(normal).permute(0, 3, 1, 2).to(self.device, memory_format=torch.channels_last)
        with torch.inference_mode():
            latents: torch.Tensor = self._network(frames)
        return latents.cpu().contiguous().numpy()


def input_size(width: int, height: int, *, side: int) -> tuple[int, int]:
    """Width and height of a frame as the model sees it: the short side is `side` pixels, the long one at most four times that."""
    long = min(side * max(width, height) // min(width, height), LONGEST * side)
    return (long, side) if width >= height else (side, long)


def _own(path: Path) -> "tuple[dict[str, torch.Tensor], str]":
    if not path.is_file():
        raise ModelUnavailable(f"there is no state dict of resnet18 at {path}")
    return _state(path), f"resnet18 {path.name} sha256:{digest(path)[:12]}"


def _state(path: Path) -> "dict[str, torch.Tensor]":
    import pickle

    import torch

    try:
        state: dict[str, torch.Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ModelUnavailable(f"{path} is not a state dict that can be loaded safely: {error}") from error
    return state
