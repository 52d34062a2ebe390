import itertools
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from models import cuts, work
from models.cuts import refined
from models.errors import Cancelled, UnsupportedMedia
from models.frame_extraction import FrameExtractionSettings, FrameExtractor
from models.frame_selection import FrameSelectionSettings, FrameSelector
from models.picture_track import PictureTrack
from models.sketch.scene import SceneSelector, SketchSceneSettings
from tests.media_factory import Photograph, corrupt, frame_number, make_video, numbered_picture, panned, photograph
from tests.toys.vision import make_resnet18

Picture = npt.NDArray[np.uint8]

SECONDS = (4.36, 7.2, 3.08)


def cut_film(
    rate: Fraction | int = 25, *, names: Sequence[Photograph] = ("china", "flower", "bus"), share: float = 0.4
) -> tuple[list[Picture], list[int]]:
    """Three photographs, panned, one cut to the other; and which frames are the first of the second and the third."""
    parts = [
        panned(photograph(name), frames=round(seconds * rate), share=share)
        for name, seconds in zip(names, SECONDS, strict=True)
    ]
    first, second, third = parts
    return first + second + third, [len(first), len(first) + len(second)]


def dissolved(frames: int, *, before: int = 130, behind: int = 120) -> list[Picture]:
    """Two photographs, panned, and as many frames in which one turns into the other."""
    one = panned(photograph("china"), frames=before + frames)
    other = panned(photograph("flower"), frames=frames + behind)
    shares = [(number + 1) / (frames + 1) for number in range(frames)]
    between = [
        (a * (1 - share) + b * share).astype(np.uint8) for share, a, b in zip(shares, one[before:], other, strict=False)
    ]
    return [*one[:before], *between, *other[frames:]]


def borders(
    video: Path, scenes: int | Literal["auto"] = "auto", selector: SceneSelector | FrameSelector | None = None
) -> list[float]:
    """From the video to its scenes' borders in seconds, as a run does it."""
    frames = FrameExtractor(FrameExtractionSettings()).extract(video, video.with_suffix(""), k=10, for_scenes=True)
    selector = selector or SceneSelector.load(SketchSceneSettings())
    chosen = selector.select([frame.path for frame in frames], scenes=scenes).scenes
    return refined(video, [(frames[scene.first - 1].seconds, frames[scene.first].seconds) for scene in chosen[1:]])


def test_the_shots_of_an_edited_film_are_found_one_by_one(tmp_path: Path) -> None:
    """Ten of them, of less than five seconds each, so that every second or third frame is behind a cut."""
    names: list[Photograph] = ["china", "flower", "bus", "zidane"]
    shots = [panned(photograph(names[number % 4]), frames=118, share=0.1) for number in range(10)]
    film = make_video(tmp_path / "film.mp4", pictures=[picture for shot in shots for picture in shot], gop=250)
    assert borders(film) == pytest.approx([4.72 * number for number in range(1, 10)], abs=0.001)


@pytest.mark.parametrize("scenes", ["auto", 3])
@pytest.mark.parametrize("keyframes_at_cuts", [False, True])
def test_cuts_between_panned_photographs_are_found_to_the_frame(
    tmp_path: Path, scenes: int | Literal["auto"], keyframes_at_cuts: bool
) -> None:
    pictures, cuts_at = cut_film()
    options = {"sc_threshold": "40" if keyframes_at_cuts else "0"}
    video = make_video(tmp_path / "film.mp4", pictures=pictures, gop=10_000, codec_options=options)
    assert borders(video, scenes) == pytest.approx([first / 25 for first in cuts_at], abs=0.001)


