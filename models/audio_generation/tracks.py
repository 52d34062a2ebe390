"""One track on its way: from noise, step by step, to a latent, and from that to samples."""

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from models.audio import Samples
from models.audio_generation.networks import Networks
from models.audio_generation.sizes import Sizes
from models.audio_generation.text import Conditioning
from models.audio_generation.windows import Joining, Span, Windows, joints, lay, spans

CONTEXT = (
    32  # mel frames on either side of what the vocoder's output is kept of; it hears about 20 (measured, at real size)
)

# What a unit of work costs, in rows of a UNet call (171 GFLOP at real size): the VAE's decoder 670 GFLOP, the vocoder 1,027.
DECODING, VOCODING = 4, 6

_BLOCK = 256  # rows of noise that are drawn with one seed


@dataclass(frozen=True)
class Plan:
    """A track as it is asked for."""

    samples: int
    positive: Conditioning
    negative: Conditioning
    guidance: float
    """Classifier-free guidance (Ho & Salimans, arXiv:2207.12598). 1: none, and `negative` is not looked at."""
    steps: int
    seed: tuple[int, ...]
    first_row: int = 0
    """Which row of the seed's endless noise the track begins with; may be negative."""
    loop: bool = False
    """The last row is followed by the first. There are as many rows as it takes to hold `samples`."""
    joining: Joining = "average"

    @property
    def cost_of_a_window(self) -> int:
        """UNet rows of one step."""
        return 1 if self.guidance == 1 else 2


class Track:
    """A plan being carried out.

    While it is denoised, `waiting` holds the windows whose predictions the step still needs; when the last one is given, the
    step is taken. Afterwards `decode` has to be called until it is `done`.
    """

    def __init__(self, plan: Plan, networks: Networks, scheduler: Any, *, overlap: int) -> None:
        """scheduler: diffusers', of this track alone. overlap: rows that neighbouring windows have in common."""
        self.plan = plan
        self._sizes, self._device = networks.sizes, networks.device
        self._windows = lay(
            self._sizes.rows(plan.samples), size=self._sizes.window, overlap=overlap, circular=plan.loop
        )
        self._spans = _spans(plan, self._windows, self._sizes)
        self._scheduler = scheduler
        scheduler.set_timesteps(plan.steps)  # on the CPU: a loop that asks the device for the next time waits for it
        scheduler.set_begin_index(0)
        self._times: list[int] = scheduler.timesteps.tolist()
        self._step = 0
        self._joints = joints(self._windows, plan.joining)
        self._noise = noise(plan.seed, first_row=plan.first_row, rows=self._windows.rows, sizes=self._sizes)
        self._decoding: _Decoding | None = None

    def begin(self) -> None:
        """Take the device's memory that it needs. Until then a track has its noise, on the CPU."""
        sizes, windows, device = self._sizes, self._windows, self._device
        joined = self._joints
        self._index = torch.from_numpy(windows.index).to(device)
        self._cover = torch.from_numpy(joined.cover).to(device)
        self._weight = torch.from_numpy(joined.weight).to(device)
        self._latent = self._noise.to(device) * self._scheduler.init_noise_sigma
        del self._noise
        self._predicted = torch.empty((len(windows), sizes.window, sizes.channels, sizes.columns), device=device)
        self._begin_step()

    @property
    def cost(self) -> int:
        """All the work, in UNet rows."""
        denoising = len(self._windows) * self.plan.steps * self.plan.cost_of_a_window
        return denoising + len(self._windows) * DECODING + len(self._spans) * VOCODING

    @property
    def denoised(self) -> bool:
        """Whether every step is taken."""
        return self._step == len(self._times)

    @property
    def time(self) -> int:
        """The timestep of the present step."""
        return self._times[self._step]

    @property
    def done(self) -> bool:
        """Whether the samples are there, or will be when `result` asks for them."""
        return self._decoding is not None and self._decoding.done

    def latent(self, window: int) -> torch.Tensor:
        """What the UNet is to look at: (channels, window, columns), float32."""
        rows: torch.Tensor = self._scaled.index_select(0, self._index[window])
        return rows.permute(1, 0, 2)

    @torch.no_grad()
    def give(self, window: int, predicted: torch.Tensor) -> None:
        """The guided prediction of one window of `waiting`, (channels, window, columns), float32."""
        self._predicted[window] = predicted.permute(1, 0, 2)
        self._missing -= 1
        if self._missing == 0:
            self._take_step()

    def decode(self, networks: Networks) -> int:
        """One unit of the work that is left when all steps are taken; returns its cost."""
        if self._decoding is None:
            self._decoding = _Decoding(self.plan, self._latent, self._windows, self._spans, networks)
            del self._latent, self._scheduler, self._index, self._cover, self._weight
        return self._decoding.advance()

    def result(self) -> Samples:
        """float32, (samples,): exactly as many as planned, or, of a loop, as its rows have. Waits for the device."""
        assert self._decoding is not None
        return self._decoding.result()

    def _begin_step(self) -> None:
        self.waiting = deque(range(len(self._windows)))
        self._missing = len(self._windows)
        self._scaled = self._scheduler.scale_model_input(self._latent, self.time)

    def _take_step(self) -> None:
        weight = self._weight[self._step % len(self._weight)]
        rows = self._predicted.flatten(0, 1)
        joined = torch.zeros_like(self._latent)
        for cover, share in zip(self._cover, weight, strict=True):
            joined.addcmul_(rows.index_select(0, cover), share[:, None, None])
        self._latent = self._scheduler.step(joined, self.time, self._latent, return_dict=False)[0]
        self._step += 1
        if self.denoised:
            del self._predicted, self._scaled
        else:
            self._begin_step()


