"""The command line: `immersivaudio enhance`, `compose`, `follow`, `rerun`, `cancel`, `delete`, `show`, `modules`, `ui`, and more.

stdout carries the result and nothing else: the path it was written to, the record (`--json`), or the file itself (`-o -`).
What happens meanwhile goes to stderr. Exit codes: 0 done, 1 the run failed or was cancelled, 2 bad usage or refused input, 3 no
service answers or it stays busy, 130 stopped by Ctrl-C, 141 whoever read stdout went away.
"""

from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter
from rich.console import Console

from client import deployment
from client.client import DEFAULT_SERVER, ImmersivaudioClient
from client.connection import BadKey
from client.delivery import (
    STDOUT,
    delivery_to,
    format_from,
    likely_format,
    name_from,
    print_record,
    readable,
    source_from,
    words_from,
)
from client.errors import ClientError, RunCancelled
from client.exit_codes import API_KEY, exit_codes, say
from client.findings import state, summary
from client.flags import PANEL, changes_from, edit_flags, edits_from, option_flags, options_from, with_flags
from client.view import View, modules_table
from client.watching import SERVER, for_each, service_at, told, watched
from models.record import ModuleInfo, Run

main = typer.Typer(
    help="Gives a video the sound it deserves: music and sound effects made from what the picture shows. "
    f"Where the service asks for an API key, it is read from the environment variable {API_KEY}.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Server = Annotated[str, typer.Option("--server", envvar=SERVER, metavar="URL", help="Where the service listens.")]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")]
RunIds = Annotated[list[str], typer.Argument(metavar="RUN...", help="The runs' ids.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the record, and nothing else.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite OUT if it is there.")]
Stems = Annotated[
    bool,
    typer.Option(
        "--stems",
        help="Write what the sound is made of beside the result, too: music, sounds, the video's own sound, the mix.",
    ),
]
_OUT = "Where the result goes: a file, a folder, or - for stdout."


def _version(wanted: bool) -> None:
    if wanted:
        print(version("immersivaudio"))
        raise typer.Exit


@main.callback()
def _every_command(
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    pass


@main.command()
@with_flags(option_flags())
def enhance(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A video or an image; - reads stdin.")],
    *,
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="OUT",
            help=f"{_OUT} A file's ending chooses the format. "
            "Default: FILE.immersivaudio.EXT beside FILE; stdout when FILE is -.",
        ),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            "--reference",
            metavar="SOUND",
            help="A sound to sound like, or a video with one, of at most 16 MiB; its first 30 s, where the model can listen.",
            rich_help_panel=PANEL,
        ),
    ] = None,
    stems: Stems = False,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
    force: Force = False,
    **given: Any,
) -> None:
    """Give a video or an image the sound it deserves."""
    options = format_from(output, options_from(given))
    source = source_from(file)
    sound = readable(reference, flag="--reference") if reference is not None else None
    path = source if isinstance(source, Path) else None
    beside = str(path.parent) if path else STDOUT
    stem = path.stem if path else "stdin"
    delivery = delivery_to(output or beside, stem=stem, source=path, stems=stems, as_json=as_json, force=force)
    delivery.refuse_to_lose(likely_format=likely_format(file, options))

    def start(view: View) -> Run:
        view.sending(path.name if path else "stdin")
        name = None if path else "stdin"
        run = service.submit(source, options, name=name, reference=sound, on_upload=view.sent, on_busy=view.busy)
        return told(run, quiet=as_json)

    with exit_codes(), service_at(server) as service:
        delivery.deliver(service, watched(service, start, quiet=as_json, server=server))


@main.command()
@with_flags(option_flags())
def compose(
    words: Annotated[str, typer.Argument(metavar="WORDS", help="What is to be heard; - reads stdin.")],
    *,
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="OUT",
            help=f"{_OUT} A file's ending chooses the format. Default: WORDS.immersivaudio.EXT in this folder.",
        ),
    ] = None,
    stems: Stems = False,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
    force: Force = False,
    **given: Any,
) -> None:
    """Make a sound of words alone, without a picture."""
    options = format_from(output, options_from(given))
    text = words_from(words)
    delivery = delivery_to(output or ".", stem=name_from(text), stems=stems, as_json=as_json, force=force)
    delivery.refuse_to_lose(likely_format=options.format or "wav")

    def start(view: View) -> Run:
        return told(service.submit_text(text, options, on_busy=view.busy), quiet=as_json)

    with exit_codes(), service_at(server) as service:
        delivery.deliver(service, watched(service, start, quiet=as_json, server=server))


