import hashlib
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from models.errors import DamagedMedia, ModelUnavailable
from models.frame_description import FrameDescriber, ImageTextSettings, Moondream2Settings, Shot
from models.moondream import Moondream, load_moondream
from models.weights import HubFiles
from tests.toys.vision import make_llava, make_moondream

COMMIT = "0123456789abcdef0123456789abcdef01234567"
COLOURS = ("red", "blue", "green", "red", "blue")


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_moondream(tmp_path_factory.mktemp("moondream2"))


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llava(tmp_path_factory.mktemp("llava"))


@pytest.fixture(scope="module")
def moondream(snapshot: Path) -> FrameDescriber:
    return FrameDescriber.load(
        Moondream2Settings(weights=str(snapshot), tokenizer=str(snapshot), code_sha256=sums(snapshot), device="cpu")
    )


@pytest.fixture(scope="module")
def image_text(llava: Path) -> FrameDescriber:
    return FrameDescriber.load(ImageTextSettings(weights=str(llava), max_tokens=12, batch_size=3, device="cpu"))


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> list[Shot]:
    """A red, a blue, a green … picture, each of another size and with other noise."""
    folder = tmp_path_factory.mktemp("shots")
    made = []
    for place, colour in enumerate(COLOURS):
        size = (160 + 60 * place, 90 + 30 * place)
        noise = np.random.default_rng(place).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
        made.append(Shot(folder / f"{place}.png"))
        Image.blend(Image.new("RGB", size, colour), Image.fromarray(noise), 0.5).save(made[-1].frame)
    return made


def sums(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.glob("*.py")}


def test_moondream_says_what_it_sees(moondream: FrameDescriber, shots: list[Shot]) -> None:
    described = moondream.describe(shots)
    seen = [next(colour for colour in COLOURS if colour in one.text) for one in described]
    assert seen == list(COLOURS)
    assert described[0].text == "a red picture"
    assert described[0].mood is None


@pytest.mark.parametrize("kind", ["moondream", "image_text"])
def test_a_batch_is_described_as_its_shots_are_one_by_one(
    kind: str, shots: list[Shot], request: pytest.FixtureRequest
) -> None:
    describer: FrameDescriber = request.getfixturevalue(kind)
    together = describer.describe(shots)
    assert together == [describer.describe([shot])[0] for shot in shots]
    assert len({one.text for one in together}) > 1
    assert describer.describe([]) == []


@pytest.mark.parametrize("kind", ["moondream", "image_text"])
def test_describing_again_gives_the_same_words_on_one_line(
    kind: str, shots: list[Shot], request: pytest.FixtureRequest
) -> None:
    describer: FrameDescriber = request.getfixturevalue(kind)
    first, again = describer.describe(shots), describer.describe(shots)
    assert first == again
    for one in first:
        assert one.text == one.text.strip()
        assert one.text.isprintable()


@pytest.mark.parametrize("kind", ["moondream", "image_text"])
def test_the_papers_question_is_asked_and_told(kind: str, request: pytest.FixtureRequest) -> None:
    describer: FrameDescriber = request.getfixturevalue(kind)
    assert describer.question is not None
    assert describer.question.startswith("Describe shortly this image")
    assert describer.device == "cpu"


def test_moondream_keeps_threads_apart(moondream: FrameDescriber, shots: list[Shot]) -> None:
    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(lambda shot: moondream.describe([shot])[0].text, shots * 4))
    for text, colour in zip(told, COLOURS * 4, strict=True):
        assert colour in text


def test_moondream_stops_at_the_longest_answer(snapshot: Path, shots: list[Shot]) -> None:
    settings = Moondream2Settings(weights=str(snapshot), tokenizer=str(snapshot), max_tokens=2, device="cpu")
    assert FrameDescriber.load(settings).describe(shots[:1])[0].text == "a red"


