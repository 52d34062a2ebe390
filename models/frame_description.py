"""`frame_description`: the selected frame in words, by Moondream2 or any image-text-to-text model of transformers."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self

from PIL import Image
from pydantic import Field

from models import work
from models.device import Device, model_dtype, torch_device
from models.errors import ModelUnavailable
from models.moondream import WEIGHTS, load_moondream
from models.picture import read_picture
from models.record import Mood
from models.schema import ModuleSettings
from models.weights import HUB_NAME, HubFiles, Published, find

QUESTION = "Describe shortly this image considering it will be used as input to a sound generation model"
"""The paper's question."""

MOONDREAM2 = "vikhyatk/moondream2"
LARGEST = (
    1280,
    1280,
)  # pixels, of the pictures given to a model that resizes by itself: as large as extracted frames are
COMMIT = r"^[0-9a-f]{40}$"  # tags and branches move


@dataclass(frozen=True)
class Shot:
    """What is to be described."""

    frame: Path
    others: tuple[Path, ...] = ()
    """The video's other frames, in order, for what one frame cannot tell. Moondream2 and its like look at `frame` alone."""


@dataclass(frozen=True)
class Description:
    """What was said about it."""

    text: str
    """One line; empty when the model had nothing to say."""
    mood: Mood | None = None


class Moondream2Settings(ModuleSettings):
    """Moondream2, a revision of 2025 (Apache-2.0). The snapshot's own Python is run."""

    kind: Literal["moondream2"] = "moondream2"
    weights: str = Field(MOONDREAM2, min_length=1)
    """A repository of the Hugging Face hub, or a folder with a snapshot of it."""
    revision: str = Field("9a7d4024050840e001defacec2b00727e89149e6", pattern=COMMIT)
    """The repository's commit. Without effect on a folder."""
    tokenizer: str = Field("moondream/starmie-v1", min_length=1)
    """A repository of the hub with a tokenizer.json, or a folder with one. Not the snapshot's own: that one is of older models."""
    tokenizer_revision: str = Field("35192e10a54e36eabe0a7cc57a2c1aab371cafc5", pattern=COMMIT)
    code_sha256: dict[str, str] = Field(default_factory=dict)
    """SHA-256, in hex, of each Python file of the snapshot. When set, other code is refused before any of it runs."""
    question: str = Field(QUESTION, min_length=1, max_length=1000)
    max_tokens: int = Field(96, ge=1, le=512)
    """Longest answer."""
    device: Device = "auto"

    def of_weights(self) -> HubFiles | None:
        """Weights and code on the hub; None where they are in a folder."""
        return _published(self.weights, self.revision, ("*.py", "config.json", WEIGHTS))

    def of_tokenizer(self) -> HubFiles | None:
        """The tokenizer on the hub; None where it is in a folder."""
        return _published(self.tokenizer, self.tokenizer_revision, ("tokenizer.json",))

    def published(self) -> tuple[Published, ...]:
        """Both."""
        return tuple(filter(None, (self.of_weights(), self.of_tokenizer())))


class ImageTextSettings(ModuleSettings):
    """A model that `AutoModelForImageTextToText` of transformers knows, with a chat template. No code of its own is run."""

    kind: Literal["image-text-to-text"] = "image-text-to-text"
    weights: str = Field(min_length=1)
    """A repository of the Hugging Face hub, or a folder in its layout."""
    revision: str | None = Field(None, pattern=COMMIT)
    """The repository's commit; required for one. Without effect on a folder."""
    question: str = Field(QUESTION, min_length=1, max_length=1000)
    max_tokens: int = Field(96, ge=1, le=512)
    """Longest answer."""
    batch_size: int = Field(8, ge=1, le=64)
    """Frames per call of the model."""
    device: Device = "auto"

    tuning: ClassVar = frozenset({"batch_size"})

    def of_weights(self) -> HubFiles | None:
        """The repository; None where it is a folder."""
        return _published(self.weights, self.revision, ("*.json", "*.jinja", "*.txt", "*.model", "*.safetensors"))

    def published(self) -> tuple[Published, ...]:
        """The same."""
        return tuple(filter(None, (self.of_weights(),)))


class _Answerer(Protocol):
    def answer(self, pictures: Sequence[Image.Image], question: str, *, max_tokens: int) -> list[str]: ...


