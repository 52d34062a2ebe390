"""`make demo`, as a stranger sees it: the real service, the real sample, a result that plays."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.serve.following import picture_packets, picture_seconds, sound_of

ROOT = Path(__file__).parents[1]


@pytest.mark.timeout(280)
def test_the_demo_leaves_the_sample_with_sound_under_an_unchanged_picture(tmp_path: Path) -> None:
    shutil.copy(ROOT / "serve_config.yaml", tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "client.demo"], cwd=tmp_path, capture_output=True, text=True, timeout=270, check=False
    )
    assert done.returncode == 0, done.stderr
    sample, result = tmp_path / "out" / "sample.mp4", tmp_path / "out" / "demo.mp4"
    assert picture_packets(result) == picture_packets(sample)
    assert picture_seconds(result) == picture_seconds(sample) == 12
    samples, rate = sound_of(result)
    assert (rate, samples.shape[0]) == (48_000, 2)
    assert samples.shape[1] / rate == pytest.approx(12, abs=1024 / 48_000)
    loudness_by_second = np.sqrt(np.mean(samples[:, : 12 * rate - rate].reshape(2, 11, rate) ** 2, axis=(0, 2)))
    assert loudness_by_second.min() > 0.005
    assert "draft, made without trained models" in done.stderr
    assert (tmp_path / "var" / "store" / "runs").is_dir()
