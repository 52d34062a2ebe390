"""The command line: `immersivaudio enhance`, `immersivaudio modules`.

stdout carries the result and nothing else: the path it was written to, the record (`--json`), or the file itself (`-o -`).
What happens meanwhile goes to stderr. Exit codes: 0 done, 1 the run failed, 2 bad usage or refused input, 3 no service
answers, 130 stopped by Ctrl-C, 141 whoever read stdout went away.
"""

import inspect
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from client.client import DEFAULT_SERVER, ImmersivaudioClient
from client.errors import ClientError, RequestRefused, RunFailed, ServiceUnreachable
from client.files import Source
from client.findings import printable
from client.flags import options_from, parameters
from client.protocol import finished, result_name
from client.view import NoView, View, view_for
from models.record import AUDIO_FORMATS, VIDEO_FORMATS, ModuleInfo, Options, Run

main = typer.Typer(
    help="Gives a video the sound it deserves: music and sound effects made from what the picture shows.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Server = Annotated[
    str, typer.Option("--server", envvar="IMMERSIVAUDIO_SERVER", metavar="URL", help="Where the service listens.")
]


def _version(wanted: bool) -> None:
    if wanted:
        print(version("immersivaudio"))
        raise typer.Exit


@main.callback()
def _every_command(
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    pass


def enhance(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A video or an image; - reads stdin.")],
    *,
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="OUT",
            help="Where the result goes: a file, a folder, or - for stdout. A file's ending chooses the format. "
            "Default: FILE.immersivaudio.EXT beside FILE; stdout when FILE is -.",
        ),
    ] = None,
    server: Server = DEFAULT_SERVER,
    as_json: Annotated[bool, typer.Option("--json", help="Print the record, and nothing else.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite OUT if it is there.")] = False,
    **given: Any,
) -> None:
    """Give a video or an image the sound it deserves."""
    options = _format_from(output, options_from(given))
    source = _source(file)
    destination = _destination(file, output, as_json=as_json)
    if destination:
        _refuse_to_lose(destination.path(_likely_format(file, options)), file, force=force)
    view = NoView() if as_json else view_for(Console(stderr=True))
    with _exit_codes(), _service(server) as service:
        run = _watched(service, view, source, options)
        if destination is None:
            service.download(run.id, result_name(run), sys.stdout.buffer)
            return
        path = destination.path(run.record.reconstruction.format if run.record.reconstruction else "mp4")
        _refuse_to_lose(path, file, force=force)
        service.download(run.id, result_name(run), path)
        if as_json:
            print(run.record.model_dump_json(indent=2))
        else:
            sys.stdout.buffer.write(os.fsencode(path) + b"\n")


# Typer reads the signature: one flag per option, instead of the keyword arguments that receive them.
_own = inspect.signature(enhance)
enhance.__signature__ = _own.replace(  # type: ignore[attr-defined]
    parameters=[*(p for p in _own.parameters.values() if p.kind is not p.VAR_KEYWORD), *parameters()]
)
main.command()(enhance)


