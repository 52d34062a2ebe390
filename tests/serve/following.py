"""Sending files to a service, and looking at what comes back."""

import hashlib
import json
from pathlib import Path

import av
import httpx
import numpy as np
import numpy.typing as npt

from models.record import Run


async def run_to_the_end(http: httpx.AsyncClient, file: Path, reference: Path | None = None, **options: object) -> Run:
    """Submit a file, perhaps with a sound to sound like, follow its run to the end, and say what became of it."""
    files = {"file": file, **({"reference": reference} if reference else {})}
    answer = await http.post(
        "/v1/runs",
        params={"follow": True},
        files={part: (path.name, path.read_bytes()) for part, path in files.items()},
        data={"options": json.dumps(options)},
        headers={"accept": "application/x-ndjson"},
    )
    assert answer.status_code == 200, answer.text
    assert json.loads(answer.text.splitlines()[-1])["type"] in ("finished", "failed", "cancelled")
    return Run.model_validate_json((await http.get(answer.headers["location"])).text)


async def words_to_the_end(
    http: httpx.AsyncClient, text: str, *, headers: dict[str, str] | None = None, **options: object
) -> Run:
    """Submit words alone, follow their run to the end, and say what became of it."""
    asked = {"accept": "application/x-ndjson", **(headers or {})}
    body = {"text": text, "options": options}
    answer = await http.post("/v1/runs", params={"follow": True}, json=body, headers=asked)
    assert answer.status_code == 200, answer.text
    return Run.model_validate_json((await http.get(answer.headers["location"], headers=headers)).text)


async def download(http: httpx.AsyncClient, run: Run, name: str, folder: Path) -> Path:
    """One artifact, as a file."""
    answer = await http.get(f"/v1/runs/{run.id}/artifacts/{name}")
    assert answer.status_code == 200, answer.text
    path = folder / f"{name}.bin"
    path.write_bytes(answer.content)
    return path


def picture_packets(path: Path) -> list[str]:
    """A hash of every packet of the picture, in order."""
    with av.open(str(path)) as container:
        return [hashlib.md5(bytes(packet)).hexdigest() for packet in container.demux(video=0) if packet.size]


def picture_seconds(path: Path) -> float:
    """How long the picture is shown: to the end of its last frame."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.time_base is not None
        ends = [packet.pts + (packet.duration or 0) for packet in container.demux(stream) if packet.pts is not None]
        starts = [stream.start_time or 0]
        return float((max(ends) - min(starts)) * stream.time_base)


def sound_of(path: Path) -> tuple[npt.NDArray[np.float32], int]:
    """The first sound stream: float32, shape (channels, samples), and its rate in Hz."""
    planar = av.AudioResampler(format="fltp")
    with av.open(str(path)) as container:
        frames = [part for frame in container.decode(audio=0) for part in planar.resample(frame)]
        samples = np.concatenate([frame.to_ndarray() for frame in frames], axis=1)
        return samples.astype(np.float32), container.streams.audio[0].rate
