"""The audio engine beside diffusers' own pipeline: `python -m bench.audio_engine [--size toy|base] [--steps N] …`.

AudioLDM2 with random weights, at its real size (base) or as small as in the tests (toy), on the GPU if there is one. In one run, at
the same steps, guidance and precision:

(a) diffusers' pipeline, one call at a time;
(b) the engine, one request at a time;
(c) the engine with many requests at once;
(d) the engine with one long track.

The floor is the arithmetic alone: the UNet's, the VAE's and the vocoder's operations, counted, at the rate at which this device
multiplies large matrices in the same precision, measured.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from bench.support.audioldm2 import checkpoint
from models.audio import Samples
from models.audio_generation import AudioRequest, nothing_to_report
from models.audio_generation.audioldm2 import AudioLDM2Generator, AudioLDM2Settings
from models.audio_generation.networks import Networks
from models.audio_generation.text import Conditioning

PROMPT, NEGATIVE, GUIDANCE = "rain on a window and distant thunder", "low quality, average quality, distorted", 3.5


def main() -> None:
    on_a_gpu = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=("toy", "base"), default="base" if on_a_gpu else "toy")
    parser.add_argument("--dtype", choices=("auto", "float32", "float16", "bfloat16"), default="auto")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeat", type=int, default=20 if on_a_gpu else 5, help="clips of (a) and (b)")
    parser.add_argument("--at-once", type=int, nargs="*", default=[8, 32], help="requests of (c)")
    parser.add_argument("--minutes", type=float, default=10, help="of (d)")
    parser.add_argument("--windows", type=int, default=32 if on_a_gpu else None)
    parser.add_argument("--checkpoint", type=Path, help="a folder with one of that size (else one is made)")
    parser.add_argument(
        "--compiled", action=argparse.BooleanOptionalAction, help="the engine's networks (else as it does by itself)"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = AudioLDM2Settings(
            checkpoint=str(arguments.checkpoint or checkpoint(Path(folder), size=arguments.size)),
            compiled=arguments.compiled,
            dtype=arguments.dtype,
            steps=arguments.steps,
            guidance=GUIDANCE,
            windows=arguments.windows,
        )
        start = time.perf_counter()
        generator = AudioLDM2Generator.load(settings)
        took = time.perf_counter() - start
    bench = Bench(generator, steps=arguments.steps)
    print(f"{device_name()}, {bench.dtype}, AudioLDM2 {arguments.size}, {arguments.steps} steps, guidance {GUIDANCE}")
    compiled = "compiled" if generator._networks.compiled else "not compiled"
    print(f"loaded and checked in {took:.0f} s, {compiled}; torch {torch.__version__}")
    print(f"arithmetic of one clip of {bench.clip:g} s: {bench.flops / 1e12:.3f} TFLOP; ", end="")
    print(f"matrices are multiplied at {bench.rate / 1e12:.2f} TFLOP/s: floor {1000 * bench.floor:.1f} ms")
    print()
    print(f"{'':34}{'seconds':>9}{'audio s/s':>11}{'p50':>8}{'p95':>8}{'of floor':>10}{'peak GiB':>10}")
    bench.own_pipeline(arguments.repeat)
    bench.alone(arguments.repeat)
    for count in arguments.at_once:
        bench.together(count)
    for minutes in sorted({1.0, arguments.minutes}):
        bench.long(minutes)


@dataclass
class Measured:
    """What a part of the bench took."""

    seconds: float = 0
    peak: float = 0


class Bench:
    """The parts, and a line printed for each."""

    def __init__(self, generator: AudioLDM2Generator, *, steps: int) -> None:
        self.generator = generator
        self.steps = steps
        self.pipeline: Any = generator._texts._pipeline
        self.networks = generator._networks
        self.dtype = str(self.pipeline.unet.dtype).removeprefix("torch.")
        sizes = self.networks.sizes
        self.clip = sizes.window * sizes.row / sizes.sample_rate
        self.flops = arithmetic(self.pipeline, self.networks, steps=steps)
        self.rate = multiplication_rate(self.networks.device, self.pipeline.unet.dtype)
        self.floor = self.flops / self.rate

    def own_pipeline(self, repeat: int) -> None:
        """(a)"""
        generator = torch.Generator("cpu")
        # the vocoder is float32 whatever the rest is, as in the engine; the pipeline itself would not look
        cast = self.pipeline.vocoder.register_forward_pre_hook(lambda model, given: (given[0].to(model.dtype),))

        def call(seed: int) -> None:
            self.pipeline(
                PROMPT,
                negative_prompt=NEGATIVE,
                num_inference_steps=self.steps,
                guidance_scale=GUIDANCE,
                audio_length_in_s=self.clip,
                generator=generator.manual_seed(seed),
            )

        self._one_at_a_time("(a) diffusers, one at a time", call, repeat)
        cast.remove()

    def alone(self, repeat: int) -> None:
        """(b)"""
        self._one_at_a_time("(b) engine, one at a time", lambda seed: self._make(seed, self.clip), repeat)

    def together(self, count: int) -> None:
        """(c)"""
        latencies: list[float] = []

        def make(seed: int) -> Samples:
            start = time.perf_counter()
            made = self._make(seed, self.clip)
            latencies.append(time.perf_counter() - start)
            return made

        with ThreadPoolExecutor(count) as threads, measured() as whole:
            made = list(threads.map(make, range(count)))
        self._tell(f"(c) engine, {count} at once", whole, count * self.clip, latencies)
        alone, again = self._make(0, self.clip), self._make(0, self.clip)
        print(f"    one of them beside the same alone: {apart(made[0], alone)}; alone twice: {apart(again, alone)}")

    def long(self, minutes: float) -> None:
        """(d)"""
        with measured() as whole:
            self._make(0, 60 * minutes)
        self._tell(f"(d) engine, one of {minutes:g} min", whole, 60 * minutes, [])

    def _one_at_a_time(self, name: str, call: Callable[[int], object], repeat: int) -> None:
        call(0)
        latencies = []
        with measured() as whole:
            for seed in range(1, repeat + 1):
                start = time.perf_counter()
                call(seed)
                latencies.append(time.perf_counter() - start)
        self._tell(name, whole, repeat * self.clip, latencies)

    def _make(self, seed: int, seconds: float) -> Samples:
        request = AudioRequest(PROMPT, seconds, seed, NEGATIVE)
        return self.generator.generate(request, on_step=nothing_to_report).audio.samples

    def _tell(self, name: str, whole: Measured, audio: float, latencies: list[float]) -> None:
        share = audio / self.clip * self.floor / whole.seconds
        p50, p95 = (f"{value:8.3f}" for value in np.quantile(latencies, (0.5, 0.95))) if latencies else (8 * " ",) * 2
        rate = audio / whole.seconds
        print(f"{name:34}{whole.seconds:9.2f}{rate:11.2f}{p50}{p95}{share:10.0%}{whole.peak:10.2f}", flush=True)


def apart(one: Samples, other: Samples) -> str:
    """How far two sounds differ: the RMS of their difference, beside the sound's."""
    ratio = float(np.sqrt(np.mean((one - other) ** 2) / np.mean(other**2)))
    return f"{20 * np.log10(ratio):.0f} dB" if ratio else "nothing"


