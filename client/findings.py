"""What each module found, in a few words: text for a terminal, whoever draws it.

Names, descriptions and messages come from files and models that nobody here wrote, so no control character of theirs gets through.
"""

from collections import Counter
from collections.abc import Callable

from client import scenes
from models.record import (
    AudioGeneration,
    Cause,
    DetectedObject,
    KeptTrack,
    Module,
    ModuleRetried,
    Progress,
    Reconstruction,
    Record,
    Run,
    Stem,
)

LABELS_SHOWN = 12

_KINDS = {
    "audio": "sound track",
    "subtitle": "subtitle track",
    "attachment": "attachment",
    "data": "data track",
    "video": "other picture",
}
_CAUSES: dict[Cause, str] = {
    "worker_died": "worker died",
    "deadline": "took too long",
    "out_of_memory": "out of memory",
    "storage": "storage failed",
}


def printable(text: str) -> str:
    """The text on one line, without anything that moves a terminal's cursor or changes its colours."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def findings(record: Record, module: Module) -> list[str]:
    """What the module's output says, a line each. Empty until the module has run."""
    return [printable(line) for line in _FINDINGS[module](record)]


def models(record: Record, module: Module) -> list[str]:
    """Names of the models behind the module's output, each once."""
    output = getattr(record, module)
    if isinstance(output, AudioGeneration):
        return list(dict.fromkeys(printable(stem.model) for stem in output.stems))
    return [printable(output.model)] if hasattr(output, "model") else []


def origin(record: Record, module: Module) -> str:
    """Where the module's output comes from when this run has not made it: cached, kept, edited. Empty for one that it has."""
    output = getattr(record, module)
    made = output.stems if isinstance(output, AudioGeneration) else (output,)
    origins = {getattr(one, "origin", "computed") for one in made}
    return "" if len(origins) != 1 or origins == {"computed"} else str(origins.pop())


def line(record: Record, module: Module, *, seconds: float | None = None) -> str:
    """What a module found, by which model, and how long that took or where it comes from instead, on one line."""
    took = f"{seconds:.1f} s" if seconds is not None else ""
    by = [part for part in (*models(record, module), origin(record, module) or took) if part]
    return f"{module}: {'; '.join(findings(record, module))}" + (f" ({', '.join(by)})" if by else "")


def state(run: Run) -> str:
    """How the run stands."""
    ended = f" after {run.ended_at - run.created_at:.1f} s" if run.ended_at is not None else ""
    if run.error:
        return f"failed in {run.error.module}{ended}: {printable(run.error.message)}"
    return f"{run.status}{ended}"


def summary(run: Run) -> list[str]:
    """All that is known of a run, a line each."""
    told = [state(run)]
    if run.rerun_of:
        told.append(f"a rerun of {run.rerun_of}")
    if run.retries:
        told.append(f"{_count(run.retries, 'attempt')} failed and made again")
    if run.resumptions:
        told.append(f"taken over {_count(run.resumptions, 'time')}")
    there = (module for module in run.record.modules if findings(run.record, module))
    lines = [line(run.record, module, seconds=seconds_taken(run, module)) for module in there]
    note = draft_note(run.record) if run.record.reconstruction else None
    return [printable(f"run {run.id}: {'; '.join(told)}"), *lines, *([note] if note else [])]


def retried(event: ModuleRetried) -> str:
    """What happened to a module that is tried again."""
    part = f"{event.part} " if event.part else ""
    return f"{part}tried again ({_CAUSES[event.cause]})"


def busy(seconds: float) -> str:
    """What a service that is busy is waited for."""
    return f"the service is busy; trying again in {seconds:g} s"


def size(count: int) -> str:
    """A number of bytes."""
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"


def how_far(progress: Progress) -> list[str]:
    """How far a module is, and, if that is known, how long it will go on."""
    step, left = f"step {progress.step} of {progress.steps}", progress.seconds_left
    if left is None:
        return [step]
    if left < 100:
        return [step, f"about {left:.0f} s left"]
    return [step, f"about {left / 60:.0f} min left" if left < 6000 else f"about {left / 3600:.1f} h left"]


def draft_note(record: Record) -> str | None:
    """A plain word about a result that no trained model had a part in; None when there is nothing to say."""
    names = [name for module in record.modules for name in models(record, module) if name.startswith("sketch/")]
    if not names:
        return None
    return f"This is a draft, made without trained models ({', '.join(dict.fromkeys(names))})."


def seconds_taken(run: Run, module: Module) -> float | None:
    """How long the module took; of stems made side by side, the longest."""
    return max((timing.seconds for timing in run.timings if timing.module == module), default=None)


def _video_input(record: Record) -> list[str]:
    came = record.video_input
    size = f"{came.width}×{came.height}"
    heard = came.reference
    like = [f"to sound like {heard.name} ({heard.seconds:.1f} s)"] if heard else []
    if came.media == "text":
        return [f"“{came.name}”: words alone, for {came.result_seconds:g} s of sound", *like]
    if came.media == "image":
        return [f"{came.name}: {came.container} image, {size}; shown for {came.result_seconds:g} s", *like]
    picture = came.first("video")
    codec = picture.codec if picture else ""
    rate = f", {came.frame_rate:.4g} fps" if came.frame_rate else ""
    sound = "with sound" if came.has_audio else "without sound"
    return [f"{came.name}: {came.result_seconds:.1f} s, {size}{rate}, {codec} in {came.container}, {sound}", *like]


