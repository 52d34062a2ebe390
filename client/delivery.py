"""The command line's files: what is sent, where the result goes, and what may not be written over."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import typer
from pydantic import ValidationError

from client.artifacts import candidate_endings, description_endings, result_name, stem_endings
from client.client import ImmersivaudioClient
from client.exit_codes import say
from client.files import Source
from models.record import AUDIO_FORMATS, VIDEO_FORMATS, Options, Run, TextRun

STDOUT = "-"
NAME_LENGTH = 40
# Endings that promise something else than what the file would hold.
_NOT_WRITTEN = frozenset(
    {".avi", ".wmv", ".flv", ".ts", ".mpg", ".mpeg", ".m4v", ".3gp", ".gif", ".ogv", ".aac", ".opus", ".aiff", ".wma"}
)


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """What becomes of a run's result. Without a name, it gets one made of `stem` and an ending that only the run decides."""

    folder: Path | None
    """None: the result goes to stdout."""
    name: str | None = None
    stem: str | None = None
    """None: the run's id."""
    source: Path | None = None
    """The input, which is never written over."""
    stems: bool = False
    """Whether what the sound is made of is written, too."""
    as_json: bool
    force: bool

    def refuse_to_lose(self, *, likely_format: str) -> None:
        """Raises typer.BadParameter when the result, were it of this format, would be written over something."""
        if self.folder and (self.name or self.stem):
            self._refuse_to_lose(self._path(self.folder, self.stem or "", likely_format))

    def deliver(self, service: ImmersivaudioClient, run: Run) -> None:
        """Write the result, with what else is wanted beside it, and to stdout its path, or the record, or the result itself."""
        others = self._others(run)
        if self.folder is None:
            service.download(run.id, result_name(run), sys.stdout.buffer)
            for kind in others:
                say(f"{kind} stay with the service: give -o OUT to have them, too")
            return
        made = run.record.reconstruction.format if run.record.reconstruction else "mp4"
        ending = _format_named_by(self.name)
        if ending not in (None, made):
            raise typer.BadParameter(f"{self.name} ends in .{ending}, the result is {made}", param_hint="--output")
        path = self._path(self.folder, self.stem or _as_name(run.id), made)
        beside = {
            kind: {name: path.with_name(f"{path.stem}.{name}.{ending}") for name, ending in endings.items()}
            for kind, endings in others.items()
        }
        for file in (path, *(file for files in beside.values() for file in files.values())):
            self._refuse_to_lose(file)
        service.download(run.id, result_name(run), path)
        for kind, files in beside.items():
            for name, file in files.items():
                service.download(run.id, name, file)
            say(f"{kind} are beside it: {', '.join(file.name for file in files.values())}")
        if self.as_json:
            print_record(run)
        else:
            sys.stdout.buffer.write(os.fsencode(path) + b"\n")

    def _others(self, run: Run) -> dict[str, dict[str, str]]:
        """What is written beside the result, as it is called: names of artifacts, and endings of their files."""
        found = {
            "the candidates": candidate_endings(run),
            "the stems": stem_endings(run) if self.stems else {},
            "the descriptions": description_endings(run),
        }
        return {kind: endings for kind, endings in found.items() if endings}

    def _path(self, folder: Path, stem: str, ending: str) -> Path:
        return folder / (self.name or f"{stem}.immersivaudio.{ending}")

    def _refuse_to_lose(self, path: Path) -> None:
        if not path.exists():
            return
        if self.source and path.samefile(self.source):
            raise typer.BadParameter(f"{path} is the input: it is never written over", param_hint="--output")
        if not self.force:
            raise typer.BadParameter(f"{path} is there already: give --force to overwrite it", param_hint="--output")


def delivery_to(
    output: str, *, stem: str | None = None, source: Path | None = None, stems: bool = False, as_json: bool, force: bool
) -> Delivery:
    """To a file, a folder, or stdout. Raises typer.BadParameter when nothing can be written there."""
    if output == STDOUT:
        if as_json:
            raise typer.BadParameter("--json and the result both want stdout: give -o OUT")
        if sys.stdout.isatty():
            raise typer.BadParameter("the result is not for a terminal: give -o OUT, or redirect stdout")
        return Delivery(folder=None, stems=stems, as_json=as_json, force=force)
    path = Path(output)
    folder, name = (path, None) if path.is_dir() else (path.parent, path.name)
    if not folder.is_dir():
        raise typer.BadParameter(f"there is no folder {folder}", param_hint="--output")
    if not os.access(folder, os.W_OK):
        raise typer.BadParameter(f"nothing can be written into {folder}", param_hint="--output")
    return Delivery(folder=folder, name=name, stem=stem, source=source, stems=stems, as_json=as_json, force=force)


def source_from(file: str) -> Source:
    """What is sent: a file that can be read, or stdin. Raises typer.BadParameter."""
    return sys.stdin.buffer if file == STDOUT else readable(file, flag="FILE")


def words_from(words: str) -> str:
    """The words that a sound is made of, or stdin's for -. Raises typer.BadParameter."""
    text = sys.stdin.buffer.read().decode(errors="replace").strip() if words == STDOUT else words
    try:
        return TextRun(text=text).text
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise typer.BadParameter(fault, param_hint="WORDS") from None


def name_from(words: str) -> str | None:
    """The first of the words as part of a file's name: letters and digits, joined by hyphens. None where there are none."""
    plain = "".join(character if character.isalnum() else " " for character in words)
    name = ""
    for word in plain.split():
        longer = f"{name}-{word}" if name else word[:NAME_LENGTH]
        if len(longer) > NAME_LENGTH:
            break
        name = longer
    return name or None


def readable(file: str, *, flag: str) -> Path:
    """A file that can be read. Raises typer.BadParameter about this flag."""
    path = Path(file)
    if not file or not path.exists():  # an empty name would be this folder
        raise typer.BadParameter(f"there is no file {file or repr(file)}", param_hint=flag)
    if path.is_dir():
        raise typer.BadParameter(f"{file} is a folder", param_hint=flag)
    if not os.access(path, os.R_OK):
        raise typer.BadParameter(f"{file} cannot be read", param_hint=flag)
    return path


def format_from(output: str | None, options: Options) -> Options:
    """The options, with the format that OUT's ending names."""
    ending = _format_named_by(output)
    if ending is None:
        foreign = Path(output).suffix.lower() if output else ""
        if foreign in _NOT_WRITTEN:
            made = ", ".join((*VIDEO_FORMATS, *AUDIO_FORMATS))
            raise typer.BadParameter(
                f"{foreign} is not among the formats that are written: {made}", param_hint="--output"
            )
        return options
    if options.format not in (None, ending):
        raise typer.BadParameter(f"OUT ends in .{ending}, --format says {options.format}", param_hint="--output")
    return options.model_copy(update={"format": ending})


def likely_format(file: str, options: Options) -> str:
    """The format of the result as far as one can tell before the service has read the input."""
    ending = Path(file).suffix.lower().removeprefix(".")
    return options.format or (ending if ending in VIDEO_FORMATS else "mp4")


def print_record(run: Run) -> None:
    """The record, to stdout."""
    print(run.record.model_dump_json(indent=2))


def _format_named_by(name: str | None) -> str | None:
    """The format that the name's ending stands for."""
    ending = Path(name or "").suffix.lower().removeprefix(".")
    return ending if ending in (*VIDEO_FORMATS, *AUDIO_FORMATS) else None


def _as_name(run_id: str) -> str:
    """A run's id as part of a file's name, whatever the service made it of."""
    return "".join(character if character.isalnum() or character in "-_" else "_" for character in run_id)