@main.command()
def modules(
    *,
    server: Server = DEFAULT_SERVER,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """Show what stands behind each module: model, device, licence of the weights."""
    with _exit_codes(), _service(server) as service:
        loaded = service.modules()
        if as_json:
            print(TypeAdapter(tuple[ModuleInfo, ...]).dump_json(loaded, indent=2).decode())
            return
        table = Table(
            "module", "part", "model", "device", "profile", "licence of the weights", box=None, pad_edge=False
        )
        for info in loaded:
            cells = (info.module, info.part or "", info.model, info.device, info.profile, info.licence or "")
            table.add_row(*(Text(printable(cell)) for cell in cells))
        console = Console()
        console.print(table, width=None if console.is_terminal else 200)


@contextmanager
def _exit_codes() -> Iterator[None]:
    """Ends the program with one sentence and the code that belongs to it."""
    try:
        yield
        sys.stdout.flush()
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except BrokenPipeError:
        # What is still buffered must not be written when the interpreter closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(141) from None
    except (ClientError, OSError) as error:
        hint = ": is it running, and is --server right?" if isinstance(error, ServiceUnreachable) else ""
        _say(f"{error}{hint}")
        raise typer.Exit(_code(error)) from None


def _code(error: Exception) -> int:
    match error:
        case RunFailed():
            return 2 if error.run.error and error.run.error.kind == "input" else 1
        case RequestRefused():
            return 2
        case ServiceUnreachable():
            return 3
    return 1


def _say(sentence: str) -> None:
    print(f"immersivaudio: {printable(sentence)}", file=sys.stderr)


def _service(server: str) -> ImmersivaudioClient:
    try:
        return ImmersivaudioClient(server)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--server") from None


def _watched(service: ImmersivaudioClient, view: View, source: Source, options: Options) -> Run:
    """The finished run, shown while it went on. Raises RunFailed."""
    run: Run | None = None
    try:
        with view:
            view.sending(source.name if isinstance(source, Path) else "stdin")
            run = service.submit(source, options, name=None if isinstance(source, Path) else "stdin")
            for message in service.events(run.id):
                view.see(run.id, message)
            return finished(service.run(run.id))
    except KeyboardInterrupt:
        if run:
            _say(f"stopped waiting; the run goes on as {run.id}")
        raise


@dataclass(frozen=True)
class _Destination:
    """Where the result goes. Without a name, it gets the input's, and an ending that only the run decides."""

    folder: Path
    name: str | None
    stem: str

    def path(self, ending: str) -> Path:
        return self.folder / (self.name or f"{self.stem}.immersivaudio.{ending}")


def _destination(file: str, output: str | None, *, as_json: bool) -> _Destination | None:
    """None: stdout."""
    if output == "-" or (output is None and file == "-"):
        if as_json:
            raise typer.BadParameter("--json and the result both want stdout: give -o OUT")
        if sys.stdout.isatty():
            raise typer.BadParameter("the result is not for a terminal: give -o OUT, or redirect stdout")
        return None
    stem = "stdin" if file == "-" else Path(file).stem
    path = Path(file).parent if output is None else Path(output)
    found = _Destination(path, None, stem) if path.is_dir() else _Destination(path.parent, path.name, stem)
    if not found.folder.is_dir():
        raise typer.BadParameter(f"there is no folder {found.folder}", param_hint="--output")
    if not os.access(found.folder, os.W_OK):
        raise typer.BadParameter(f"nothing can be written into {found.folder}", param_hint="--output")
    return found


def _source(file: str) -> Source:
    if file == "-":
        return sys.stdin.buffer
    path = Path(file)
    if not path.exists():
        raise typer.BadParameter(f"there is no file {file}", param_hint="FILE")
    if path.is_dir():
        raise typer.BadParameter(f"{file} is a folder", param_hint="FILE")
    if not os.access(path, os.R_OK):
        raise typer.BadParameter(f"{file} cannot be read", param_hint="FILE")
    return path


def _refuse_to_lose(path: Path, file: str, *, force: bool) -> None:
    """Raises typer.BadParameter rather than write over the input, or, unless told to, over anything."""
    if not path.exists():
        return
    if file != "-" and path.samefile(file):
        raise typer.BadParameter(f"{path} is the input: it is never written over", param_hint="--output")
    if not force:
        raise typer.BadParameter(f"{path} is there already: give --force to overwrite it", param_hint="--output")


def _format_from(output: str | None, options: Options) -> Options:
    """The options, with the format that OUT's ending names."""
    ending = Path(output).suffix.lower().removeprefix(".") if output else ""
    if ending not in (*VIDEO_FORMATS, *AUDIO_FORMATS):
        return options
    if options.format not in (None, ending):
        raise typer.BadParameter(f"OUT ends in .{ending}, --format says {options.format}", param_hint="--output")
    return Options.model_validate(options.model_dump(exclude_defaults=True) | {"format": ending})


def _likely_format(file: str, options: Options) -> str:
    """The format of the result as far as one can tell before the service has read the input."""
    ending = Path(file).suffix.lower().removeprefix(".")
    return options.format or (ending if ending in VIDEO_FORMATS else "mp4")
