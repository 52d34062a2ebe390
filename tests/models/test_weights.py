"""Published weights come here once, whole, or not at all; and what is wrong is said in a sentence that ends in what to do."""

import errno
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from models import weights
from models.errors import ModelUnavailable
from models.weights import HubFiles, OneFile
from tests.hub import COMMIT, Hub, Repository, serving

ROOT = Path(__file__).parents[2]
LARGE = bytes(range(256)) * 40
EVERYTHING = ("*",)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Has `someone/model`: a small file, and a large one in a folder. Its client is told of it, and weights are kept in `kept`."""
    import huggingface_hub
    from huggingface_hub import constants, hf_api

    folder = tmp_path / "published"
    (folder / "part").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "part" / "model.safetensors").write_bytes(LARGE)
    with serving(Hub({"someone/model": Repository(folder)})) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(hf_api.api, "endpoint", hub.url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("IMMERSIVAUDIO_WEIGHTS", str(tmp_path / "kept"))
        huggingface_hub.utils.disable_progress_bars()
        yield hub
        huggingface_hub.utils.enable_progress_bars()


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's client tries again at once, not after growing pauses."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)


@pytest.fixture
def at_an_address(hub: Hub) -> OneFile:
    """The large file, as a file at an address."""
    return OneFile("someones/model.bin", f"{hub.url}/someone/model/resolve/main/part/model.safetensors", None)


MODEL = HubFiles("someone/model", COMMIT, EVERYTHING)
NEWEST = HubFiles("someone/model", None, EVERYTHING)


class TestFromTheHub:
    def test_files_are_fetched_once_and_found_again_without_a_look_at_the_network(self, hub: Hub) -> None:
        folder = weights.find(MODEL)
        assert (folder / "part" / "model.safetensors").read_bytes() == LARGE
        asked = hub.asked
        hub.repositories.clear()
        assert weights.find(MODEL) == folder
        assert hub.asked == asked

    def test_every_file_is_listed_with_its_size_and_digest(self, hub: Hub, tmp_path: Path) -> None:
        weights.find(MODEL)
        (listed,) = json.loads((tmp_path / "kept" / "weights.json").read_text())["weights"].values()
        assert listed["commit"] == COMMIT
        assert listed["files"]["part/model.safetensors"]["size"] == len(LARGE)
        assert set(listed["files"]) == {"config.json", "part/model.safetensors"}
        assert all(re.fullmatch(r"[0-9a-f]{64}", file["sha256"]) for file in listed["files"].values())

    def test_the_folder_may_be_carried_to_another_place(
        self, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        weights.find(MODEL)
        (tmp_path / "kept").rename(tmp_path / "carried")
        monkeypatch.setenv("IMMERSIVAUDIO_WEIGHTS", str(tmp_path / "carried"))
        hub.repositories.clear()
        assert weights.find(MODEL).is_relative_to(tmp_path / "carried")
        assert weights.damaged(MODEL) == []

    def test_where_no_commit_is_named_the_first_one_is_kept(self, hub: Hub) -> None:
        first = weights.find(NEWEST)
        hub.repositories["someone/model"].commit = "f" * 40
        assert weights.find(NEWEST) == first
        assert first.name == COMMIT

    @pytest.mark.parametrize("status", [401, 403], ids=["without a token", "with one"])
    def test_a_licence_that_was_not_accepted_is_named_with_its_page(self, hub: Hub, status: int) -> None:
        hub.repositories["someone/model"].refuses = (status, "GatedRepo")
        with pytest.raises(
            ModelUnavailable, match=f"accept its licence: do so at {hub.url}/someone/model, and set HF_TOKEN"
        ):
            weights.find(MODEL)

    def test_a_token_that_is_not_valid_is_named(self, hub: Hub) -> None:
        hub.repositories["someone/model"].refuses = (401, "Invalid credentials in Authorization header")
        with pytest.raises(
            ModelUnavailable, match="the hub refuses someone/model: set HF_TOKEN to a token that is valid"
        ):
            weights.find(MODEL)

    def test_a_repository_that_is_not_shown_may_be_misspelt_or_private(self, hub: Hub) -> None:
        with pytest.raises(ModelUnavailable, match=r"no someone/modle: look whether the name is right .* HF_TOKEN"):
            weights.find(HubFiles("someone/modle", COMMIT, EVERYTHING))

    def test_a_commit_that_is_not_there_is_named(self, hub: Hub) -> None:
        with pytest.raises(ModelUnavailable, match=f"has no revision {'a' * 40}: {hub.url}/someone/model/commits/main"):
            weights.find(HubFiles("someone/model", "a" * 40, EVERYTHING))

    def test_where_the_network_is_forbidden_the_sentence_says_what_fetches_it(self, hub: Hub, offline: None) -> None:
        with pytest.raises(
            ModelUnavailable, match=r"HF_HUB_OFFLINE forbids .* `immersivaudio prefetch CONFIG --to FOLDER`"
        ):
            weights.find(MODEL)
        assert hub.asked == 0

    def test_a_hub_that_cannot_be_reached_is_said_so(
        self, hub: Hub, impatient: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from huggingface_hub import hf_api

        monkeypatch.setattr(hf_api.api, "endpoint", "http://127.0.0.1:9")
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
        with pytest.raises(
            ModelUnavailable, match=r"cannot be fetched from the hub: .*refused.*; start again when it can be reached"
        ):
            weights.find(MODEL)

    def test_a_file_that_comes_as_another_is_not_kept(self, hub: Hub) -> None:
        repository = hub.repositories["someone/model"]
        repository.damage["part/model.safetensors"] = "other"
        with pytest.raises(
            ModelUnavailable, match=r"model\.safetensors came damaged: its digest is \w+, and that .* start again"
        ):
            weights.find(MODEL)
        repository.damage.clear()
        assert (weights.find(MODEL) / "part" / "model.safetensors").read_bytes() == LARGE

    def test_a_small_file_that_comes_as_another_is_not_kept_either(self, hub: Hub) -> None:
        hub.repositories["someone/model"].damage["config.json"] = "other"
        with pytest.raises(ModelUnavailable, match=r"config\.json came damaged"):
            weights.find(MODEL)

    def test_a_file_that_comes_cut_short_is_not_kept(self, hub: Hub, impatient: None) -> None:
        repository = hub.repositories["someone/model"]
        repository.damage["part/model.safetensors"] = "short"
        with pytest.raises(ModelUnavailable, match="cannot be fetched from the hub"):
            weights.find(MODEL)
        repository.damage.clear()
        assert (weights.find(MODEL) / "part" / "model.safetensors").read_bytes() == LARGE


class TestFromAnAddress:
    def test_a_file_is_fetched_once(self, hub: Hub, at_an_address: OneFile, tmp_path: Path) -> None:
        assert weights.find(at_an_address) == tmp_path / "kept" / "someones" / "model.bin"
        assert weights.find(at_an_address).read_bytes() == LARGE
        assert hub.sent.total() == 1

    def test_another_file_than_the_pinned_one_is_refused_and_not_kept(
        self, at_an_address: OneFile, tmp_path: Path
    ) -> None:
        pinned = OneFile(at_an_address.key, at_an_address.url, "0" * 64)
        with pytest.raises(ModelUnavailable, match=f"came damaged: its digest is {hashlib.sha256(LARGE).hexdigest()}"):
            weights.find(pinned)
        assert not (tmp_path / "kept" / "someones" / "model.bin").exists()

    @pytest.mark.parametrize("damage", ["short", "gone"])
    def test_nothing_is_left_of_a_file_that_does_not_come_whole(
        self, hub: Hub, at_an_address: OneFile, tmp_path: Path, damage: str
    ) -> None:
        if damage == "gone":
            hub.repositories["someone/model"].refuses = (404, "EntryNotFound")
        hub.repositories["someone/model"].damage["part/model.safetensors"] = damage
        with pytest.raises(
            ModelUnavailable, match=r"model\.safetensors cannot be fetched: .*`immersivaudio prefetch CONFIG --to"
        ):
            weights.find(at_an_address)
        assert list((tmp_path / "kept" / "someones").iterdir()) == []

    def test_where_the_network_is_forbidden_nothing_is_asked(
        self, hub: Hub, at_an_address: OneFile, offline: None
    ) -> None:
        with pytest.raises(ModelUnavailable, match=r"model\.bin is not in .*kept, and HF_HUB_OFFLINE forbids"):
            weights.find(at_an_address)
        assert hub.asked == 0

    def test_a_disk_that_is_full_is_named_as_such(
        self, at_an_address: OneFile, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(_: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr("models.fetching.os.fsync", full)
        with pytest.raises(ModelUnavailable, match="No space left on device; make room, or set IMMERSIVAUDIO_WEIGHTS"):
            weights.find(at_an_address)


class TestWhatHasBeenFetched:
    def test_is_not_used_with_another_size(self, hub: Hub) -> None:
        file = weights.find(MODEL) / "part" / "model.safetensors"
        file.write_bytes(LARGE[:-1])
        with pytest.raises(
            ModelUnavailable, match=r"is damaged: it has 10239 bytes, and had 10240 .*`immersivaudio prefetch CONFIG`"
        ):
            weights.find(MODEL)

    @pytest.mark.parametrize("content", [LARGE[:-1], bytes(len(LARGE)), None], ids=["cut", "other", "gone"])
    def test_is_found_damaged_and_fetched_again(self, hub: Hub, content: bytes | None) -> None:
        file = weights.find(MODEL) / "part" / "model.safetensors"
        if content is None:
            file.unlink()
        else:
            file.write_bytes(content)
        assert weights.damaged(MODEL) == [file]
        weights.renew(MODEL)
        assert (weights.find(MODEL) / "part" / "model.safetensors").read_bytes() == LARGE
        assert weights.damaged(MODEL) == []
        assert hub.sent["someone/model/config.json"] == 1

    def test_is_mended_from_the_commit_that_it_was_of(self, hub: Hub) -> None:
        file = weights.find(NEWEST) / "config.json"
        file.unlink()
        assert weights.renew(NEWEST).commit == COMMIT

    def test_needs_no_network_when_it_is_whole(self, hub: Hub, at_an_address: OneFile) -> None:
        weights.find(MODEL), weights.find(at_an_address)
        asked = hub.asked
        before = weights.listing().weights
        assert {one.key: weights.renew(one) for one in (MODEL, at_an_address)} == before
        assert hub.asked == asked

    def test_with_a_list_that_cannot_be_read_is_refused(self, hub: Hub, tmp_path: Path) -> None:
        weights.find(MODEL)
        (tmp_path / "kept" / "weights.json").write_text('{"version": 2}')
        with pytest.raises(ModelUnavailable, match=r"weights\.json is no list of weights .*: delete it, and run"):
            weights.find(MODEL)


class TestWhereTheListCannotBeWritten:
    @pytest.fixture
    def refused(self, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
        """For this reason."""

        def refuse(path: Path, content: str) -> int:
            raise OSError(request.param, os.strerror(request.param), str(path))

        monkeypatch.setattr("pathlib.Path.write_text", refuse)

    @pytest.mark.parametrize("refused", [errno.EROFS, errno.EACCES], indirect=True)
    def test_since_it_is_mounted_read_only_weights_are_as_good_without(self, hub: Hub, refused: None) -> None:
        assert (weights.find(MODEL) / "part" / "model.safetensors").read_bytes() == LARGE
        assert sum(file.size for file in weights.renew(MODEL).files.values()) == len(LARGE) + len("{}")

    @pytest.mark.parametrize("refused", [errno.ENOSPC, errno.EDQUOT], indirect=True)
    def test_since_the_disk_is_full_that_is_said(self, hub: Hub, refused: None, tmp_path: Path) -> None:
        with pytest.raises(
            ModelUnavailable, match=rf"weights\.json cannot be written: .*make room on .*{tmp_path}/kept"
        ):
            weights.find(MODEL)

    @pytest.mark.parametrize("refused", [errno.EIO], indirect=True)
    def test_for_another_reason_that_is_said(self, hub: Hub, refused: None) -> None:
        with pytest.raises(ModelUnavailable, match=r"weights\.json cannot be written: Input/output error; mend that"):
            weights.find(MODEL)


def test_processes_that_start_at_once_fetch_every_file_once(hub: Hub, at_an_address: OneFile) -> None:
    program = (
        "from models.weights import HubFiles, OneFile, find\n"
        f"print(find({MODEL!r}), find({at_an_address!r}))"
    )  # fmt: skip
    hub.seconds = 0.5
    environment = os.environ | {"HF_ENDPOINT": hub.url}
    starts: list[Any] = [
        subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, env=environment, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    found = {start.communicate()[0] for start in starts}
    assert [start.returncode for start in starts] == [0, 0]
    assert len(found) == 1
    # the large file is both at its address and on the hub
    assert hub.sent == {"someone/model/config.json": 1, "someone/model/part/model.safetensors": 2}
