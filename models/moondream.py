"""Moondream2, the revisions of 2025, loaded without transformers.

The published snapshot brings its own Python. transformers 5 leaves the buffers that are not in the checkpoint (attention mask,
rotary frequencies) uninitialised when it loads that code, and the model then answers nonsense without a word. Here the snapshot is
imported as a package, built as its authors build it, and given its weights.
"""

import hashlib
import importlib
import sys
import threading
import types
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from models.errors import ModelUnavailable

if TYPE_CHECKING:
    import torch

CODE = ("moondream.py", "config.py", "vision.py")  # what is used of the snapshot by name
WEIGHTS = "model.safetensors"
LARGEST = (672, 378)  # pixels; up to here an image is 2 crops for the vision encoder, a 720p frame is 9


class Moondream:
    """A loaded Moondream2. Answers one question about one picture at a time, whoever asks: there is one key-value cache."""

    def __init__(self, network: Any) -> None:
        self.network = network
        self._lock = threading.Lock()

    def answer(self, pictures: Sequence[Image.Image], question: str, *, max_tokens: int) -> list[str]:
        """The most likely answer for each RGB picture, in order."""
        import torch

        answers = []
        for picture in pictures:
            small = picture.copy()
            small.thumbnail(LARGEST)
            # Encoded first: given settings together with a plain picture, the released code fails.
            with self._lock, torch.inference_mode():
                encoded = self.network.encode_image(small)
                reply = self.network.query(encoded, question, settings={"max_tokens": max_tokens, "temperature": 0.0})
            answers.append(str(reply["answer"]))
        return answers


def load_moondream(
    folder: Path, tokenizer: Path, *, device: str, dtype: "torch.dtype", code_sha256: Mapping[str, str]
) -> Moondream:
    """Load a snapshot: its *.py files and model.safetensors in `folder`; `tokenizer` is a tokenizer.json.

    With `code_sha256` (file name → SHA-256 in hex) every *.py file must be listed and match before any of them is run.
    Raises ModelUnavailable when a file is missing or changed, or when code and weights do not fit.
    """
    for file in (*(folder / name for name in (*CODE, WEIGHTS)), tokenizer):
        if not file.is_file():
            raise ModelUnavailable(f"Moondream2 needs {file}, which is not there")
    if code_sha256:
        _refuse_changed_code(folder, code_sha256)
    try:
        network = _build(folder, tokenizer, device=device, dtype=dtype)
        _fill(network, folder / WEIGHTS, device=device)
    except Exception as error:  # its code may raise anything
        raise ModelUnavailable(f"{folder} does not load as a Moondream2 of 2025: {error}") from error
    network.requires_grad_(False).eval()
    network._setup_caches()
    return Moondream(network)


def _refuse_changed_code(folder: Path, code_sha256: Mapping[str, str]) -> None:
    found = {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.rglob("*.py")
    }
    for name in sorted(found.keys() | code_sha256.keys()):
        if found.get(name) != code_sha256.get(name):
            raise ModelUnavailable(
                f"{folder / name} is not the code that code_sha256 allows: "
                f"its SHA-256 is {found.get(name, 'none, there is no such file')}, "
                f"allowed is {code_sha256.get(name, 'none, it is not listed')}"
            )


def _build(folder: Path, tokenizer: Path, *, device: str, dtype: "torch.dtype") -> Any:
    import torch
    from tokenizers import Tokenizer

    # A new name for each load: what is patched below is then of this model alone.
    package = types.ModuleType(f"_moondream2_{uuid.uuid4().hex}")
    package.__path__ = [str(folder)]
    sys.modules[package.__name__] = package
    modules: list[Any] = [importlib.import_module(f"{package.__name__}.{Path(file).stem}") for file in CODE]
    code, config, vision = modules

    def prepare_crops(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        crops, tiling = vision.prepare_crops(*args, **kwargs)
        return crops.to(dtype), tiling  # the snapshot makes them bfloat16, whatever the weights are

    code.prepare_crops = prepare_crops
    # The snapshot fetches its tokenizer from another repository, at whatever revision is the newest.
    code.Tokenizer = types.SimpleNamespace(from_pretrained=lambda *_: Tokenizer.from_file(str(tokenizer)))
    with torch.device(device):
        return code.MoondreamModel(config.MoondreamConfig(), dtype=dtype, setup_caches=False)


def _fill(network: Any, weights: Path, *, device: str) -> None:
    import torch
    from safetensors import safe_open

    missing = dict(network.state_dict())
    with safe_open(str(weights), framework="pt", device=device) as file, torch.no_grad():
        for name in file.keys():  # noqa: SIM118, not a mapping
            own = missing.pop(name.removeprefix("model."), None)
            if own is not None:
                own.copy_(file.get_tensor(name))  # one tensor at a time; the dtype becomes the model's
    if missing:
        raise RuntimeError(f"{weights.name} lacks {len(missing)} tensors, the first is {min(missing)}")
