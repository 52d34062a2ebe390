"""What the commands do with a service: find it, watch a run of it to its end, do something to several runs."""

import os
import shlex
from collections.abc import Callable

import typer
from rich.console import Console

from client.client import DEFAULT_SERVER, ImmersivaudioClient
from client.errors import ClientError, ServiceUnreachable
from client.exit_codes import API_KEY, complain, exit_code, exit_codes, say
from client.findings import printable
from client.protocol import finished
from client.view import NoView, View, view_for
from models.record import Run

SERVER = "IMMERSIVAUDIO_SERVER"
"""The environment variable."""


def service_at(server: str) -> ImmersivaudioClient:
    """The client of the service there, with the key of the environment. Raises typer.BadParameter."""
    api_key = os.environ.get(API_KEY) or None
    try:
        return ImmersivaudioClient(server, api_key=api_key)
    except ValueError as error:
        # The sentence about a key doesn't repeat it.
        raise typer.BadParameter(str(error), param_hint=f"--server or {API_KEY}" if api_key else "--server") from None


def told(run: Run, *, quiet: bool) -> Run:
    """The new run, whose id is told where no view does: it is in no record."""
    if quiet:
        say(f"run {run.id}")
    return run


def watched(service: ImmersivaudioClient, start: Callable[[View], Run], *, quiet: bool, server: str) -> Run:
    """The finished run that `start` begins or finds, shown while it went on. Raises RunFailed, RunCancelled."""
    view = NoView() if quiet else view_for(Console(stderr=True))
    run: Run | None = None
    try:
        with view:
            run = start(view)
            for message in service.events(run.id):
                view.see(run.id, message)
            return finished(service.run(run.id))
    except (KeyboardInterrupt, ServiceUnreachable) as error:
        if run:
            told = "" if server == os.environ.get(SERVER, DEFAULT_SERVER) else f" --server {shlex.quote(server)}"
            this = printable(f"{run.id}{told}")
            say(f"stopped waiting; the run goes on as {run.id}")
            say(f"`immersivaudio follow {this}` watches it, `immersivaudio cancel {this}` stops it")
        elif isinstance(error, KeyboardInterrupt):
            say("stopped before a run was started; sending it again begins anew")
        raise


def for_each(run_ids: list[str], act: Callable[[ImmersivaudioClient, str], None], *, server: str) -> None:
    """Do it to every run, also to those behind one that it couldn't be done to; the first error decides the exit code."""
    code = 0
    with exit_codes(), service_at(server) as service:
        for run_id in run_ids:
            try:
                act(service, run_id)
            except ServiceUnreachable:
                raise
            except ClientError as error:
                complain(error)
                code = code or exit_code(error)
    if code:
        raise typer.Exit(code)
