"""How much of a GPU every model takes: `python -m bench.placement [--size real|toy] [--card GIB]`.

Models of real size with random weights, one process each, as in the service: loaded, then at work on the most that they take at
once. Printed: what torch held after loading, and at the most; and what was missing on the card, which is more by CUDA's own part
(context, libraries, recorded graphs).

With `--card`, all of them again, side by side, each allowed the share of a card of so many GiB that `serve_config.gpu.yaml` gives
it: whatever the card is really, nobody can have more.

Moondream2's program comes with its weights, which are not here. In its place: transformers' SigLIP and Phi at Moondream2's sizes.
"""

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import yaml
from PIL import Image

from bench.audio_engine import wait
from bench.support.audioldm2 import checkpoint
from models.audio_generation import AudioRequest, nothing_to_report

if TYPE_CHECKING:
    from multiprocessing.synchronize import Barrier

FRAMES = 27  # of ten minutes of video
WORDS, ANSWER = 760, 96  # tokens that Moondream2 reads of a picture and a question, and writes
AT_ONCE = 32
GIB = 2**30

DEPLOYED = {
    "ObjectDetector": "yolov9e",
    "FrameSelector": "resnet18",
    "FrameDescriber": "moondream2",
    "MusicGenerator": "audioldm2",
    "SoundGenerator": "audioldm2",
}
"""What stands behind the deployments of `serve_config.gpu.yaml`."""


@dataclass(frozen=True)
class Asked:
    """What one process is to do."""

    model: str
    folder: str
    """With the weights, and the frames to look at."""
    size: str
    fraction: float | None = None
    """Of the card's memory, the most that it may use."""


@dataclass(frozen=True)
class Seen:
    """What one process took. Memory in GiB, times in seconds."""

    model: str
    loaded: float
    peak: float
    loading: float
    working: float
    trouble: str = ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=("toy", "real"), default="real" if torch.cuda.is_available() else "toy")
    parser.add_argument("--card", type=float, nargs="*", default=[], help="GiB of the cards to pretend")
    parser.add_argument("--models", nargs="*", default=list(LOADERS), choices=list(LOADERS))
    parser.add_argument("--together", action="store_true", help="only side by side, none alone")
    parser.add_argument("--audioldm2", type=Path, help="a folder with its checkpoint (else one is made)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = prepared(Path(name), size=given.size, audioldm2=given.audioldm2)
        print(f"{card_name()}; torch {torch.__version__}; {given.size} sizes, random weights; GiB and seconds")
        print(f"{'':16}{'loaded':>8}{'peak':>8}{'loading':>9}{'working':>9}{'on the card':>13}")
        for model in () if given.together else given.models:
            (seen,), most = together([Asked(model, str(folder), given.size)])
            tell(seen, f"{most:13.2f}")
        for gib in given.card:
            shares = fractions(gib)
            chosen = [name for name in DEPLOYED if DEPLOYED[name] in given.models]
            asked = [Asked(DEPLOYED[name], str(folder), given.size, shares[name]) for name in chosen]
            print(
                f"\nside by side, with the shares of {gib:g} GiB: {sum(one.fraction or 0 for one in asked):.3f} of this card"
            )
            all_seen, most = together(asked)
            for seen in all_seen:
                tell(seen, "")
            print(f"together on the card, at the most: {most:.2f}")


def prepared(folder: Path, *, size: str, audioldm2: Path | None) -> Path:
    """The folder, with all weights and frames in it."""
    rng = np.random.default_rng(0)
    for number in range(FRAMES):
        coarse = Image.fromarray(rng.integers(0, 255, (9, 16, 3), dtype=np.uint8))
        coarse.resize((1280, 720)).save(folder / f"{number}.png")
    if audioldm2:
        (folder / "audioldm2").symlink_to(audioldm2.absolute())
    else:
        checkpoint(folder / "audioldm2", size="base" if size == "real" else "toy")
    return folder


def fractions(gib: float) -> dict[str, float]:
    """The shares of `serve_config.gpu.yaml`, of a card of so many GiB, as shares of this card."""
    config = yaml.safe_load(Path("serve_config.gpu.yaml").read_text())
    shares = {
        item["name"]: item["ray_actor_options"].get("num_gpus") for item in config["applications"][0]["deployments"]
    }
    whole = torch.cuda.get_device_properties(0).total_memory / GIB if torch.cuda.is_available() else gib
    return {name: shares[name] * gib / whole for name in DEPLOYED}


def together(asked: list[Asked]) -> tuple[list[Seen], float]:
    """Each in a process of its own, all at the same time; and the most GiB that was missing on the card meanwhile."""
    here = multiprocessing.get_context("spawn")
    answers: multiprocessing.Queue[Seen] = here.Queue()
    all_done = here.Barrier(len(asked))
    before = used()
    started = [here.Process(target=look, args=(one, answers, all_done)) for one in asked]
    for process in started:
        process.start()
    most = 0.0
    while any(process.is_alive() for process in started):
        most = max(most, used() - before)
        time.sleep(0.05)
    seen = [answers.get(timeout=10) for _ in asked]
    return sorted(seen, key=lambda one: list(DEPLOYED.values()).index(one.model)), most


def look(asked: Asked, answers: "multiprocessing.Queue[Seen]", all_done: "Barrier") -> None:
    """Load the model, have it work, and weigh it. What it holds, it holds until all others have done so, too."""
    start = time.perf_counter()
    loaded, began, trouble = 0.0, start, ""
    try:
        if asked.fraction and torch.cuda.is_available():
            torch.cuda.set_per_process_memory_fraction(asked.fraction, 0)
        work = LOADERS[asked.model](Path(asked.folder), asked.size)
        loaded, began = held(), time.perf_counter()
        work()
        wait()
    except Exception as error:  # whatever it is, it is to be seen in the table
        trouble = f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
    end = time.perf_counter()
    answers.put(Seen(asked.model, loaded, peak(), began - start, end - began, trouble))
    all_done.wait()


def tell(seen: Seen, more: str) -> None:
    numbers = f"{seen.loaded:8.2f}{seen.peak:8.2f}{seen.loading:9.1f}{seen.working:9.1f}{more}"
    print(f"{seen.model:16}{numbers}{'  ' + seen.trouble if seen.trouble else ''}", flush=True)


def yolov9e(folder: Path, size: str) -> Callable[[], object]:
    from models.object_detection import ObjectDetectionSettings, ObjectDetector, import_ultralytics

    weights = folder / f"{multiprocessing.current_process().pid}.pt"
    network = import_ultralytics().YOLO("yolov9e.yaml" if size == "real" else "yolov9t.yaml", verbose=False).model
    torch.save({"model": network.half(), "train_args": {}}, weights)
    detector = ObjectDetector.load(ObjectDetectionSettings(weights=str(weights)))
    return lambda: detector.detect(frames(folder))


def resnet18(folder: Path, size: str) -> Callable[[], object]:
    from torchvision.models import resnet18 as network

    from models.frame_selection import FrameSelectionSettings, FrameSelector

    weights = folder / f"{multiprocessing.current_process().pid}.pth"
    torch.save(network(weights=None).state_dict(), weights)
    selector = FrameSelector.load(FrameSelectionSettings(weights=weights, batch_size=16))
    return lambda: selector.select(frames(folder), scenes="auto")


def moondream2(folder: Path, size: str) -> Callable[[], object]:
    """SigLIP so400m and Phi-1.5, which Moondream2 was made of: 1.9 thousand million weights."""
    import transformers as tf

    from models.device import model_dtype, torch_device

    device = torch_device("auto")
    real = size == "real"
    vision = {"hidden_size": 1152, "num_hidden_layers": 27, "num_attention_heads": 16, "intermediate_size": 4304}
    text = {"hidden_size": 2048, "num_hidden_layers": 24, "num_attention_heads": 32, "intermediate_size": 8192}
    small = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}
    torch.set_default_dtype(model_dtype(device))
    with torch.device(device):
        sight = tf.SiglipVisionModel(
            tf.SiglipVisionConfig(**(vision if real else small), image_size=378, patch_size=14, vision_use_head=False)
        ).eval()
        speech = tf.PhiForCausalLM(
            tf.PhiConfig(**(text if real else small), vocab_size=51200, max_position_embeddings=2048)
        ).eval()
        crops = torch.rand(3, 3, 378, 378)
        read = torch.rand(1, WORDS, speech.config.hidden_size)
    torch.set_default_dtype(torch.float32)

    @torch.inference_mode()
    def answer() -> None:
        for _ in range(3):
            sight(pixel_values=crops)
            speech.generate(
                inputs_embeds=read, min_new_tokens=ANSWER, max_new_tokens=ANSWER, do_sample=False, pad_token_id=0
            )

    return answer


