"""Fetches published weights, from the Hugging Face hub or an address.

What goes wrong is said in one sentence, which also says what to do about it.
"""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import ModelUnavailable

if TYPE_CHECKING:
    from models.weights import HubFiles, OneFile, Published

PACKAGES = "`make paper`, or pip install '.[paper]' in the project's folder, installs it"
ELSEWHERE = "`immersivaudio prefetch CONFIG --to FOLDER`, run where there is a network, fetches it"
_CONNECT_SECONDS = 30.0


def from_hub(published: "HubFiles", revision: str | None, cache: Path) -> Path:
    """The folder that holds the files at this revision, downloaded into `cache` unless they are there. Raises ModelUnavailable."""
    from huggingface_hub import snapshot_download

    wanted = published.repository
    try:
        if published.patterns is not None:
            return Path(
                snapshot_download(wanted, revision=revision, allow_patterns=list(published.patterns), cache_dir=cache)
            )
        from diffusers import DiffusionPipeline

        return Path(DiffusionPipeline.download(wanted, revision=revision, cache_dir=str(cache)))
    except ModuleNotFoundError as error:
        missing = f"{published.name} is fetched with {error.name}, which is not installed: {PACKAGES}"
        raise ModelUnavailable(missing) from error
    except Exception as error:  # whatever the hub's client, its transport or a proxy between raise
        raise ModelUnavailable(_why_not(published, error)) from error


def from_address(published: "OneFile", path: Path) -> None:
    """Download the file to `path`: it is there whole, or not at all. Raises ModelUnavailable."""
    import httpx

    if _is_offline():
        raise ModelUnavailable(_forbidden(published))
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            httpx.stream("GET", published.url, follow_redirects=True, timeout=_CONNECT_SECONDS) as answer,
            part.open("wb") as file,
        ):
            answer.raise_for_status()
            for block in answer.iter_bytes():
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except (httpx.HTTPError, OSError) as error:
        part.unlink(missing_ok=True)
        raise ModelUnavailable(f"{published.url} cannot be fetched: {first_line(error)}; {_cure(error)}") from error


def first_line(error: BaseException) -> str:
    """What the error says, short."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _why_not(published: "HubFiles", error: Exception) -> str:
    """The sentence for what the hub's client raised."""
    from huggingface_hub import constants, errors

    reasons = list(_reasons(error))
    page = f"{constants.ENDPOINT}/{published.repository}"

    def is_one(*kinds: type[BaseException]) -> bool:
        return any(isinstance(reason, kinds) for reason in reasons)

    if is_one(errors.GatedRepoError):
        return (
            f"{published.repository} asks those who use it to accept its licence: do so at {page}, "
            "and set HF_TOKEN to a token of the same account"
        )
    if is_one(errors.RevisionNotFoundError):
        return f"{published.repository} has no revision {published.revision}: {page}/commits/main lists those it has"
    if is_one(errors.RepositoryNotFoundError):
        return (
            f"the hub shows no {published.repository}: look whether the name is right at {page}; "
            "if it is a private one, set HF_TOKEN to a token that may read it"
        )
    if any(isinstance(one, errors.HfHubHTTPError) and one.response.status_code in (401, 403) for one in reasons):
        return (
            f"the hub refuses {published.repository}: set HF_TOKEN to a token that is valid and may read it, "
            f"of {constants.ENDPOINT}/settings/tokens"
        )
    if _is_offline():
        return _forbidden(published)
    # the hub's own sentence is the most general one; what it was raised from says more
    return f"{published.name} cannot be fetched from the hub: {first_line(reasons[-1])}; {_cure(error)}"


def _forbidden(published: "Published") -> str:
    from models.weights import HubFiles, folder, hub_cache

    place = hub_cache() if isinstance(published, HubFiles) else folder()
    return f"{published.name} is not in {place}, and HF_HUB_OFFLINE forbids to fetch it: {ELSEWHERE}"


def _cure(error: BaseException) -> str:
    if any(isinstance(reason, OSError) and reason.errno in (errno.ENOSPC, errno.EDQUOT) for reason in _reasons(error)):
        return "make room, or set IMMERSIVAUDIO_WEIGHTS to a folder on a larger disk"
    return f"start again when it can be reached; {ELSEWHERE}"


def _reasons(error: BaseException) -> Iterator[BaseException]:
    """The error, and what it was raised from, to the first one."""
    reason: BaseException | None = error
    while reason is not None:
        yield reason
        reason = reason.__cause__ or reason.__context__


def _is_offline() -> bool:
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)
