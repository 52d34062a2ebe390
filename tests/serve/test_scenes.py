"""A film of three photographs, over HTTP: its scenes, the sound of each, and what changes when one of them is made again."""

from itertools import pairwise
from pathlib import Path

import av
import httpx
import numpy as np
import numpy.typing as npt
import pytest

from models.record import Run, Stem
from tests import media_factory
from tests.serve.following import download, run_to_the_end, sound_of

BORDERS = (4.36, 11.56)  # seconds
SECONDS = 14.64
RATE = 48_000


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three photographs, panned for odd lengths, no keyframe where they change, with a tone of its own."""
    pictures = [
        picture
        for name, frames in (("china", 109), ("flower", 180), ("zidane", 77))
        for picture in media_factory.panned(media_factory.photograph(name), frames=frames, size=(320, 180))  # type: ignore[arg-type]
    ]
    path = tmp_path_factory.mktemp("film") / "three places.mp4"
    return media_factory.make_video(path, pictures=pictures, rate=25, gop=50, sound=True, sound_seconds=3)


@pytest.fixture(scope="module")
async def finished(http: httpx.AsyncClient, film: Path) -> Run:
    """Its run."""
    run = await run_to_the_end(http, film, seed=3, scenes="auto", descriptions=True)
    assert run.status == "finished", run.error
    return run


async def test_the_scenes_are_those_of_the_film_each_with_its_frame_words_and_prompts(finished: Run) -> None:
    record = finished.record
    assert [scene.start_seconds for scene in record.scenes[1:]] == pytest.approx(BORDERS, abs=0.1)
    assert record.scenes[-1].end_seconds == pytest.approx(SECONDS)
    for scene in record.scenes:
        assert scene.start_seconds <= record.pictures[scene.index].seconds < scene.end_seconds
    assert record.frame_description is not None
    assert record.prompt_enhancement is not None
    texts = [described.text for described in record.frame_description.scenes]
    assert len(set(texts)) == 3
    for text, prompts in zip(texts, record.prompt_enhancement.scenes, strict=True):
        assert text in prompts.music_prompt
        assert text in prompts.sound_prompt
    for stem in stems(finished):
        assert [later.seconds for later in stem.later_prompts] == [scene.start_seconds for scene in record.scenes[1:]]


async def test_the_sound_changes_with_the_picture(http: httpx.AsyncClient, finished: Run, tmp_path: Path) -> None:
    """The spectrum before and behind a border differ by more than within a scene."""
    samples = await heard(http, finished, "sounds", tmp_path)
    borders = [scene.start_seconds for scene in finished.record.scenes[1:]]

    def change(at: float) -> float:
        before, behind = (spectrum(samples, at + offset, 1.2) for offset in (-1.8, 0.6))
        return float(np.abs(before - behind).mean())

    within = [change(at) for at in (borders[0] + 2.0, borders[0] + 3.2, borders[0] + 4.4)]
    assert min(change(at) for at in borders) > 1.3 * max(within)


async def test_one_scene_is_made_again_and_nothing_else_changes(
    http: httpx.AsyncClient, finished: Run, tmp_path: Path
) -> None:
    again = await rerun(http, finished, {"scene": 1, "sound_prompt": "Heavy rain on a tin roof, thunder."})
    assert {stem.kind: stem.origin for stem in stems(again)} == {"music": "cached", "sounds": "computed"}
    before, after = [await heard(http, run, "sounds", tmp_path) for run in (finished, again)]
    assert_only_the_second_scene_differs(finished, before, after)


async def test_one_scene_is_made_again_from_the_same_words(
    http: httpx.AsyncClient, finished: Run, tmp_path: Path
) -> None:
    """And once more the same take is no work, and take 0 is what there was."""
    again = await rerun(http, finished, {"scene": 1, "music_take": 1})
    assert {stem.kind: stem.origin for stem in stems(again)} == {"music": "computed", "sounds": "cached"}
    assert {stem.kind: stem.takes for stem in stems(again)} == {"music": (0, 1, 0), "sounds": (0, 0, 0)}
    assert again.record.prompt_enhancement is not None
    assert finished.record.prompt_enhancement is not None
    assert again.record.prompt_enhancement.origin == "edited"
    told = [[scene.music_prompt for scene in run.record.prompt_enhancement.scenes] for run in (finished, again)]  # type: ignore[union-attr]
    assert told[0] == told[1]
    before, after = [await heard(http, run, "music", tmp_path) for run in (finished, again)]
    assert_only_the_second_scene_differs(finished, before, after)
    for of, take, same in ((finished, 1, again), (again, 0, finished)):
        once_more = await rerun(http, of, {"scene": 1, "music_take": take})
        assert {stem.origin for stem in stems(once_more)} == {"cached"}
        assert {stem.path for stem in stems(once_more)} == {stem.path for stem in stems(same)}


async def test_a_take_that_cannot_be_is_refused_in_words(http: httpx.AsyncClient, finished: Run) -> None:
    for scene, take, words in ((1, 1000, "less than or equal to 999, not 1000"), (3, 1, "there is no scene 3")):
        edits = {"prompt_enhancement": {"scenes": [{"scene": scene, "sound_take": take}]}}
        answer = await http.post(f"/v1/runs/{finished.id}/rerun", json={"edits": edits})
        assert answer.status_code == 422
        assert words in answer.json()["detail"]


async def rerun(http: httpx.AsyncClient, run: Run, edit: dict[str, object]) -> Run:
    """To its end, with other prompts."""
    edits = {"prompt_enhancement": {"scenes": [edit]}}
    answer = await http.post(f"/v1/runs/{run.id}/rerun", json={"edits": edits})
    assert answer.status_code == 202, answer.text
    async with http.stream("GET", f"{answer.headers['location']}/events", timeout=60) as events:
        async for _ in events.aiter_lines():
            pass
    again = Run.model_validate_json((await http.get(answer.headers["location"])).text)
    assert again.status == "finished", again.error
    return again


def assert_only_the_second_scene_differs(
    film: Run, before: npt.NDArray[np.float32], after: npt.NDArray[np.float32]
) -> None:
    scene = film.record.scenes[1]
    changed = np.flatnonzero((before != after).any(axis=0)) / RATE
    assert scene.start_seconds - 0.5 - 1e-3 <= changed.min() < scene.start_seconds + 0.1
    assert scene.end_seconds - 0.1 < changed.max() <= scene.end_seconds + 0.5 + 1e-3
    assert len(changed) > 0.9 * (scene.end_seconds - scene.start_seconds) * RATE


async def test_everything_is_there_as_a_stem_as_long_as_the_picture(
    http: httpx.AsyncClient, finished: Run, tmp_path: Path
) -> None:
    made = finished.record.reconstruction
    assert made is not None
    assert made.original_used
    assert 2.5 < made.ducked_seconds < 5
    for name in ("music", "sounds", "original", "mix", "audio"):
        samples = await heard(http, finished, name, tmp_path)
        assert samples.shape == (2, round(SECONDS * RATE)), name
        assert np.abs(samples).max() > 0.01, name
    original = await heard(http, finished, "original", tmp_path)
    assert np.abs(original[:, 4 * RATE :]).max() < 1e-3


async def test_the_descriptions_are_a_track_of_the_film_and_a_file(
    http: httpx.AsyncClient, finished: Run, tmp_path: Path
) -> None:
    answer = await http.get(f"/v1/runs/{finished.id}/artifacts/descriptions")
    assert answer.headers["content-type"].startswith("text/vtt")
    described = finished.record.frame_description
    assert described is not None
    assert answer.text.startswith("WEBVTT")
    assert answer.text.count(" --> ") == 3
    for scene in described.scenes:
        assert scene.text in answer.text
    with av.open(str(await download(http, finished, "video", tmp_path))) as container:
        (track,) = container.streams.subtitles
        assert track.metadata["language"] == "eng"
        assert len([packet for packet in container.demux(track) if packet.size > 2]) == 3
        assert "seed 3" in container.metadata["comment"]


async def test_wav_stems_are_asked_for_without_making_the_sound_again(
    http: httpx.AsyncClient, film: Path, finished: Run, tmp_path: Path
) -> None:
    run = await run_to_the_end(http, film, seed=3, scenes="auto", descriptions=True, stem_format="wav")
    assert {stem.origin for stem in stems(run)} == {"cached"}
    for name in ("music", "sounds", "original", "mix"):
        answer = await http.get(f"/v1/runs/{run.id}/artifacts/{name}")
        assert answer.headers["content-type"] == "audio/wav"
        assert answer.content.startswith(b"RIFF")
    same, flac = [await heard(http, one, "music", tmp_path) for one in (run, finished)]
    assert np.abs(same - flac).max() < 1e-6


async def test_a_film_without_scenes_of_its_own_is_one(http: httpx.AsyncClient, tmp_path: Path) -> None:
    pictures = media_factory.panned(media_factory.photograph("china"), frames=150, size=(320, 180))
    path = media_factory.make_video(tmp_path / "pan.mp4", pictures=pictures, rate=25)
    run = await run_to_the_end(http, path, seed=3, scenes="auto")
    assert len(run.record.scenes) == 1
    answer = await http.get(f"/v1/runs/{run.id}/artifacts/original")
    assert answer.status_code == 404
    assert "no sound of its own" in answer.json()["detail"]


def stems(run: Run) -> tuple[Stem, ...]:
    assert run.record.audio_generation is not None
    return run.record.audio_generation.stems


async def heard(http: httpx.AsyncClient, run: Run, name: str, folder: Path) -> npt.NDArray[np.float32]:
    samples, rate = sound_of(await download(http, run, name, folder))
    assert rate == RATE
    return samples


def spectrum(samples: npt.NDArray[np.float32], start: float, seconds: float) -> npt.NDArray[np.float64]:
    """In dB, in thirds of octaves from 100 Hz to 16 kHz."""
    piece = samples.mean(axis=0)[round(start * RATE) : round((start + seconds) * RATE)]
    power = np.abs(np.fft.rfft(piece * np.hanning(len(piece)))) ** 2
    edges = 100 * 2 ** (np.arange(23) / 3)
    bands = np.searchsorted(np.fft.rfftfreq(len(piece), 1 / RATE), edges)
    return np.array([10 * np.log10(power[low:high].mean() + 1e-12) for low, high in pairwise(bands)])