def arithmetic(pipeline: Any, networks: Networks, *, steps: int) -> float:
    """Floating-point operations of one clip: guided steps, VAE decoder and vocoder. Counted on tensors without data."""
    sizes, unet = networks.sizes, pipeline.unet
    _, generated, states, *_ = unet.config.cross_attention_dim[0]
    text = Conditioning(torch.empty(sizes.text, states), torch.ones(sizes.text), torch.empty(8, generated))
    with torch.device("meta"):
        bare = [type(model).from_config(model.config) for model in (unet, pipeline.vae)]
        vocoder = type(pipeline.vocoder)(pipeline.vocoder.config)
    counts: list[int] = []
    with torch.no_grad(), torch.device("meta"):
        for call in (
            lambda: bare[0](
                torch.empty(2, sizes.channels, sizes.window, sizes.columns),
                torch.zeros(2),
                encoder_hidden_states=torch.empty(2, *text.generated.shape),
                encoder_hidden_states_1=torch.empty(2, *text.states.shape),
                encoder_attention_mask_1=torch.ones(2, sizes.text),
            ),
            lambda: bare[1].decode(torch.empty(1, sizes.channels, sizes.window, sizes.columns)),
            lambda: vocoder(torch.empty(1, sizes.window * sizes.frames, sizes.columns * sizes.frames)),
        ):
            with FlopCounterMode(display=False) as counter:
                call()  # type: ignore[no-untyped-call]
            counts.append(counter.get_total_flops())
    return steps * counts[0] + counts[1] + counts[2]


def multiplication_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Operations per second of a large matrix product: the best of a few."""
    size = 8192 if device.type == "cuda" else 2048
    one, other = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(10):
        wait()
        start = time.perf_counter()
        one @ other
        wait()
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


@contextmanager
def measured() -> Iterator[Measured]:
    """Time, and the most memory that was in use: the GPU's, else the process's."""
    found = Measured()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")
    wait()
    start = time.perf_counter()
    yield found
    wait()
    found.seconds = time.perf_counter() - start
    if torch.cuda.is_available():
        found.peak = torch.cuda.max_memory_allocated() / 2**30
    else:
        status = Path("/proc/self/status").read_text()
        found.peak = int(status.split("VmHWM:")[1].split()[0]) / 2**20


def wait() -> None:
    """For the GPU to have done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def device_name() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"CPU, {torch.get_num_threads()} threads"


if __name__ == "__main__":
    main()