@main.command()
@with_flags([*option_flags(rerun=True), *edit_flags()])
def rerun(
    run_id: RunId,
    *,
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="OUT",
            help=f"{_OUT} A file's ending chooses the format. Default: NEW_RUN.immersivaudio.EXT in this folder.",
        ),
    ] = None,
    stems: Stems = False,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
    force: Force = False,
    **given: Any,
) -> None:
    """Make a new run from RUN, with some things changed. What they don't touch is kept; nothing is uploaded again."""
    options = format_from(output, changes_from(given))
    changes = options.model_dump(mode="json", exclude_unset=True)
    edits = edits_from(given)
    delivery = delivery_to(output or ".", stems=stems, as_json=as_json, force=force)
    delivery.refuse_to_lose(likely_format="")

    def start(view: View) -> Run:
        return told(service.rerun(run_id, changes, edits, on_busy=view.busy), quiet=as_json)

    with exit_codes(), service_at(server) as service:
        delivery.deliver(service, watched(service, start, quiet=as_json, server=server))


@main.command()
def follow(
    run_id: RunId,
    *,
    output: Annotated[
        str | None, typer.Option("-o", "--output", metavar="OUT", help=f"{_OUT} Default: the result is not fetched.")
    ] = None,
    stems: Stems = False,
    server: Server = DEFAULT_SERVER,
    as_json: AsJson = False,
    force: Force = False,
) -> None:
    """Watch a run, from its beginning to its end; with -o, write its result."""
    if stems and not output:
        raise typer.BadParameter("the stems go beside the result: give -o OUT", param_hint="--stems")
    delivery = delivery_to(output, stems=stems, as_json=as_json, force=force) if output else None
    if delivery:
        delivery.refuse_to_lose(likely_format="")
    with exit_codes(), service_at(server) as service:
        run = watched(service, lambda _: service.run(run_id), quiet=as_json, server=server)
        if delivery:
            delivery.deliver(service, run)
        elif as_json:
            print_record(run)


@main.command()
def cancel(run_ids: RunIds, *, server: Server = DEFAULT_SERVER) -> None:
    """Stop runs. What they have computed stays; a run that has ended stays as it is."""

    def stop(service: ImmersivaudioClient, run_id: str) -> None:
        run = service.cancel(run_id)
        say(f"{run_id}: {state(run)}" if run.status == "cancelled" else f"{run_id} had ended: {state(run)}")

    for_each(run_ids, stop, server=server)


@main.command()
def delete(run_ids: RunIds, *, server: Server = DEFAULT_SERVER) -> None:
    """Delete ended runs and what they made. One that still goes on is only cancelled."""

    def remove(service: ImmersivaudioClient, run_id: str) -> None:
        try:
            service.delete(run_id)
        except RunCancelled as error:
            # Its own sentence doesn't say that the run is still there.
            raise ClientError(f"{run_id} had not ended: it is cancelled now; delete it again to delete it") from error
        say(f"{run_id} is deleted")

    for_each(run_ids, remove, server=server)


@main.command()
def show(
    run_id: RunId,
    *,
    server: Server = DEFAULT_SERVER,
    as_json: Annotated[bool, typer.Option("--json", help="Print the run, its record in it, as JSON.")] = False,
) -> None:
    """Show a run as it is now."""
    with exit_codes(), service_at(server) as service:
        run = service.run(run_id)
        print(run.model_dump_json(indent=2) if as_json else "\n".join(summary(run)))


@main.command()
def ui(
    *,
    server: Server = DEFAULT_SERVER,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; 0.0.0.0 opens the page to the network.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option("--port", min=1, max=65535, help="Default: the first free one from 7860 on.")
    ] = None,
    share: Annotated[
        bool,
        typer.Option(
            "--share",
            help="Also give out a public link through Gradio's relay: everybody who has it can use the page, and the service.",
        ),
    ] = False,
) -> None:
    """Serve the page: a small sound studio in the browser. With IMMERSIVAUDIO_UI_USERS (name:password,…) people sign in."""
    from client.ui import USERS, BadUsers, start  # what it needs is installed where the page is wanted

    with exit_codes():
        try:
            start(server, host=host, port=port, share=share)
        except ValueError as error:
            hint = USERS if isinstance(error, BadUsers) else API_KEY if isinstance(error, BadKey) else "--server"
            raise typer.BadParameter(str(error), param_hint=hint) from None


@main.command()
def modules(
    *,
    server: Server = DEFAULT_SERVER,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """Show what stands behind each module: model, device, licence of the weights."""
    with exit_codes(), service_at(server) as service:
        loaded = service.modules()
        if as_json:
            print(TypeAdapter(tuple[ModuleInfo, ...]).dump_json(loaded, indent=2).decode())
            return
        console = Console()
        console.print(modules_table(loaded), width=None if console.is_terminal else 200)


for _command in (deployment.prefetch, deployment.check):
    main.command()(_command)