class FrameDescriber:
    """A loaded model that answers a question about a picture. The same picture gets the same answer."""

    def __init__(
        self, answerer: _Answerer, settings: Moondream2Settings | ImageTextSettings, *, model: str, device: str
    ) -> None:
        self.model = model
        self.device = device
        self.licence: str | None = "Apache-2.0" if settings.weights == MOONDREAM2 else None
        self.question: str | None = settings.question
        self._answerer = answerer
        self._settings = settings

    @classmethod
    def load(cls, settings: Moondream2Settings | ImageTextSettings) -> Self:
        """Load the weights: bfloat16 (float16 on an older GPU), float32 on the CPU. Raises ModelUnavailable."""
        device = torch_device(settings.device)
        if isinstance(settings, Moondream2Settings):
            folder, model = _find(settings.weights, settings.of_weights())
            tokenizer, _ = _find(settings.tokenizer, settings.of_tokenizer())
            answerer: _Answerer = load_moondream(
                folder,
                tokenizer / "tokenizer.json",
                device=device,
                dtype=model_dtype(device),
                code_sha256=settings.code_sha256,
            )
        else:
            folder, model = _find(settings.weights, settings.of_weights())
            answerer = ImageText.load(folder, device=device, batch_size=settings.batch_size)
        return cls(answerer, settings, model=model, device=device)

    def describe(self, shots: Sequence[Shot]) -> list[Description]:
        """A description of each shot's frame, in order.

        Moondream2's code knows one picture at a time, so a batch is answered one after another; other models take
        `batch_size` pictures in one call. Raises DamagedMedia.
        """
        pictures = [read_picture(shot.frame) for shot in shots]
        for picture in pictures:
            picture.thumbnail(LARGEST)
        answers = self._answerer.answer(pictures, self._settings.question, max_tokens=self._settings.max_tokens)
        return [Description(text=_one_line(answer)) for answer in answers]


class ImageText:
    """An image-text-to-text model of transformers and its processor."""

    def __init__(self, network: Any, processor: Any, *, batch_size: int) -> None:
        self._network = network
        self._processor = processor
        self._batch_size = batch_size
        self._lock = threading.Lock()  # some models keep positions of the last call

    @classmethod
    def load(cls, folder: Path, *, device: str, batch_size: int) -> Self:
        """Load from a folder, tensors only. Raises ModelUnavailable."""
        from transformers import AutoModelForImageTextToText, AutoProcessor

        try:
            processor = AutoProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            network = AutoModelForImageTextToText.from_pretrained(
                folder,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                dtype=model_dtype(device),
            )
        except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
            raise ModelUnavailable(f"{folder} does not load as an image-text-to-text model: {error}") from error
        if getattr(processor, "chat_template", None) is None:
            raise ModelUnavailable(f"the model in {folder} has no chat template, so it cannot be asked a question")
        processor.tokenizer.padding_side = "left"  # an answer follows its question, not the padding
        # Settings for sampling would be warned about at every call: answers are the most likely ones.
        network.generation_config.update(do_sample=False, num_beams=1, temperature=None, top_p=None, top_k=None)
        return cls(network.to(device).eval(), processor, batch_size=batch_size)

    def answer(self, pictures: Sequence[Image.Image], question: str, *, max_tokens: int) -> list[str]:
        """The most likely answer for each RGB picture, in order."""
        answers: list[str] = []
        batch = work.batch_size(self._batch_size)
        for start in range(0, len(pictures), batch):
            with self._lock:
                answers += self._answer(pictures[start : start + batch], question, max_tokens)
        return answers

    def _answer(self, pictures: Sequence[Image.Image], question: str, max_tokens: int) -> list[str]:
        import torch

        asked = {"type": "text", "text": question}
        chats = [[{"role": "user", "content": [{"type": "image", "image": one}, asked]}] for one in pictures]
        inputs = self._processor.apply_chat_template(
            chats,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True},
        ).to(self._network.device, self._network.dtype)
        with torch.inference_mode():
            tokens = self._network.generate(**inputs, max_new_tokens=max_tokens)
        return list(self._processor.batch_decode(tokens[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True))


def _one_line(answer: str) -> str:
    # An answer that reaches its longest length may end within a character.
    return " ".join(
        "".join(one if one.isprintable() and one != "\N{REPLACEMENT CHARACTER}" else " " for one in answer).split()
    )


def _published(weights: str, revision: str | None, files: tuple[str, ...]) -> HubFiles | None:
    """What has to come from the hub; None where it is a folder. Raises ModelUnavailable when it can be neither."""
    if Path(weights).expanduser().is_dir():
        return None
    if not HUB_NAME.fullmatch(weights):
        raise ModelUnavailable(f"{weights} is neither a folder nor the name of a repository of the Hugging Face hub")
    if revision is None:
        raise ModelUnavailable(
            f"{weights} is not a folder, and to fetch it from the hub takes a revision: 40 hex digits"
        )
    return HubFiles(weights, revision, files)


def _find(weights: str, published: HubFiles | None) -> tuple[Path, str]:
    """The folder that holds the files, and the name to give the model in the record. Raises ModelUnavailable."""
    if published is None:
        folder = Path(weights).expanduser().resolve()
        return folder, folder.name
    return find(published), f"{weights}@{str(published.revision)[:12]}"
