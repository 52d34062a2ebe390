"""Drafts beside the real thing: quick, cached apart from it, and refused where nobody makes them. The whole service in this
process.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from models.audio_step import Generator
from models.record import Run, StemKind
from serve import audio_server
from serve.audio_server import load_generator
from serve.modules import Modules, Unit
from serve.pipeline import served_by
from serve.settings import AppSettings, AudioSettings
from serve.store import Store
from tests import media_factory
from tests.serve.following import download, run_to_the_end, sound_of, words_to_the_end
from tests.serve.local import local_http
from tests.serve.test_http import assert_problem
from tests.serve.test_modules import Server, full_record
from tests.serve.test_runs import origins, rerun
from tests.toys.generator import Model

TRAINED = {"kind": "audioldm2", "checkpoint": "trained"}
SKETCHES = ["sketch/music", "sketch/foley"]
VISION = {"frame_extraction", "object_detection", "frame_selection", "frame_description"}


@pytest.fixture(scope="module", autouse=True)
def toys() -> Iterator[None]:
    """Where a trained model is set, a toy is loaded."""

    def load(chosen: AudioSettings, kind: StemKind) -> Generator:
        return Model(model="trained") if chosen.kind == "audioldm2" else load_generator(chosen, kind)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audio_server, "load_generator", load)
        yield


@pytest.fixture(scope="module")
async def http(store: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a service that has both."""
    given = {"store": str(store), "music": TRAINED, "sounds": TRAINED, "drafts": True}
    async with local_http(AppSettings.model_validate(given)) as client:
        yield client