@pytest.mark.parametrize("scenes", ["auto", 3])
def test_resnet18_finds_them_too(tmp_path: Path, scenes: int | Literal["auto"]) -> None:
    """As well as random weights can tell one picture from another: slowly panned."""
    settings = FrameSelectionSettings(weights=make_resnet18(tmp_path / "weights"), side=64, device="cpu")
    pictures, cuts_at = cut_film(names=("flower", "bus", "china"), share=0.2)
    video = make_video(tmp_path / "film.mp4", pictures=pictures, gop=10_000)
    found = borders(video, scenes, FrameSelector.load(settings))
    assert found == pytest.approx([first / 25 for first in cuts_at], abs=0.001)


RATES = [Fraction(24000, 1001), 24, 25, Fraction(30000, 1001), 30, 50, Fraction(60000, 1001), 60]


@pytest.mark.parametrize("rate", RATES, ids=lambda rate: f"{float(rate):.2f}")
@pytest.mark.parametrize(("ending", "start"), [(".mp4", 0), (".mov", 1.4), (".mkv", 1.4), (".ts", 10), (".avi", 0)])
def test_borders_and_picture_agree_at_any_rate_and_start(
    tmp_path: Path, rate: Fraction | int, ending: str, start: float
) -> None:
    pictures, cuts_at = cut_film(rate)
    video = make_video(tmp_path / f"film{ending}", pictures=pictures, rate=rate, gop=77, start=start)
    assert borders(video) == pytest.approx([float(first / Fraction(rate)) for first in cuts_at], abs=0.5 / float(rate))


@pytest.mark.parametrize("rate", RATES, ids=lambda rate: f"{float(rate):.2f}")
@pytest.mark.parametrize(("ending", "start"), [(".mp4", 0), (".mov", 1.4), (".mkv", 1.4), (".ts", 10), (".avi", 0)])
def test_a_border_is_where_the_frame_is_that_the_picture_shows(
    tmp_path: Path, rate: Fraction | int, ending: str, start: float
) -> None:
    """Frames that carry their number above, and a picture below that changes at frame 97."""
    count, changes = 200, 97
    below = [np.array(photograph(name).resize((64, 144))) for name in ("bus", "flower")]
    pictures = [np.vstack((numbered_picture(number), below[number >= changes])) for number in range(count)]
    video = make_video(tmp_path / f"film{ending}", pictures=pictures, rate=rate, gop=50, start=start)
    frames = FrameExtractor(FrameExtractionSettings()).extract(video, tmp_path / "frames", k=40)
    for frame in frames:
        with Image.open(frame.path) as image:
            number = frame_number(image.crop((0, 0, 64, 48)))
        assert frame.seconds == pytest.approx(number / rate, abs=0.5 / float(rate))
    left = max(frame.seconds for frame in frames if frame.seconds < changes / rate - 0.01)
    right = min(frame.seconds for frame in frames if frame.seconds > changes / rate - 0.01)
    assert refined(video, [(left, right)]) == pytest.approx([changes / rate], abs=0.5 / float(rate))


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".webm"])
def test_borders_are_true_at_a_variable_rate(tmp_path: Path, ending: str) -> None:
    durations = list(itertools.islice(itertools.cycle((0.04, 0.013, 0.09, 0.04, 0.3, 0.02)), 160))
    pictures = dissolved(0, before=70, behind=90)
    video = make_video(tmp_path / f"film{ending}", pictures=pictures, durations=durations, gop=40, start=1.4)
    cut_at = sum(durations[:70])
    assert refined(video, [(cut_at - 2.5, cut_at + 3)]) == pytest.approx([cut_at], abs=0.0015)


@pytest.mark.parametrize("frames", [1, 5, 12, 25])
def test_the_border_of_a_dissolve_is_its_middle(tmp_path: Path, frames: int) -> None:
    video = make_video(tmp_path / "film.mp4", pictures=dissolved(frames), gop=100)
    middle = (130 + frames / 2) / 25
    for before, behind in ((2.1, 1.7), (0.3, 1.5), (1.5, 0.3)):  # also where the frames lie inside of it
        assert refined(video, [(middle - before, middle + behind)]) == pytest.approx([middle], abs=0.1)


