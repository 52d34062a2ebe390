"""A loop has no seam: not in a sketch, not in a stem, not in the mix, however much the limiter has to do."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.signal import butter, sosfilt

from models.audio import STEM_SAMPLE_RATE, Audio, Samples, read_audio, write_stem
from models.audio_generation import AudioRequest, nothing_to_report
from models.audio_step import Generator
from models.reconstruction import SEAM, ReconstructionSettings, Reconstructor, StemFile
from models.record import Options, Reconstruction
from models.sketch.foley import FoleyGenerator
from models.sketch.music import MusicGenerator
from models.video_input import MediaLimits, SourceFile, probe
from tests.media_factory import make_image, make_video

RATE = STEM_SAMPLE_RATE


def assert_seamless(loop: Samples) -> None:
    """What follows upon what, and how loud it is, is at the joint as it is elsewhere."""
    jumps = np.abs(np.diff(loop, axis=1))
    joint = np.abs(loop[:, 0] - loop[:, -1])
    assert joint.max() <= np.quantile(jumps, 0.999)
    edge = min(RATE // 5, loop.shape[1] // 4)
    before, after = level(loop[:, -edge:]), level(loop[:, :edge])
    usual = [level(loop[:, at : at + edge]) for at in range(0, loop.shape[1] - edge, edge)]
    assert min(usual) - 6 < before < max(usual) + 6
    assert min(usual) - 6 < after < max(usual) + 6


def level(samples: Samples) -> float:
    return float(20 * np.log10(np.sqrt(np.square(samples, dtype=np.float64).mean()) + 1e-9))


def sketched(generator: Generator, prompt: str, *, seconds: float, loop: bool = True) -> Samples:
    made = generator.generate(AudioRequest(prompt, seconds, seed=3, loop=loop), on_step=nothing_to_report)
    assert made.loops == loop
    assert made.audio.samples.shape == (2, round(seconds * RATE))
    return made.audio.samples


@pytest.mark.parametrize("seconds", [0.3, 4, 15.125])
@pytest.mark.parametrize("prompt", ["rain and wind", "a calm sea", "calm strings", "loud drums, fast"])
@pytest.mark.parametrize("generator", [FoleyGenerator(), MusicGenerator()], ids=["foley", "music"])
def test_a_sketch_goes_on_from_its_end_to_its_beginning(generator: Generator, prompt: str, seconds: float) -> None:
    loop = sketched(generator, prompt, seconds=seconds)
    assert np.abs(loop).max() < 1
    assert_seamless(loop)


@pytest.mark.parametrize("generator", [FoleyGenerator(), MusicGenerator()], ids=["foley", "music"])
def test_without_a_loop_the_ends_are_faded_as_ever(generator: Generator) -> None:
    sound = sketched(generator, "rain", seconds=4, loop=False)
    assert np.abs(sound[:, [0, -1]]).max() < 1e-3


def loud_loop(*, seconds: float) -> Samples:
    """Noise that comes and goes with peaks that a limiter must press down, and that knows no beginning."""
    length = round(seconds * RATE)
    white = np.random.default_rng(5).standard_normal((2, 3 * length))
    white[:, length:] = np.tile(white[:, length : 2 * length], 2)
    band = sosfilt(butter(2, (60, 6000), "bandpass", fs=RATE, output="sos"), white)[:, 2 * length :]
    swell = 0.15 + np.exp(8 * np.cos(2 * np.pi * np.arange(length) / length) - 8)  # its loudest moment is the joint
    loop: Samples = (0.2 * band * swell / band.std()).astype(np.float32)
    return loop


def reconstruct(folder: Path, source: Path, *stems: Samples, loops: bool = True, **options: Any) -> Reconstruction:
    given = SourceFile.of(source, name=source.name, key="source")
    came = probe(given, options=Options.model_validate({"loop": True, **options}), limits=MediaLimits())
    files = []
    for kind, samples in zip(("music", "sounds"), stems, strict=False):
        path = folder / f"{kind}.flac"
        write_stem(Audio(samples, RATE), path, seconds=came.result_seconds, loop=loops)
        files.append(StemFile(kind, path, loops))  # type: ignore[arg-type]
    return Reconstructor(ReconstructionSettings()).reconstruct(came, source, stems=files, output=folder / "result")


@pytest.mark.parametrize("wanted", ["wav", "flac"])
@pytest.mark.parametrize("loudness", [-14, -30, None])
@pytest.mark.parametrize("seconds", [0.6, 2.5])
def test_the_mix_of_loops_is_a_loop(tmp_path: Path, wanted: str, loudness: float | None, seconds: float) -> None:
    image, loop = make_image(tmp_path / "a.png"), loud_loop(seconds=seconds)
    other = np.roll(loop[::-1], 100, axis=1)
    made = reconstruct(tmp_path, image, loop, other, seconds=seconds, format=wanted, loudness_lufs=loudness)
    result = read_audio(tmp_path / "result")
    assert result.samples.shape == (2, round(seconds * RATE))
    assert_seamless(result.samples)
    assert level(result.samples[:, :2000]) > level(result.samples)  # not faded: it begins at its loudest
    assert made.true_peak_dbtp is not None
    assert made.true_peak_dbtp <= -1
    assert made.notes == () or "quieter than asked" in made.notes[0]


def test_where_the_limiter_worked_it_worked_round_the_joint(tmp_path: Path) -> None:
    """The same loop, turned by half: what stands at the joint of one is in the middle of the other."""
    image, loop = make_image(tmp_path / "a.png"), loud_loop(seconds=2.5)
    mixed = []
    for samples in (loop, np.roll(loop, loop.shape[1] // 2, axis=1)):
        reconstruct(tmp_path, image, samples, seconds=2.5, format="wav", loudness_lufs=None, music_volume_db=6)
        mixed.append(read_audio(tmp_path / "result").samples)
    turned = np.roll(mixed[1], -(loop.shape[1] // 2), axis=1)
    assert np.abs(mixed[0] - turned).max() < 0.02
    assert np.abs(2 * loop - mixed[0]).max() > 0.2


def test_what_does_not_loop_is_faded_also_beside_a_loop(tmp_path: Path) -> None:
    video, loop = make_video(tmp_path / "a.mp4", frames=50, sound=True), loud_loop(seconds=2)
    reconstruct(tmp_path, video, 0 * loop, format="wav", original=0.9)
    heard = read_audio(tmp_path / "result").samples
    assert level(heard[:, -200:]) < level(heard) - 20
    reconstruct(tmp_path, video, loop, loops=False, format="wav", original=0)
    assert np.abs(read_audio(tmp_path / "result").samples[:, [0, -1]]).max() < 1e-3


def test_a_seam_that_whole_frames_bring_is_said(tmp_path: Path) -> None:
    image = make_image(tmp_path / "a.png")
    assert reconstruct(tmp_path, image, loud_loop(seconds=1), seconds=1).notes == ()
    assert reconstruct(tmp_path, image, loud_loop(seconds=1.01), seconds=1.01).notes == (SEAM,)
    assert reconstruct(tmp_path, image, loud_loop(seconds=1.01), seconds=1.01, format="wav").notes == ()