class _Decoding:
    """A latent on its way to samples, window by window.

    The VAE's decoder normalises and attends over everything that it is given, so it is given what it was trained on: windows of one
    size, which overlap, and whose log-mel frames are cross-faded. The vocoder is a convolution: what is kept of its output is
    what it would be if it heard the whole.
    """

    def __init__(
        self, plan: Plan, latent: torch.Tensor, windows: Windows, pieces: list[Span], networks: Networks
    ) -> None:
        sizes, device = networks.sizes, networks.device
        self._networks, self._latent = networks, latent
        fine = windows.times(sizes.frames)
        self._rows = torch.from_numpy(windows.index).to(device)
        self._frames = torch.from_numpy(fine.index).to(device)
        self._share = torch.from_numpy(fine.share).to(device)
        self._mel = torch.zeros(fine.rows, sizes.columns * sizes.frames, device=device)
        self._tiles = deque(range(len(windows)))
        self._spans = deque((torch.from_numpy(span.index).to(device), span.keep) for span in pieces)
        samples = windows.rows * sizes.row if plan.loop else plan.samples
        on_a_gpu = device.type == "cuda"
        self._samples = torch.zeros(samples, pin_memory=on_a_gpu)
        self._written = 0
        self._copied = torch.cuda.Event() if on_a_gpu else None  # type: ignore[no-untyped-call]

    @property
    def done(self) -> bool:
        return not self._spans

    @torch.no_grad()
    def advance(self) -> int:
        if self._tiles:
            self._decode(self._tiles.popleft())
            return DECODING
        self._vocode()
        return VOCODING

    def result(self) -> Samples:
        if self._copied is not None:
            self._copied.synchronize()
        samples: Samples = self._samples.numpy()
        return samples

    def _decode(self, tile: int) -> None:
        mel = self._networks.decode(self._latent.index_select(0, self._rows[tile]))
        self._mel.index_add_(0, self._frames[tile], mel * self._share[tile, :, None])

    def _vocode(self) -> None:
        frames, keep = self._spans.popleft()
        made, frame = self._networks.vocode(self._mel.index_select(0, frames)), self._networks.sizes.frame
        kept = made[keep.start * frame : keep.stop * frame][: len(self._samples) - self._written]
        self._samples[self._written : self._written + len(kept)].copy_(kept, non_blocking=True)
        self._written += len(kept)
        if self.done:
            del self._latent, self._mel, self._rows, self._frames, self._share
            if self._copied is not None:
                self._copied.record()


def noise(seed: tuple[int, ...], *, first_row: int, rows: int, sizes: Sizes) -> torch.Tensor:
    """Rows of a seed's endless noise: (rows, channels, columns), standard normal, float32.

    Drawn on the CPU: every device then begins with the same. A row depends on the seed and its number alone: a track that is
    longer, or begins later, has the same noise at the same place.
    """
    first, last = first_row // _BLOCK, (first_row + rows - 1) // _BLOCK
    drawn = [_block(seed, number, sizes) for number in range(first, last + 1)]
    start = first_row - first * _BLOCK
    return torch.cat(drawn)[start : start + rows]


def _block(seed: tuple[int, ...], number: int, sizes: Sizes) -> torch.Tensor:
    words = np.random.SeedSequence((*seed, number % 2**32)).generate_state(1, np.uint64)
    generator = torch.Generator("cpu").manual_seed(int(words[0]))
    return torch.randn(_BLOCK, sizes.channels, sizes.columns, generator=generator)


def _spans(plan: Plan, windows: Windows, sizes: Sizes) -> list[Span]:
    """What the vocoder is given, one after another."""
    frames = windows.rows * sizes.frames
    needed = frames if plan.loop else -(-plan.samples // sizes.frame)
    size = sizes.window * sizes.frames
    return spans(frames, size=size, context=CONTEXT, needed=needed, circular=plan.loop)
