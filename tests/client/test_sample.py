"""The sample video, as a player sees it."""

from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from client.sample import build_sample


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sample") / "new" / "sample.mp4"
    build_sample(path)
    return path


def test_it_is_twelve_seconds_of_h264_without_sound(sample: Path) -> None:
    with av.open(sample) as container:
        [stream] = container.streams
        assert isinstance(stream, av.VideoStream)
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height, stream.frames) == (960, 540, 300)
        assert stream.average_rate == 25
        assert container.duration == 12_000_000


def test_it_has_one_cut_in_the_middle_and_moves_slowly_elsewhere(sample: Path) -> None:
    with av.open(sample) as container:
        frames = [frame.to_ndarray(format="gray")[::4, ::4].astype(float) for frame in container.decode(video=0)]
    changes = np.array([np.abs(after - before).mean() for before, after in pairwise(frames)])
    assert changes.argmax() == 149
    others = np.delete(changes, 149)
    assert changes[149] > 5 * others.max()
    # Steps of whole pixels would show as many frames that change not at all between frames that jump.
    assert np.mean(others > 0.1) > 0.9