@pytest.fixture
def video(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Another for every test: what one has computed must not be found by the next."""
    frames = 50 + sum(map(ord, request.node.name)) % 50
    return media_factory.make_video(tmp_path / "clip.mp4", frames=frames)


def models(run: Run) -> list[str]:
    assert run.status == "finished", run.error
    assert run.record.audio_generation is not None
    return [stem.model for stem in run.record.audio_generation.stems]


async def test_after_a_draft_the_full_run_makes_its_sound_alone(
    http: httpx.AsyncClient, video: Path, tmp_path: Path
) -> None:
    draft = await run_to_the_end(http, video, seed=1, draft=True)
    assert models(draft) == SKETCHES
    full = await rerun(http, draft, options={"draft": False})
    assert models(full) == ["trained", "trained"]
    told = origins(full.record)
    assert {name for name, origin in told.items() if origin == "cached"} == VISION
    assert {told[name] for name in ("music", "sounds", "reconstruction")} == {"computed"}
    assert full.record.prompt_enhancement == draft.record.prompt_enhancement
    heard = [sound_of(await download(http, run, "mix", tmp_path))[0] for run in (draft, full)]
    assert heard[0].shape == heard[1].shape
    assert abs(heard[0] - heard[1]).max() > 0.05


async def test_neither_is_ever_found_in_the_place_of_the_other(http: httpx.AsyncClient, video: Path) -> None:
    for draft, origin in ((False, "computed"), (True, "computed"), (False, "cached"), (True, "cached")):
        run = await run_to_the_end(http, video, seed=1, draft=draft)
        assert models(run) == (SKETCHES if draft else ["trained", "trained"])
        assert {origins(run.record)[kind] for kind in ("music", "sounds", "reconstruction")} == {origin}


async def test_an_edit_of_a_draft_is_that_of_the_full_run(http: httpx.AsyncClient, video: Path) -> None:
    draft = await run_to_the_end(http, video, seed=1, draft=True, sounds=False)
    edited = await rerun(http, draft, edits={"prompt_enhancement": {"music_prompt": "slow strings"}})
    assert models(edited) == ["sketch/music"]
    full = await rerun(http, edited, options={"draft": False})
    assert models(full) == ["trained"]
    assert full.record.audio_generation is not None
    assert full.record.audio_generation.stems[0].prompt == "slow strings"


async def test_words_alone_have_drafts_too(http: httpx.AsyncClient) -> None:
    assert models(await words_to_the_end(http, "rain on a tin roof", seconds=0.5, draft=True)) == SKETCHES


async def test_a_stem_alone_is_a_draft_where_the_record_asks_for_one(http: httpx.AsyncClient) -> None:
    record: dict[str, Any] = {"text": "rain", "options": {"seconds": 0.5, "draft": True}}
    for name in ("video_input", "prompt_enhancement", "audio_generation"):
        answer = await http.post(f"/v1/modules/{name}", json=record)
        assert answer.status_code == 200, answer.text
        record = answer.json()
    assert [stem["model"] for stem in record["audio_generation"]["stems"]] == SKETCHES


async def test_who_makes_drafts_stands_beside_the_real_thing(http: httpx.AsyncClient) -> None:
    loaded = (await http.get("/v1/modules")).json()
    assert [(one["part"], one["model"], one["profile"], one["draft"]) for one in loaded if one["part"]] == [
        ("music", "trained", "paper", False),
        ("sounds", "trained", "paper", False),
        ("music", "sketch/music", "sketch", True),
        ("sounds", "sketch/foley", "sketch", True),
    ]


async def test_where_nobody_makes_drafts_they_are_refused_before_anything_runs(tmp_path: Path) -> None:
    given = {"store": str(tmp_path / "store"), "music": TRAINED, "sounds": TRAINED}
    image = media_factory.make_image(tmp_path / "photo.png", size=(64, 36))
    async with local_http(AppSettings.model_validate(given)) as http:
        sent = {"files": {"file": ("photo.png", image.read_bytes())}, "data": {"options": '{"draft": true}'}}
        told = ("draft", "makes none of music and sounds", "draft = false")
        assert_problem(await http.post("/v1/runs", **sent), 422, *told)  # type: ignore[arg-type]
        words = {"text": "rain", "options": {"draft": True}}
        for path in ("/v1/runs", "/v1/modules/video_input"):
            assert_problem(await http.post(path, json=words), 422, *told)
        run = await run_to_the_end(http, image, seconds=0.5, music=False)
        answer = await http.post(f"/v1/runs/{run.id}/rerun", json={"options": {"draft": True}})
        assert_problem(answer, 422, "makes none of sounds:")
        assert not any(one["draft"] for one in (await http.get("/v1/modules")).json())


async def test_a_draft_that_was_accepted_before_the_settings_changed_fails_in_words(tmp_path: Path) -> None:
    unit = Unit("audio_generation", "music", draft=True)
    modules = Modules(Store(str(tmp_path)), {Unit("audio_generation", "music"): Server(unit)})
    with pytest.raises(Exception, match="this service makes none of music: ask for draft = false"):
        await modules.compute(unit, full_record(draft=True), run_id=None, key=None)


async def test_where_sound_is_a_sketch_anyway_the_draft_is_it(tmp_path: Path) -> None:
    async with local_http(AppSettings(store=str(tmp_path), drafts=True)) as http:
        draft, full = [
            await words_to_the_end(http, "rain", seed=1, seconds=0.5, draft=draft) for draft in (True, False)
        ]
        assert models(draft) == models(full) == SKETCHES
        assert {origins(full.record)[kind] for kind in ("music", "sounds", "reconstruction")} == {"cached"}
        assert not any(one["draft"] for one in (await http.get("/v1/modules")).json())


@pytest.mark.parametrize(
    ("given", "drafts"),
    [
        ({}, {"music": "MusicGenerator", "sounds": "SoundGenerator"}),
        ({"drafts": True}, {"music": "MusicGenerator", "sounds": "SoundGenerator"}),
        ({"profile": "paper"}, {}),
        ({"profile": "paper", "drafts": True}, {"music": "DraftGenerator", "sounds": "DraftGenerator"}),
        ({"music": TRAINED}, {"sounds": "SoundGenerator"}),
        ({"music": TRAINED, "drafts": True}, {"music": "DraftGenerator", "sounds": "SoundGenerator"}),
        (
            {"music": TRAINED, "sounds": {"kind": "with_music"}, "drafts": True},
            {"music": "DraftGenerator", "sounds": "DraftGenerator"},
        ),
    ],
    ids=str,
)
def test_who_makes_drafts_follows_from_the_settings(given: dict[str, object], drafts: dict[str, str]) -> None:
    served = served_by(AppSettings.model_validate(given))
    assert {unit.part: name for unit, name in served.items() if unit.draft} == drafts