def _frame_extraction(record: Record) -> list[str]:
    found = record.frame_extraction
    return [_count(found.count, "frame")] if found else []


def _object_detection(record: Record) -> list[str]:
    found = record.object_detection
    if not found:
        return []
    seen = Counter(label for frame in found.frames for label in _labels(frame.objects))
    if not seen:
        return ["no objects"]
    shown = [f"{label} in {_count(number, 'frame')}" for label, number in seen.most_common(LABELS_SHOWN)]
    hidden = len(seen) - len(shown)
    return [", ".join(shown) + (f" and {hidden} more" if hidden else "")]


def _labels(objects: tuple[DetectedObject, ...]) -> list[str]:
    """Each label once, best score first."""
    return list(dict.fromkeys(found.label for found in objects))


def _audio_generation(record: Record) -> list[str]:
    found = record.audio_generation
    if not found:
        return []
    mixed = len({stem.origin for stem in found.stems}) > 1
    lines = []
    for stem in found.stems:
        lines.append(_stem(stem) + (f", {stem.origin}" if mixed and stem.origin != "computed" else ""))
        lines += [f"{stem.kind}: {note}" for note in stem.notes]
    return lines


def _stem(stem: Stem) -> str:
    parts = [f"{stem.kind}: {stem.duration_seconds:.1f} s", f"seed {stem.seed}"]
    if stem.later_prompts:
        parts.append(_count(1 + len(stem.later_prompts), "scene"))
    parts += scenes.takes(stem)
    if stem.steps is not None:
        parts.append(_count(stem.steps, "step"))
    if stem.candidates > 1:
        parts.append(_choice(stem))
    if stem.loops:
        parts.append("a loop")
    if stem.reference:
        weight = f" (weight {stem.reference_weight:g})" if stem.reference_weight is not None else ""
        parts.append(f"like the reference{weight}")
    if (stem.model_sample_rate, stem.model_channels) != (stem.sample_rate, stem.channels):
        parts.append(f"made at {_rate(stem.model_sample_rate, stem.model_channels)}")
    if stem.prompt_words_unread and not stem.notes:  # which versions before the third did not have
        parts.append(f"the prompt's last {_count(stem.prompt_words_unread, 'word')} not read")
    return ", ".join(parts)


def _choice(stem: Stem) -> str:
    """Of several candidates, which this is, and why."""
    if stem.score is None:
        return f"{stem.candidates} made, not ranked"
    # What the third version of the record added; before it, nobody knows which one was the best.
    which = f"the {_ordinal(stem.chosen + 1)} of" if stem.ranking else "best of"
    return f"{which} {stem.candidates} (score {stem.score:.2f})"


def _reconstruction(record: Record) -> list[str]:
    found = record.reconstruction
    if not found:
        return []
    picture = "" if found.picture == "none" else f", picture {found.picture}"
    sound = f"{found.audio_codec} {_rate(found.sample_rate, found.channels)}"
    lines = [f"{found.format}, {found.duration_seconds:.1f} s{picture}, {sound}"]
    if found.integrated_lufs is not None:
        peak = f", peak {found.true_peak_dbtp:.1f} dBTP" if found.true_peak_dbtp is not None else ""
        lines.append(f"loudness {found.integrated_lufs:.1f} LUFS{peak}")
    if found.original_used:
        lowered = f", the rest lowered for {found.ducked_seconds:.1f} s of it" if found.ducked_seconds else ""
        lines.append(f"with the video's own sound{lowered}")
    return [*lines, *_tracks(found), *_files(found), *found.notes]


def _tracks(found: Reconstruction) -> list[str]:
    """What became of the source's other streams: how many are there as they were, and which are not."""
    same = Counter(_KINDS[track.kind] for track in found.tracks if track.result == "copied")
    kept = ", ".join(_count(number, kind) for kind, number in same.items())
    changed = (_changed(track) for track in found.tracks if track.result != "copied")
    return [*([f"kept: {kept}"] if kept else []), *changed]


def _changed(track: KeptTrack) -> str:
    why = f": {track.reason}" if track.reason else ""
    return f"{_KINDS[track.kind]} (stream {track.index}) {track.result}{why}"


def _files(found: Reconstruction) -> list[str]:
    names = ", ".join(found.files.by_name)
    return [f"also there: {names}"] if names else []


def _rate(sample_rate: int, channels: int) -> str:
    return f"{sample_rate / 1000:g} kHz {({1: 'mono', 2: 'stereo'}).get(channels, f'{channels} channels')}"


def _ordinal(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th") if number // 10 % 10 != 1 else "th"
    return f"{number}{ending}"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


_FINDINGS: dict[Module, Callable[[Record], list[str]]] = {
    "video_input": _video_input,
    "frame_extraction": _frame_extraction,
    "object_detection": _object_detection,
    "frame_selection": scenes.selected,
    "frame_description": scenes.described,
    "prompt_enhancement": scenes.prompted,
    "audio_generation": _audio_generation,
    "reconstruction": _reconstruction,
}
