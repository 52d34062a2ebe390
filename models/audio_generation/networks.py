"""AudioLDM2's three large networks, each called with few shapes.

A step of the UNet launches about 1,600 kernels; on a fast GPU the launches take many times longer than the arithmetic. So the calls
have fixed shapes: one window or many, always the same rows and the same number of tokens. `torch.compile` compiles each network
once, the UNet for any number of rows, and then records each shape as one CUDA graph, which is launched as one.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from models.audio_generation.failures import memory_is_short
from models.audio_generation.sizes import Sizes
from models.audio_generation.text import Conditioning

logger = logging.getLogger(__name__)


class Networks:
    """UNet, VAE decoder and vocoder of one pipeline. One thread calls them: recorded graphs belong to their thread."""

    def __init__(self, pipeline: Any, *, compiled: bool) -> None:
        """compiled: the networks are compiled by `warm_up`, where that is possible."""
        self.sizes = Sizes.of(pipeline)
        self.device = torch.device(pipeline.device)
        self.compiled = compiled
        self._unet, self._vae, self._vocoder = pipeline.unet, pipeline.vae, pipeline.vocoder
        self._shapes: tuple[int, ...] = ()
        options: dict[str, Any] = {"fullgraph": True}
        if self.device.type == "cuda":
            options["mode"] = "reduce-overhead"

        networks: tuple[Callable[..., torch.Tensor], ...] = (self._predict, self._decode, self._vocode)
        self._run_unet, self._run_vae, self._run_vocoder = (
            torch.compile(network, **options) if compiled else network for network in networks
        )

    def warm_up(self, largest: int) -> int:
        """Compile what is to be compiled, and call it at every shape; return how many windows a call can take, `largest` at most.

        It takes minutes. What cannot be compiled here (on a machine without a C compiler, say) is called as it is, and the log
        says why. Raises what torch raises when not even one window fits into memory, or the device is broken.
        """
        if not self.compiled:
            return largest
        try:
            return self._compile(largest)
        except Exception as error:
            if memory_is_short(error) or not _answers(self.device):
                raise
            logger.warning(
                "the audio model's networks cannot be compiled here, and are slower as they are", exc_info=error
            )
        self.compiled, self._shapes = False, ()
        self._run_unet, self._run_vae, self._run_vocoder = self._predict, self._decode, self._vocode
        # What has been compiled and recorded so far would keep its memory.
        torch._dynamo.reset()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return largest

    def _compile(self, largest: int) -> int:
        sizes, device = self.sizes, self.device
        with _told("the VAE and the vocoder"):
            for _ in range(2):  # the first call compiles, the second records
                self.decode(torch.zeros(sizes.window, sizes.channels, sizes.columns, device=device))
                self.vocode(torch.zeros(sizes.window * sizes.frames, sizes.columns * sizes.frames, device=device))
        while True:
            # rows of a call, two for each window: up to the power of two that holds them
            shapes = [2**power for power in range(1, (2 * largest - 1).bit_length() + 1)]
            try:
                # the largest first: the smaller ones then live in its memory
                for rows in reversed(shapes):
                    self._shapes = (rows,)
                    with _told(f"the UNet for calls of {rows} rows"):
                        self._nothing(rows)
            except Exception as error:  # torch's compiler wraps what it meets in an error of its own
                if largest == 1 or not memory_is_short(error):
                    raise
                largest //= 2
                logger.warning("the memory is too small: the audio model takes %d windows at a time", largest)
            else:
                # Seven at most: should each be compiled by itself after all, the compiler gives up after eight.
                self._shapes = tuple(shapes)
                counted = torch._dynamo.utils.counters
                graphs, skipped = counted["stats"]["unique_graphs"], counted["inductor"]["cudagraph_skips"]
                logger.info("compiled %d graphs; %d of them cannot be recorded", graphs, skipped)
                return largest

    @torch.no_grad()
    def predict(
        self, latents: torch.Tensor, rows: Sequence[int], times: Sequence[int], texts: Sequence[Conditioning]
    ) -> torch.Tensor:
        """The UNet's predictions, float32, of shape (len(rows), channels, window, columns).

        latents: (windows, channels, window, columns). Row n of the call is window `rows[n]` at timestep `times[n]`, with the text
        `texts[n]`. Rows are added to the next shape that was recorded, and taken away again.
        """
        padding = [0] * (self._shape(len(rows)) - len(rows))
        texts = [*texts, *(texts[0] for _ in padding)]
        self._begin()
        given = (
            latents.index_select(0, self.tensor([*rows, *padding])).to(self._unet.dtype),
            self.tensor([*times, *padding]),
            torch.stack([text.generated for text in texts]),
            torch.stack([text.states for text in texts]),
            torch.stack([text.mask for text in texts]),
        )
        if self.compiled:
            # Else each number of rows would be compiled by itself, for minutes.
            for tensor in given:
                torch._dynamo.maybe_mark_dynamic(tensor, 0)
        return self._run_unet(*given)[: len(rows)].float()

    @torch.no_grad()
    def decode(self, latent: torch.Tensor) -> torch.Tensor:
        """The VAE's log-mel frames, float32, (window·frames, mels), of a latent of (window, channels, columns)."""
        self._begin()
        scaled = (latent.permute(1, 0, 2)[None] / self._vae.config.scaling_factor).to(self._vae.dtype)
        return self._run_vae(scaled)[0, 0].float()

    @torch.no_grad()
    def vocode(self, mel: torch.Tensor) -> torch.Tensor:
        """The vocoder's samples, float32, (window·frames·frame,), of log-mel frames (window·frames, mels)."""
        self._begin()
        samples = self._run_vocoder(mel[None].to(self._vocoder.dtype))
        # the transposed convolutions add a few at the end
        return samples[0, : len(mel) * self.sizes.frame].float()

    def pinned(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensor, on the host, where the device can take it from without being waited for."""
        return tensor.pin_memory() if self.device.type == "cuda" else tensor

    def tensor(self, values: Sequence[float]) -> torch.Tensor:
        """The values on the device, without waiting for what is computed there."""
        return self.pinned(torch.tensor(values)).to(self.device, non_blocking=True)

    def _begin(self) -> None:
        """What the call before has returned may be written over: it has been used."""
        if self.compiled:
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]

    def _shape(self, rows: int) -> int:
        return min(shape for shape in self._shapes if shape >= rows) if self._shapes else rows

    def _nothing(self, rows: int) -> None:
        """The UNet on so many rows of nothing: twice, since the first call compiles and the second records."""
        sizes, device, unet = self.sizes, self.device, self._unet
        _, generated, states, *_ = unet.config.cross_attention_dim[0]
        text = Conditioning(
            states=torch.zeros(sizes.text, states, device=device, dtype=unet.dtype),
            mask=torch.ones(sizes.text, device=device, dtype=torch.long),
            generated=torch.zeros(8, generated, device=device, dtype=unet.dtype),
        )
        latents = torch.zeros(1, sizes.channels, sizes.window, sizes.columns, device=device)
        for _ in range(2):
            self.predict(latents, [0] * rows, [0] * rows, [text] * rows)

    def _predict(self, latents: Any, times: Any, generated: Any, states: Any, mask: Any) -> Any:
        return self._unet(
            latents,
            times,
            encoder_hidden_states=generated,
            encoder_hidden_states_1=states,
            encoder_attention_mask_1=mask,
            return_dict=False,
        )[0]

    def _decode(self, scaled: Any) -> Any:
        return self._vae.decoder(self._vae.post_quant_conv(scaled))

    def _vocode(self, mel: Any) -> Any:
        return self._vocoder(mel)


def _answers(device: torch.device) -> bool:
    """Whether the device still works. An error's words do not tell: compilers name CUDA in theirs, too."""
    try:
        return torch.ones(1, device=device).sum().item() == 1
    except Exception:
        return False


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Minutes in which a replica says nothing look like a replica that hangs."""
    start = time.monotonic()
    yield
    logger.info("compiled %s in %.0f s", what, time.monotonic() - start)
