"""Says, without a GPU, how a `serve_config*.yaml` shares out GPUs: `python -m serve.check`, for `immersivaudio check`."""

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from models.schema import ModuleSettings
from serve.config import BadConfig, Configured, applications
from serve.placement import misfit, model_of, peak_of
from serve.settings import WithMusicSettings

DEPLOYMENTS = {
    "ObjectDetector": "object_detection",
    "FrameSelector": "frame_selection",
    "FrameDescriber": "frame_description",
    "MusicGenerator": "music",
    "SoundGenerator": "sounds",
}
"""Those whose models may use a GPU, and where their settings stand."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 when nothing speaks against it, 1 when something does, 2 when the file cannot be used."""
    parser = argparse.ArgumentParser(prog="immersivaudio check")
    parser.add_argument("config", type=Path)
    parser.add_argument("--gpu-memory", type=float, metavar="GIB")
    given = parser.parse_args(arguments)
    try:
        configured = applications(given.config)
    except BadConfig as error:
        print(f"immersivaudio: {given.config}: {error}", file=sys.stderr)
        return 2
    wrong = []
    for application in configured:
        _show(application, given.gpu_memory)
        wrong += problems(application, given.gpu_memory)
    for sentence in wrong:
        print(f"immersivaudio: {sentence}", file=sys.stderr)
    return 1 if wrong else 0


def problems(application: Configured, gib: float | None) -> list[str]:
    """What speaks against these shares of cards of so many GiB (None: of any size), one sentence each."""
    found = []
    for deployment, own, share in _models(application):
        device = getattr(own, "device", "cpu")
        if device == "cpu" and share:
            found.append(
                f"{deployment} has num_gpus: {share:g}, and {model_of(own)} uses no GPU: nobody else gets that share"
            )
        elif device == "cuda" or share:
            reason = misfit(deployment, own, share=share, total=gib or math.inf)
            found += [reason] if reason else []
    return found


def _models(application: Configured) -> Iterator[tuple[str, ModuleSettings, float]]:
    """Every deployment of a model, its settings, and its share of a GPU."""
    for deployment, setting in DEPLOYMENTS.items():
        own = getattr(application.settings, setting)
        if not isinstance(own, WithMusicSettings):
            yield deployment, own, application.num_gpus.get(deployment, 0)


def _show(application: Configured, gib: float | None) -> None:
    shared = [(deployment, own, share) for deployment, own, share in _models(application) if share]
    for deployment, own, share in shared:
        allowed = f"{share:5g}" + (f" = {min(share, 1) * gib:5.1f} GiB" if gib else "")
        peak = peak_of(own)
        needs = f"needs {peak.least:.1f} GiB, {peak.on_card:.1f} with its largest batches" if peak else "not measured"
        print(f"{deployment:16}{allowed}  {model_of(own)}: {needs}")
    total = sum(share for _, _, share in shared)
    print(f"one replica of each: {total:g} of a card" if shared else "no deployment uses a GPU")


if __name__ == "__main__":
    sys.exit(main())
