"""The project's own YAML files on a real Ray cluster, whole runs over a real socket."""

import time
from pathlib import Path

import httpx
import pytest

from models.record import Run
from tests import media_factory
from tests.serve.conftest import Deploy
from tests.serve.following import download, picture_packets, run_to_the_end, sound_of
from tests.toys import audioldm2, vision

pytestmark = pytest.mark.timeout(600)  # one deployment, or two, and what they load


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return media_factory.make_video(tmp_path_factory.mktemp("video") / "clip.mp4", frames=75, size=(320, 180))


async def test_the_default_file_serves_whole_runs(deploy: Deploy, video: Path, tmp_path: Path) -> None:
    address = deploy("serve_config.yaml", store=str(tmp_path / "store"))
    async with httpx.AsyncClient(base_url=address, timeout=60) as http:
        assert (await http.get("/readyz")).json() == {"status": "ready"}
        run = await run_to_the_end(http, video)
        assert run.status == "finished", run.error
        result = await download(http, run, "video", tmp_path)
        assert picture_packets(result) == picture_packets(video)
        assert sound_of(result)[1] == 48_000
        modules = (await http.get("/v1/modules")).json()
        assert [item["module"] for item in modules][-1] == "reconstruction"
        refused = await http.post("/v1/runs", files={"file": ("a.mp4", b"<html></html>")})
        assert refused.status_code == 415, refused.text
        assert "Traceback" not in refused.text
        part = await http.get(f"/v1/runs/{run.id}/artifacts/video", headers={"range": "bytes=0-99"})
        assert (part.status_code, part.content) == (206, result.read_bytes()[:100])


async def test_a_client_that_goes_away_does_not_stop_its_run(deploy: Deploy, tmp_path: Path) -> None:
    address = deploy("serve_config.yaml", store=str(tmp_path / "store"))
    image = media_factory.make_image(tmp_path / "still.png", size=(64, 36))
    async with httpx.AsyncClient(base_url=address, timeout=60) as http:
        with image.open("rb") as content:
            request = http.build_request(
                "POST",
                "/v1/runs",
                params={"follow": True},
                files={"file": ("still.png", content)},
                data={"options": '{"seconds": 300}'},  # so that it is at work for some seconds
            )
            answer = await http.send(request, stream=True)
        await anext(answer.aiter_raw())
        assert Run.model_validate_json((await http.get(answer.headers["location"])).text).ended_at is None
        await answer.aclose()
        deadline = time.monotonic() + 200
        while (run := Run.model_validate_json((await http.get(answer.headers["location"])).text)).ended_at is None:
            assert time.monotonic() < deadline, run
            time.sleep(0.2)
        assert run.status == "finished", run.error


async def test_the_gpu_file_serves_the_papers_models(deploy: Deploy, video: Path, tmp_path: Path) -> None:
    """On a GPU that Ray only believes in: real classes and the real file, at toy size, on the CPU."""
    import ray

    audio = str(audioldm2.make_audioldm2(tmp_path / "audioldm2"))
    moondream = str(vision.make_moondream(tmp_path / "moondream2"))
    address = deploy(
        "serve_config.gpu.yaml",
        store=str(tmp_path / "store"),
        object_detection={
            "kind": "yolov9",
            "weights": str(vision.make_yolov9(tmp_path / "yolov9")),
            "device": "cpu",
        },
        frame_selection={
            "kind": "resnet18",
            "weights": str(vision.make_resnet18(tmp_path / "resnet18")),
            "device": "cpu",
        },
        frame_description={"kind": "moondream2", "weights": moondream, "tokenizer": moondream, "device": "cpu"},
        music={"kind": "audioldm2", "checkpoint": audio, "device": "cpu", "steps": 2},
        sounds={"kind": "audioldm2", "checkpoint": audio, "device": "cpu", "steps": 2},
    )
    assert ray.available_resources().get("GPU", 0) < 0.5
    async with httpx.AsyncClient(base_url=address, timeout=120) as http:
        run = await run_to_the_end(http, video, seed=5, guidance=3)
        assert run.status == "finished", run.error
        record = run.record
        assert record.frame_selection is not None
        assert record.frame_selection.latent_shape == (512, 16, 29)
        assert record.object_detection is not None
        assert set(record.object_detection.objects) == {"person", "dog"}
        assert record.frame_description is not None
        assert record.frame_description.question is not None
        assert record.prompt_enhancement is not None
        assert "person" in record.prompt_enhancement.sound_prompt
        assert record.audio_generation is not None
        assert [(stem.steps, stem.guidance, stem.channels) for stem in record.audio_generation.stems] == [(2, 3, 2)] * 2
        result = await download(http, run, "video", tmp_path)
        assert picture_packets(result) == picture_packets(video)
        modules = (await http.get("/v1/modules")).json()
        assert {item["profile"] for item in modules if not item["draft"]} == {"paper", "any"}
        assert [item["model"] for item in modules if item["draft"]] == ["sketch/music", "sketch/foley"]
        draft = await run_to_the_end(http, video, seed=5, draft=True)
        assert draft.record.frame_description == record.frame_description.model_copy(update={"origin": "cached"})
        assert draft.record.audio_generation is not None
        assert [stem.model for stem in draft.record.audio_generation.stems] == ["sketch/music", "sketch/foley"]


async def test_one_deployment_can_make_both_stems(deploy: Deploy, video: Path, tmp_path: Path) -> None:
    from ray import serve as rs

    checkpoint = str(audioldm2.make_audioldm2(tmp_path / "audioldm2"))
    args = {
        "store": str(tmp_path / "store"),
        "music": {"kind": "audioldm2", "checkpoint": checkpoint, "device": "cpu", "steps": 2},
        "sounds": {"kind": "with_music"},
    }
    with pytest.raises(AssertionError, match="Deployment 'SoundGenerator' does not exist"):
        deploy("serve_config.yaml", **args)
    address = deploy("serve_config.yaml", without=("SoundGenerator",), **args)
    assert "SoundGenerator" not in rs.status().applications["immersivaudio"].deployments
    async with httpx.AsyncClient(base_url=address, timeout=120) as http:
        run = await run_to_the_end(http, video, seed=5)
        assert run.status == "finished", run.error
        made = run.record.audio_generation
        assert made is not None
        assert [(stem.kind, stem.model) for stem in made.stems] == [("music", "audioldm2"), ("sounds", "audioldm2")]
        modules = (await http.get("/v1/modules")).json()
        parts = [(item["part"], item["model"]) for item in modules if item["module"] == "audio_generation"]
        assert parts == [("music", "audioldm2"), ("sounds", "audioldm2")]


def test_a_model_without_weights_stops_the_deployment_with_one_clear_sentence(deploy: Deploy, tmp_path: Path) -> None:
    missing = {"kind": "yolov9", "weights": "/nowhere/own.pt", "device": "cpu"}
    with pytest.raises(
        AssertionError, match=r"(?m)ModelUnavailable: there is no YOLOv9 checkpoint at /nowhere/own\.pt"
    ):
        deploy("serve_config.yaml", store=str(tmp_path / "store"), object_detection=missing)
