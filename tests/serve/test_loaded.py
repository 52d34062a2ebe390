"""What the modules have loaded, told by a replica that comes while all of them are busy."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from models.record import ModuleInfo
from serve import loaded
from serve.loaded import Loaded
from serve.settings import AppSettings
from serve.store import Store

MUSIC = ModuleInfo(module="audio_generation", part="music", model="a model", device="cpu", profile="paper")
OTHER = MUSIC.model_copy(update={"model": "another model"})


class Asked:
    """The modules. While `free` is not set, the question waits in line."""

    def __init__(self, *answers: ModuleInfo) -> None:
        self.free = asyncio.Event()
        self.free.set()
        self.there = True
        self.answers = list(answers)
        self.times = 0

    async def ask(self) -> Sequence[ModuleInfo]:
        self.times += 1
        await self.free.wait()
        if not self.answers:
            raise ConnectionError("nobody is there")
        return [self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)]

    def replica(self, folder: Path, **settings: object) -> Loaded:
        given = AppSettings.model_validate({"store": str(folder), **settings})
        return Loaded(Store(str(folder)), given, ask=self.ask, all_there=lambda: self.there)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loaded, "LINE_SECONDS", 0.05)


async def busy(folder: Path, **settings: object) -> Asked:
    """Modules that have answered one replica, and make all others wait."""
    asked = Asked(MUSIC)
    assert await asked.replica(folder, **settings).info() == (MUSIC,)
    await written(folder, MUSIC)
    asked.free.clear()
    return asked


async def written(folder: Path, told: ModuleInfo) -> None:
    """Wait until the store says so."""
    async with asyncio.timeout(30):
        while not any(f'"{told.model}"' in file.read_text() for file in folder.glob("modules/*.json")):
            await asyncio.sleep(0.01)


async def never_tells(replica: Loaded) -> bool:
    try:
        async with asyncio.timeout(0.5):
            await replica.info()
    except TimeoutError:
        return True
    return False


async def test_a_replica_that_comes_when_all_are_busy_tells_what_the_one_before_it_was_told(tmp_path: Path) -> None:
    asked = await busy(tmp_path)
    newcomer = asked.replica(tmp_path)
    newcomer.begin()
    assert await newcomer.info() == (MUSIC,)
    asked.answers = [OTHER]
    asked.free.set()
    await newcomer.begin()
    assert await newcomer.info() == (OTHER,)
    await written(tmp_path, OTHER)
    asked.free.clear()
    assert await asked.replica(tmp_path).info() == (OTHER,)


async def test_nothing_is_told_while_a_deployment_has_never_had_a_replica(tmp_path: Path) -> None:
    asked = await busy(tmp_path)
    asked.there = False
    assert await never_tells(asked.replica(tmp_path))


async def test_nothing_is_told_of_other_settings(tmp_path: Path) -> None:
    asked = await busy(tmp_path)
    assert await never_tells(asked.replica(tmp_path, max_audio_seconds=7))


async def test_nothing_is_told_where_nobody_was_told_anything_before(tmp_path: Path) -> None:
    asked = Asked(MUSIC)
    asked.free.clear()
    assert await never_tells(asked.replica(tmp_path))


async def test_many_who_want_to_know_ask_once(tmp_path: Path) -> None:
    asked = Asked(MUSIC)
    replica = asked.replica(tmp_path)
    replica.begin()
    assert await asyncio.gather(*(replica.info() for _ in range(20))) == [(MUSIC,)] * 20
    assert asked.times == 1


async def test_who_gives_up_stops_nobody_elses_question(tmp_path: Path) -> None:
    asked = Asked(MUSIC)
    asked.free.clear()
    replica = asked.replica(tmp_path)
    assert await never_tells(replica)
    asked.free.set()
    assert await replica.info() == (MUSIC,)
    assert asked.times == 1


async def test_a_failure_is_told_and_asked_again(tmp_path: Path) -> None:
    asked = Asked()
    replica = asked.replica(tmp_path)
    with pytest.raises(ConnectionError):
        await replica.info()
    asked.answers = [MUSIC]
    assert await replica.info() == (MUSIC,)


async def test_after_a_while_they_are_asked_again_and_nobody_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loaded, "TOLD_SECONDS", 0.0)
    asked = Asked(MUSIC, OTHER)
    replica = asked.replica(tmp_path)
    told = [await replica.info(), await replica.info()]
    await replica.begin()
    assert [*told, await replica.info()] == [(MUSIC,), (MUSIC,), (OTHER,)]


async def test_what_was_told_before_is_told_where_a_replica_dies_with_the_question(tmp_path: Path) -> None:
    asked = await busy(tmp_path)
    asked.answers = []
    asked.free.set()
    assert await asked.replica(tmp_path).info() == (MUSIC,)


async def test_a_store_that_is_away_keeps_nobody_from_telling_and_hears_of_it_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loaded, "TOLD_SECONDS", 0.0)
    asked = Asked(MUSIC)
    (tmp_path / "modules").write_text("no folder")
    replica = asked.replica(tmp_path)
    assert await replica.info() == (MUSIC,)
    asked.free.clear()
    assert await never_tells(asked.replica(tmp_path))
    (tmp_path / "modules").unlink()
    asked.free.set()
    await replica.begin()
    await written(tmp_path, MUSIC)
