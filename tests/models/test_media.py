from pathlib import Path

import ffmpeg
import pytest

from models import media
from models.errors import MediaToolFailed, MediaToolLimit, StorageFull


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A script in the place of ffmpeg."""
    path = tmp_path / "ffmpeg"
    path.touch(mode=0o755)
    monkeypatch.setattr(media, "ffmpeg_binary", lambda: str(path))
    return path


def graph(folder: Path) -> ffmpeg.nodes.OutputStream:
    return ffmpeg.output(media.source(folder / "film.mp4"), str(folder / "result.mp4"))


def test_only_the_end_of_a_long_log_is_kept(tool: Path, tmp_path: Path) -> None:
    tool.write_text("#!/bin/sh\nhead -c 3000000 /dev/zero | tr '\\0' 'x' >&2\necho 'I: -14.0 LUFS' >&2\necho out\n")
    out, log = media.run(graph(tmp_path), timeout_seconds=30)
    assert out == b"out\n"
    assert log.endswith("xI: -14.0 LUFS\n")
    assert len(log) == media.LOG_BYTES


def test_a_failure_ends_with_what_ffmpeg_said(tool: Path, tmp_path: Path) -> None:
    tool.write_text("#!/bin/sh\necho 'no such stream' >&2\nexit 3\n")
    with pytest.raises(MediaToolFailed, match=r"\(3\): no such stream$"):
        media.run(graph(tmp_path), timeout_seconds=30)


def test_what_takes_too_long_is_stopped_as_a_limit(tool: Path, tmp_path: Path) -> None:
    tool.write_text("#!/bin/sh\nexec sleep 30\n")
    with pytest.raises(MediaToolLimit, match=r"stopped after 0\.2 s"):
        media.run(graph(tmp_path), timeout_seconds=0.2)


def test_a_full_disk_is_known_by_the_exit_status_alone(tool: Path, tmp_path: Path) -> None:
    tool.write_text("#!/bin/sh\nexit 228\n")  # the log is on the same disk
    with pytest.raises(StorageFull, match="no space left"):
        media.run(graph(tmp_path), timeout_seconds=30)
