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
from models.audio_generation.windows import Joining, Windows, joints, lay, spans

# Mel frames on either side of what is kept of the vocoder's output: it hears about 20 (measured, at real size).
CONTEXT = 32

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
        return _rows_of_a_step(self.guidance)


def cost_of_a_clip(steps: int, guidance: float) -> int:
    """UNet rows' worth of a window that is a track of its own: its steps, and its samples."""
    return steps * _rows_of_a_step(guidance) + DECODING + VOCODING


def _rows_of_a_step(guidance: float) -> int:
    return 1 if guidance == 1 else 2


class Track:
    """A plan being carried out.

    While it is denoised, `waiting` holds the windows whose predictions the step still needs; when the last one is given, the
    step is taken. Afterwards `decode` has to be called until it is `done`.
    """

    def __init__(self, plan: Plan, networks: Networks, scheduler: Any, *, overlap: int) -> None:
        """scheduler: diffusers', of this track alone. overlap: rows that neighbouring windows have in common.

        What takes time is done here, in the caller's thread; until it begins, a track has none of the device's memory.
        """
        sizes = networks.sizes
        self.plan = plan
        self._device = networks.device
        windows = lay(sizes.rows(plan.samples), size=sizes.window, overlap=overlap, circular=plan.loop)
        self._windows = len(windows)
        joined = joints(windows, plan.joining)
        self._index = networks.pinned(torch.from_numpy(windows.index))
        self._cover = networks.pinned(torch.from_numpy(joined.cover))
        self._weight = networks.pinned(torch.from_numpy(joined.weight))
        self._noise = networks.pinned(noise(plan.seed, first_row=plan.first_row, rows=windows.rows, sizes=sizes))
        self._decoding = _Decoding(plan, windows, networks)
        self._scheduler = scheduler
        scheduler.set_timesteps(plan.steps)  # on the CPU: a loop that asks the device for the next time waits for it
        scheduler.set_begin_index(0)
        self._times: list[int] = scheduler.timesteps.tolist()
        self._step = 0

    def begin(self) -> None:
        """Take the device's memory that it needs."""
        self._index, self._cover, self._weight = (
            tensor.to(self._device, non_blocking=True) for tensor in (self._index, self._cover, self._weight)
        )
        self._latent = self._noise.to(self._device, non_blocking=True) * self._scheduler.init_noise_sigma
        del self._noise
        self._predicted = self._latent.new_empty((*self._index.shape, *self._latent.shape[1:]))
        self._begin_step()

    @property
    def cost(self) -> int:
        """All the work, in UNet rows."""
        return self._windows * self.plan.steps * self.plan.cost_of_a_window + self._decoding.cost

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
        return self._decoding.done

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

    def decode(self) -> int:
        """One unit of the work that is left when all steps are taken; returns its cost."""
        return self._decoding.advance()

    def result(self) -> Samples:
        """float32, (samples,): exactly as many as planned, or, of a loop, as its rows have. Waits for the device."""
        return self._decoding.result()

    def _begin_step(self) -> None:
        self.waiting = deque(range(self._windows))
        self._missing = self._windows
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
            self._decoding.begin(self._latent)
            del self._latent, self._predicted, self._scaled, self._scheduler, self._index, self._cover, self._weight
        else:
            self._begin_step()


class _Decoding:
    """A latent on its way to samples, window by window.

    The VAE's decoder normalises and attends over everything that it is given, so it is given what it was trained on: windows of one
    size, which overlap, and whose log-mel frames are cross-faded. The vocoder is a convolution: what is kept of its output is
    what it would be if it heard the whole.
    """

    def __init__(self, plan: Plan, windows: Windows, networks: Networks) -> None:
        sizes = networks.sizes
        self._networks = networks
        fine = windows.times(sizes.frames)
        size, needed = sizes.window * sizes.frames, -(-plan.samples // sizes.frame)
        if plan.loop:
            needed = fine.rows
        pieces = spans(fine.rows, size=size, context=CONTEXT, needed=needed, circular=plan.loop)
        self._rows = networks.pinned(torch.from_numpy(windows.index))
        self._frames = networks.pinned(torch.from_numpy(fine.index))
        self._share = networks.pinned(torch.from_numpy(fine.share))
        self._heard = networks.pinned(torch.from_numpy(np.stack([piece.index for piece in pieces])))
        self._mel_shape = (fine.rows, sizes.columns * sizes.frames)
        self._tiles = deque(range(len(windows)))
        self._spans = deque(enumerate(piece.keep for piece in pieces))
        self._samples = windows.rows * sizes.row if plan.loop else plan.samples
        self._made: list[torch.Tensor] = []
        self._copied: torch.cuda.Event | None = None
        self.cost = len(self._tiles) * DECODING + len(self._spans) * VOCODING

    @property
    def done(self) -> bool:
        return not self._spans

    def begin(self, latent: torch.Tensor) -> None:
        self._latent = latent
        self._rows, self._frames, self._share, self._heard = (
            tensor.to(latent.device, non_blocking=True)
            for tensor in (self._rows, self._frames, self._share, self._heard)
        )
        self._mel = torch.zeros(self._mel_shape, device=latent.device)

    @torch.no_grad()
    def advance(self) -> int:
        if self._tiles:
            self._decode(self._tiles.popleft())
            return DECODING
        self._vocode(*self._spans.popleft())
        return VOCODING

    def result(self) -> Samples:
        if self._copied is not None:
            self._copied.synchronize()
        samples: Samples = torch.cat(self._made)[: self._samples].numpy()
        return samples

    def _decode(self, tile: int) -> None:
        mel = self._networks.decode(self._latent.index_select(0, self._rows[tile]))
        self._mel.index_add_(0, self._frames[tile], mel * self._share[tile, :, None])

    def _vocode(self, piece: int, keep: slice) -> None:
        made, frame = self._networks.vocode(self._mel.index_select(0, self._heard[piece])), self._networks.sizes.frame
        kept = made[keep.start * frame : keep.stop * frame]
        on_a_gpu = kept.device.type == "cuda"
        self._made.append(torch.empty(len(kept), pin_memory=on_a_gpu).copy_(kept, non_blocking=True))
        if self.done:
            del self._latent, self._mel, self._rows, self._frames, self._share, self._heard
            if on_a_gpu:
                self._copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
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
