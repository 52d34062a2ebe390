"""Fetches every published weight that a `serve_config*.yaml` names: `python -m serve.prefetch`, for `immersivaudio prefetch`."""

import argparse
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from models import weights
from models.errors import ModelUnavailable
from models.fetching import ELSEWHERE, PACKAGES
from models.schema import ModuleSettings
from serve.config import BadConfig, applications

OFFLINE = "HF_HUB_OFFLINE"
AGAIN = f"run this again where there is a network, and without {OFFLINE}"


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 when all of them are there and whole, 1 when one is not, 2 when the file cannot be used."""
    parser = argparse.ArgumentParser(prog="immersivaudio prefetch")
    parser.add_argument("config", type=Path)
    parser.add_argument("--to", type=Path)
    parser.add_argument("--verify", action="store_true")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    logging.getLogger("huggingface_hub").propagate = False  # it prints by itself
    if given.to:
        os.environ[weights.FOLDER] = str(given.to.absolute())
    try:
        wanted = named_by(given.config)
    except (BadConfig, ModelUnavailable) as error:
        _say(f"{given.config}: {error}")
        return 2
    if not wanted:
        _say(f"{given.config} names no published weights")
    try:
        looked_at = [(one, (_verified if given.verify else _fetched)(one)) for one in wanted]
    except ModuleNotFoundError as error:
        _say(f"these weights are fetched with {error.name}, which is not installed: {PACKAGES}")
        return 2
    there = {one: listed for one, listed in looked_at if listed}
    _show(there)
    if len(there) < len(wanted):
        _say(f"{len(wanted) - len(there)} of {len(wanted)} are missing or damaged")
        return 1
    return 0


def named_by(config: Path) -> list[weights.Published]:
    """Every published weight that the file's settings name, once each. Raises BadConfig and ModelUnavailable."""
    settings = [value for app in applications(config) for _, value in app.settings]
    wanted = [one for own in settings if isinstance(own, ModuleSettings) for one in own.published()]
    return list(dict.fromkeys(wanted))


def _fetched(one: weights.Published) -> weights.Listed | None:
    """What there is of it now; None, and a word on it, where it cannot be had."""
    try:
        return weights.renew(one)
    except ModelUnavailable as error:
        _say(str(error).replace(ELSEWHERE, AGAIN))
        return None


def _verified(one: weights.Published) -> weights.Listed | None:
    """What is listed of it; None, and a word on it, where it is not there as it was fetched."""
    try:
        broken = weights.damaged(one)
    except ModelUnavailable as error:
        _say(str(error))
        return None
    for path in broken:
        _say(f"{path} is gone, or is not what was fetched: `immersivaudio prefetch CONFIG` fetches it again")
    return None if broken else weights.listing().weights[one.key]


def _show(there: Mapping[weights.Published, weights.Listed]) -> None:
    """What there is, and what makes the service use it, and it alone."""
    if not there:
        return
    total = 0
    for one, listed in there.items():
        size, files = sum(file.size for file in listed.files.values()), len(listed.files)
        total += size
        print(f"{size / 1e6:10,.1f} MB  {files:3} file{'s' if files > 1 else ' '}  {_called(one, listed)}")
    print(f"{total / 1e6:10,.1f} MB  in {weights.folder()}; their digests are in weights.json")
    print(
        f"\nA service that is to use these, and never the network:\n  export {weights.FOLDER}={weights.folder()} {OFFLINE}=1"
    )


def _called(one: weights.Published, listed: weights.Listed) -> str:
    """Its name, and what tells it from any other of that name."""
    if isinstance(one, weights.OneFile):
        (file,) = listed.files.values()
        return f"{one.name}  sha256 {file.sha256}" + ("" if one.sha256 else "  (of what came: nothing is pinned)")
    pinned = "" if one.revision == listed.commit else "  (what the hub had when it was fetched: nothing is pinned)"
    return f"{one.repository}  commit {listed.commit}{pinned}"


def _say(sentence: str) -> None:
    print(f"immersivaudio: {sentence}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