def test_flashes_and_flicker_and_compression_are_no_borders(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    pictures = [np.clip(picture * random.uniform(0.8, 1.2), 0, 255).astype(np.uint8) for picture in dissolved(0)]
    for flash in (100, 101, 145):
        pictures[flash] = np.full_like(pictures[0], 255)
    video = make_video(tmp_path / "film.mp4", pictures=pictures, gop=20, codec_options={"crf": "42"})
    assert refined(video, [(3.1, 7.5)]) == pytest.approx([5.2])


def test_neighbouring_frames_are_a_border_themselves(tmp_path: Path) -> None:
    video = make_video(tmp_path / "film.mp4", pictures=dissolved(0), gop=20)
    assert refined(video, [(5.16, 5.2), (5.2, 5.24), (9.92, 9.96)]) == pytest.approx([5.2, 5.24, 9.96])
    assert refined(video, []) == []


def test_borders_follow_one_another_within_their_pairs(tmp_path: Path) -> None:
    """Also where there is nothing to be found: one photograph, at rest."""
    video = make_video(tmp_path / "still.mp4", pictures=panned(photograph("bus"), frames=200, share=0))
    pairs = [(0.0, 1.0), (1.0, 1.04), (1.04, 4.2), (4.2, 7.96)]
    found = refined(video, pairs)
    assert all(left < at <= right for at, (left, right) in zip(found, pairs, strict=True))
    assert found == sorted(set(found))


def test_a_long_stretch_is_not_decoded_but_narrowed_by_its_keyframes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = (panned(photograph(name), frames=60, size=(64, 36)) for name in ("china", "flower"))
    back_and_forth = itertools.cycle([*range(60), *reversed(range(60))])
    places = list(itertools.islice(back_and_forth, 6000))
    pictures = [(one if number < 4321 else other)[place] for number, place in enumerate(places)]
    video = make_video(tmp_path / "long.mp4", pictures=pictures, gop=50)
    decoded = 0
    decode = PictureTrack.decode

    def counted(track: PictureTrack, packet: object) -> object:
        nonlocal decoded
        decoded += 1
        return decode(track, packet)  # type: ignore[arg-type]

    monkeypatch.setattr(PictureTrack, "decode", counted)
    assert refined(video, [(10, 230)]) == pytest.approx([4321 / 25])
    assert decoded < 800


def test_where_too_much_would_have_to_be_decoded_the_border_is_the_middle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuts, "DECODED", 60)
    video = make_video(tmp_path / "film.mp4", pictures=dissolved(0), gop=10_000)
    assert refined(video, [(4, 7)]) == pytest.approx([5.5])


@pytest.mark.parametrize("gop", [10, 50, 10_000])
def test_a_stretch_that_cannot_be_decoded_has_a_border_in_its_middle(tmp_path: Path, gop: int) -> None:
    video = make_video(tmp_path / "film.mp4", pictures=dissolved(0) + dissolved(0), gop=gop)
    corrupt(video, kind="video", begin=2, end=30)
    assert refined(video, [(4, 7), (7.1, 9)]) == pytest.approx([5.5, 8.05])


def test_what_nobody_wants_any_more_is_not_gone_on_with(tmp_path: Path) -> None:
    video = make_video(tmp_path / "film.mp4", pictures=dissolved(0))
    unwanted = work.Work()
    unwanted.cancelled.set()
    with work.going_on(unwanted), pytest.raises(Cancelled):
        refined(video, [(4, 7)])


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_text("no video")
    with pytest.raises(UnsupportedMedia):
        refined(tmp_path / "film.mp4", [(4, 7)])


@pytest.mark.parametrize("ending", [".gif", ".png"])
def test_animations_have_borders(tmp_path: Path, ending: str) -> None:
    pictures = dissolved(0, before=40, behind=60)
    video = make_video(tmp_path / f"moving{ending}", pictures=pictures, rate=10)
    assert refined(video, [(2.5, 6)]) == pytest.approx([4])