def load(snapshot: Path, dtype: str) -> Moondream:
    import torch

    return load_moondream(
        snapshot, snapshot / "tokenizer.json", device="cpu", dtype=getattr(torch, dtype), code_sha256={}
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_moondream_runs_in_every_precision_with_its_buffers_as_they_were_made(snapshot: Path, dtype: str) -> None:
    import torch

    made = load(snapshot, dtype)
    assert made.answer([Image.new("RGB", (90, 60), "blue")], "What?", max_tokens=9) == [" a blue picture "]
    assert {value.dtype for value in made.network.parameters()} == {getattr(torch, dtype)}
    assert bool(made.network.attn_mask.all())
    assert made.network.freqs_cis.dtype == torch.float32
    assert bool((made.network.freqs_cis == 1).all())


@pytest.mark.parametrize("size", [(1280, 720), (720, 1280), (320, 180)], ids=str)
def test_moondream_is_given_a_picture_of_two_crops(snapshot: Path, size: tuple[int, int]) -> None:
    made = load(snapshot, "float32")
    picture = Image.new("RGB", size)
    made.answer([picture], "What?", max_tokens=1)
    assert made.network.crops_seen == [2]
    assert picture.size == size  # the caller's picture is as it was


def test_changed_code_is_refused_before_it_runs(snapshot: Path, tmp_path: Path) -> None:
    folder = tmp_path / "snapshot"
    shutil.copytree(snapshot, folder, ignore=shutil.ignore_patterns("__pycache__"))
    allowed = sums(folder)
    config = folder / "config.py"
    config.write_text(config.read_text() + f"\nimport os\nos.mkdir({str(tmp_path / 'broken_in')!r})\n")
    settings = Moondream2Settings(weights=str(folder), tokenizer=str(folder), code_sha256=allowed, device="cpu")
    with pytest.raises(ModelUnavailable, match=r"config\.py is not the code that code_sha256 allows"):
        FrameDescriber.load(settings)
    assert not (tmp_path / "broken_in").exists()


def test_code_that_is_not_listed_is_refused(snapshot: Path, tmp_path: Path) -> None:
    folder = tmp_path / "snapshot"
    shutil.copytree(snapshot, folder, ignore=shutil.ignore_patterns("__pycache__"))
    settings = Moondream2Settings(weights=str(folder), tokenizer=str(folder), code_sha256=sums(folder), device="cpu")
    (folder / "json.py").write_text("raise SystemExit\n")
    with pytest.raises(ModelUnavailable, match=r"json\.py .* it is not listed"):
        FrameDescriber.load(settings)


def test_a_checkpoint_without_some_of_its_weights_is_refused(snapshot: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "snapshot"
    shutil.copytree(snapshot, folder)
    weights: dict[str, Any] = load_file(folder / "model.safetensors")
    del weights["model.proj.bias"]
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(ModelUnavailable, match=r"lacks 1 tensors, the first is proj\.bias"):
        load(folder, "float32")


@pytest.mark.parametrize("missing", ["model.safetensors", "tokenizer.json", "vision.py"])
def test_a_snapshot_with_a_file_missing_is_refused(snapshot: Path, tmp_path: Path, missing: str) -> None:
    folder = tmp_path / "snapshot"
    shutil.copytree(snapshot, folder)
    (folder / missing).unlink()
    with pytest.raises(ModelUnavailable, match=missing):
        FrameDescriber.load(Moondream2Settings(weights=str(folder), tokenizer=str(folder), device="cpu"))


def test_a_folder_that_holds_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="does not load as an image-text-to-text model"):
        FrameDescriber.load(ImageTextSettings(weights=str(tmp_path)))


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="neither a folder nor the name of a repository"):
        FrameDescriber.load(ImageTextSettings(weights=str(tmp_path / "missing"), revision=COMMIT))


def test_a_model_without_a_chat_template_is_refused(llava: Path, tmp_path: Path) -> None:
    folder = tmp_path / "llava"
    shutil.copytree(llava, folder, ignore=shutil.ignore_patterns("*.jinja"))
    with pytest.raises(ModelUnavailable, match="no chat template"):
        FrameDescriber.load(ImageTextSettings(weights=str(folder)))


def test_a_repository_of_the_hub_needs_a_commit() -> None:
    with pytest.raises(ModelUnavailable, match="takes a revision: 40 hex digits"):
        FrameDescriber.load(ImageTextSettings(weights="someone/model"))
    with pytest.raises(ValidationError, match="revision"):
        ImageTextSettings(weights="someone/model", revision="main")
    with pytest.raises(ValidationError, match="revision"):
        Moondream2Settings(revision="2025-06-21")


@pytest.mark.parametrize(
    "settings",
    [Moondream2Settings(), ImageTextSettings(weights="someone/model", revision=COMMIT)],
    ids=lambda one: one.kind,
)
def test_weights_that_cannot_be_fetched_are_refused_in_one_sentence(
    settings: Moondream2Settings | ImageTextSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from huggingface_hub.errors import LocalEntryNotFoundError

    asked: list[tuple[str, str]] = []

    def no_network(repository: str, *, revision: str, allow_patterns: list[str], cache_dir: Path) -> None:
        asked.append((repository, revision))
        raise LocalEntryNotFoundError("Cannot reach the hub.\nCheck your connection.")

    monkeypatch.setenv("IMMERSIVAUDIO_WEIGHTS", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.snapshot_download", no_network)
    with pytest.raises(ModelUnavailable, match=r"cannot be fetched from the hub: Cannot reach the hub\.;"):
        FrameDescriber.load(settings)
    assert asked == [(settings.weights, settings.revision)]


def test_what_the_hub_fetched_is_loaded_and_named_by_its_commit(
    snapshot: Path, shots: list[Shot], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, tuple[str, ...]] = {}

    def find(published: HubFiles) -> Path:
        asked[f"{published.repository}@{published.revision}"] = published.patterns or ()
        return snapshot

    monkeypatch.setattr("models.frame_description.find", find)
    describer = FrameDescriber.load(Moondream2Settings(device="cpu"))
    assert describer.describe(shots[:1])[0].text == "a red picture"
    assert describer.model == "vikhyatk/moondream2@9a7d40240508"
    assert describer.licence == "Apache-2.0"
    assert asked == {
        "vikhyatk/moondream2@9a7d4024050840e001defacec2b00727e89149e6": ("*.py", "config.json", "model.safetensors"),
        "moondream/starmie-v1@35192e10a54e36eabe0a7cc57a2c1aab371cafc5": ("tokenizer.json",),
    }


def test_a_frame_that_is_no_picture_is_damaged_media(moondream: FrameDescriber, tmp_path: Path) -> None:
    (tmp_path / "frame.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut short")
    with pytest.raises(DamagedMedia, match=r"frame\.jpg"):
        moondream.describe([Shot(tmp_path / "frame.jpg")])
