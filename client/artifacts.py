"""Names of a run's artifacts, and the endings of the files that they are."""

from pathlib import PurePosixPath

from models.record import VIDEO_FORMATS, Run


def result_name(run: Run) -> str:
    """Name of the artifact that is the run's result. Raises ValueError for a run that has none."""
    if run.record.reconstruction is None:
        raise ValueError(f"run {run.id} has no result")
    return "video" if run.record.reconstruction.format in VIDEO_FORMATS else "audio"


def candidate_endings(run: Run) -> dict[str, str]:
    """Of the run's kept candidates, music-1, music-2 and so on, the endings of their files."""
    made = run.record.audio_generation
    return {name: _ending(key) for stem in made.stems for name, key in stem.kept.items()} if made else {}


def stem_endings(run: Run) -> dict[str, str]:
    """Of what the result's sound is made of, as far as it is there: music, sounds, original, mix."""
    record = run.record
    keys: dict[str, str] = {}
    if record.audio_generation:
        keys |= {stem.kind: stem.path for stem in record.audio_generation.stems}
    if record.reconstruction:
        keys |= record.reconstruction.files.by_name
    return {name: _ending(key) for name, key in keys.items() if name != "descriptions"}


def description_endings(run: Run) -> dict[str, str]:
    """Of the scenes' descriptions as a text track, where they were asked for."""
    made, asked = run.record.reconstruction, run.record.video_input.options.descriptions
    return {"descriptions": _ending(made.files.descriptions)} if asked and made and made.files.descriptions else {}


def _ending(key: str) -> str:
    """That of a key in the service's store, as part of a file's name here, whatever the service made it of."""
    ending = PurePosixPath(key).suffix.removeprefix(".")
    return ending if ending.isascii() and ending.isalnum() else "bin"