def audioldm2(folder: Path, size: str) -> Callable[[], object]:
    from models.audio_generation.audioldm2 import AudioLDM2Generator, AudioLDM2Settings

    generator = AudioLDM2Generator.load(AudioLDM2Settings(checkpoint=str(folder / "audioldm2"), steps=4))

    def make(seed: int) -> None:
        request = AudioRequest("rain on a window", 20, seed, "low quality", candidates=2 if seed == 0 else 1)
        generator.generate(request, on_step=nothing_to_report)

    def work() -> None:
        with ThreadPoolExecutor(AT_ONCE) as threads:
            list(threads.map(make, range(AT_ONCE if size == "real" else 4)))

    return work


LOADERS: Mapping[str, Callable[[Path, str], Callable[[], Any]]] = {
    "yolov9e": yolov9e,
    "resnet18": resnet18,
    "moondream2": moondream2,
    "audioldm2": audioldm2,
}


def frames(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.png"))


def card_name() -> str:
    if not torch.cuda.is_available():
        return "CPU: nothing is weighed"
    seen = torch.cuda.get_device_properties(0)
    return f"{seen.name}, {seen.total_memory / GIB:.1f} GiB"


def held() -> float:
    return torch.cuda.memory_reserved() / GIB if torch.cuda.is_available() else 0.0


def peak() -> float:
    return torch.cuda.max_memory_reserved() / GIB if torch.cuda.is_available() else 0.0


def used() -> float:
    """What is in use on the card, by whomever, as the driver counts it: asking makes no context."""
    return torch.cuda.device_memory_used(0) / GIB if torch.cuda.is_available() else 0.0


if __name__ == "__main__":
    main()
