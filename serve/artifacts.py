"""The files of a run, by the names that people know them by."""

import re

from models.record import Record, Run, Stem

ARTIFACTS = (
    "video", "audio", "music", "sounds", "original", "mix", "descriptions", "frame", "source", "reference",
)  # fmt: skip
KEPT = "of the candidates that a run keeps music-1, music-2 …, sounds-1 …"

_NOT_MADE = {
    "original": "the video has no sound of its own that is heard, or it was replaced",
    "descriptions": "nothing was described",
}
_WITHOUT_A_PICTURE = ("video", "frame", "original", "descriptions")
CANDIDATE = re.compile(r"(music|sounds)-\d{1,2}", re.ASCII)


def artifacts(record: Record) -> dict[str, str | None]:
    """Keys of the run's files, by their names; None for what is not there. Kept candidates have names of their own."""
    came, made = record.video_input, record.reconstruction
    found: dict[str, str | None] = dict.fromkeys(ARTIFACTS)
    found["source"] = came.path
    found["reference"] = came.reference.path if came.reference else None
    found["frame"] = record.selected.path if record.selected else None
    for stem in _stems(record):
        found |= {stem.kind: stem.path, **stem.kept}
    if made:
        found |= made.files.by_name  # stems in the format asked for
        found |= {"audio": made.path} if made.picture == "none" else {"video": made.path, "audio": made.files.mix}
    return found


def _stems(record: Record) -> tuple[Stem, ...]:
    return record.audio_generation.stems if record.audio_generation else ()


def why(run: Run, name: str) -> str:
    """Why the run has no such file."""
    made, options = run.record.reconstruction, run.record.video_input.options
    kind, _, candidate = name.partition("-")
    if kind in ("music", "sounds") and kind not in options.stems:
        return "it was not asked for"
    if run.record.video_input.media == "text" and name in _WITHOUT_A_PICTURE:
        return "it is made of words alone, without a picture: the result is its audio"
    if candidate:
        return _why_no_candidate(run, kind)
    if made and (name == "video" or (name == "audio" and made.picture != "none")):
        return f"the result is {made.format}: ask for {'audio' if name == 'video' else 'video'}"
    if name == "reference":
        return "it was given none"
    return _NOT_MADE.get(name, f"the run is {run.status}") if made else f"the run is {run.status}"


def _why_no_candidate(run: Run, kind: str) -> str:
    if not run.record.video_input.options.keep_candidates:
        return "candidates were not asked to be kept"
    made = next((stem.candidates for stem in _stems(run.record) if stem.kind == kind), None)
    if made is None:
        return f"the run is {run.status}"
    return f"one was made: it is {kind}" if made == 1 else f"{made} were made: {kind}-1 to {kind}-{made}"
