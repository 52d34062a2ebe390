"""A finished run's result, as the page shows it: what `<iv-studio>` is given, and the files to download."""

from html import escape
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from client.artifacts import candidate_endings, result_name, stem_endings
from client.findings import printable
from client.page.frames import viewable
from client.page.strip import STEMS
from models.record import VIDEO_FORMATS, Record, Run, Stem

_TYPES = {
    "mp4": "video/mp4", "mov": "video/quicktime", "mkv": "video/x-matroska", "webm": "video/webm",
    "wav": "audio/wav", "flac": "audio/flac", "mp3": "audio/mpeg", "m4a": "audio/mp4", "ogg": "audio/ogg",
}  # fmt: skip
_LABELS: dict[str | None, str] = {"original": "The video's own sound", "mix": "The mix", **STEMS}


def shown(run: Run, *, drafts: bool) -> dict[str, Any]:
    """All that `<iv-result>` shows of a run that has ended. drafts: the service has more than drafts."""
    return {"studio": studio(run), "scenes": editable(run, drafts=drafts), "downloads": downloads(run)}


def studio(run: Run) -> dict[str, Any] | None:
    """What `<iv-studio>` plays; None for a run without a result. Addresses are those of the page's own routes."""
    made, came = run.record.reconstruction, run.record.video_input
    if made is None or run.status != "finished":
        return None
    stems = stem_endings(run)
    described = run.record.frame_description
    return {
        "title": printable(came.name),
        "kind": "video" if made.format in VIDEO_FORMATS else "audio",
        "result": {
            "url": _url(run, result_name(run)),
            "type": _TYPES[made.format],
            "name": _file_name(run, made.format),
        },
        "audio": _url(run, "audio") if made.files.mix else None,
        "poster": _picture(run.record.selected.path if run.record.selected else None),
        "seconds": made.duration_seconds,
        "scenes": _scenes(run.record),
        "original": _url(run, "original") if "original" in stems else None,
        "compare": came.media == "video",
        "stems": [{"name": name, "label": _label(name), "url": _url(run, name)} for name in stems if name != "mix"],
        "volumes": {
            "music": came.options.music_volume_db,
            "sounds": came.options.sound_volume_db,
            "original_rate": came.options.original,
            "ducked": made.ducked_seconds > 0,
        },
        "descriptions": _url(run, "descriptions") if described and made.files.descriptions else None,
        "peaks": f"studio/runs/{run.id}/peaks/{'mix' if made.files.mix else 'audio'}",
        "candidates": _candidates(run),
    }


def editable(run: Run, *, drafts: bool) -> dict[str, Any] | None:
    """What `<iv-scenes>` shows; None for a run that came to no prompts. `drafts`: the service has more than drafts."""
    record, options = run.record, run.record.video_input.options
    prompts = record.prompt_enhancement
    if prompts is None or run.ended_at is None:
        return None
    seen = record.video_input.media != "text"
    scenes = [
        {
            **scene,
            "picture": _picture(place.path if seen else None),
            "music": words.music_prompt,
            "sounds": words.sound_prompt,
            "music_take": words.music_take,
            "sounds_take": words.sound_take,
        }
        for scene, place, words in zip(_scenes(record), record.scenes, prompts.scenes, strict=False)
    ]
    return {
        "run": run.id,
        "rerun_of": run.rerun_of,
        "scenes": scenes,
        "music": options.music,
        "sounds": options.sounds,
        "described": record.frame_description is not None,
        "draft": options.draft,
        "drafts": drafts,
    }


def downloads(run: Run) -> str:
    """The files of a run, as a list of links. Empty for a run without a result."""
    made = run.record.reconstruction
    if made is None or run.status != "finished":
        return ""
    stems = stem_endings(run)
    files: dict[str, tuple[str, str]] = {"The result": (result_name(run), made.format)}
    files |= {_label(name): (name, ending) for name, ending in stems.items()}
    if made.files.descriptions:
        files["What was seen, as subtitles"] = ("descriptions", "vtt")
    files |= {_label(name): (name, ending) for name, ending in candidate_endings(run).items()}
    links = [_link(run, label, name, ending) for label, (name, ending) in files.items()]
    links.append(f'<li><a href="studio/runs/{run.id}/record" download>The record of the run</a> <span>json</span></li>')
    return f'<section class="iv-downloads" aria-label="Downloads"><h3>Downloads</h3><ul>{"".join(links)}</ul></section>'


def _link(run: Run, label: str, name: str, ending: str) -> str:
    part = "" if name in ("video", "audio") else f".{name}"
    wanted = _file_name(run, ending, part=part)
    address = f"{_url(run, name)}?download={quote(wanted, safe='')}"
    return f'<li><a href="{escape(address)}" download>{escape(label)}</a> <span>{escape(ending)}</span></li>'


def _picture(path: str | None) -> str | None:
    """Address of a picture that a browser can show."""
    return f"studio/files/{quote(path)}" if path and viewable(path) else None


def _url(run: Run, name: str) -> str:
    return f"studio/runs/{run.id}/files/{name}"


def _file_name(run: Run, ending: str, *, part: str = "") -> str:
    """As the command line would call the file."""
    stem = PurePath(printable(run.record.video_input.name)).stem or "result"
    return f"{stem}.immersivaudio{part}.{ending}"


def _label(name: str) -> str:
    kind, _, candidate = name.partition("-")
    words = _LABELS.get(kind, kind)
    return f"{words}, candidate {candidate}" if candidate else words


def _scenes(record: Record) -> list[dict[str, Any]]:
    described = record.frame_description
    texts = [printable(scene.text) for scene in described.scenes] if described else []
    texts += [""] * (len(record.scenes) - len(texts))
    return [
        {"start": scene.start_seconds, "end": scene.end_seconds, "text": text}
        for scene, text in zip(record.scenes, texts, strict=False)
    ]


def _candidates(run: Run) -> list[dict[str, Any]]:
    made = run.record.audio_generation
    return [one for stem in made.stems for one in _ranked(run, stem)] if made else []


def _ranked(run: Run, stem: Stem) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "label": _label(name),
            "score": stem.ranking[int(name.rpartition("-")[2]) - 1].score,
            "chosen": int(name.rpartition("-")[2]) - 1 == stem.chosen,
            "url": _url(run, name),
        }
        for name in stem.kept
    ]
