"""The commands for who runs the service. The service's own programs are asked, as children: the client does not know its inside."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from client.exit_codes import say

Config = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="The service's configuration, e.g. serve_config.gpu.yaml.")
]


def prefetch(
    config: Config,
    *,
    to: Annotated[
        Path | None,
        typer.Option(
            "--to",
            metavar="FOLDER",
            help="Where to. Default: where the service looks for them, $IMMERSIVAUDIO_WEIGHTS or ~/.cache/immersivaudio.",
        ),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Fetch nothing; compare every file with the digest that it was fetched with."),
    ] = False,
) -> None:
    """Fetch the weights that CONFIG names, and check them: before the first start, or for a site without a network."""
    _ask("serve.prefetch", config, *(("--to", to) if to else ()), *(("--verify",) if verify else ()))


def check(
    config: Config,
    *,
    gpu_memory: Annotated[
        float | None,
        typer.Option("--gpu-memory", min=1, metavar="GIB", help="Whether it fits on cards of so many GiB."),
    ] = None,
) -> None:
    """Show how CONFIG shares out GPUs, and say what speaks against it."""
    _ask("serve.check", config, *(("--gpu-memory", gpu_memory) if gpu_memory else ()))


def _ask(program: str, *arguments: object) -> None:
    if find_spec("ray") is None:
        say("this needs what the service needs: pip install '.[paper]' in the project's folder")
        raise typer.Exit(2)
    asked = subprocess.run([sys.executable, "-m", program, *map(str, arguments)], check=False)
    raise typer.Exit(asked.returncode)
