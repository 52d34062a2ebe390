"""Examples for the OpenAPI description. Made of the record's own classes, so that they cannot say what the service would not."""

from http import HTTPStatus
from typing import Any

from pydantic import BaseModel

from models.record import (
    MODULES,
    SCHEMA_VERSION,
    Accepted,
    Box,
    Cancelled,
    DetectedObject,
    Event,
    Finished,
    Frame,
    FrameDescription,
    FrameExtraction,
    FrameObjects,
    FrameSelection,
    ModuleDone,
    ModuleInfo,
    Mood,
    ObjectDetection,
    Options,
    Outputs,
    Problem,
    Progress,
    PromptEnhancement,
    Record,
    Rerun,
    Scene,
    Started,
    Stream,
    TextRun,
    UploadedRun,
    VideoInput,
    fold,
)

_TOKEN = "9e107d9d372bb6826bd81d3542a419d6"  # noqa: S105 (the MD5 of an example)
_FRAMES = f"videos/{_TOKEN}/made/0f343b0931126a206ee2fd3e0a2dff41"
_INPUT = VideoInput(
    token=_TOKEN,
    name="beach.mp4",
    media="video",
    path=f"videos/{_TOKEN}/source.mp4",
    container="mp4",
    size_bytes=2_345_678,
    duration_seconds=12.0,
    width=1280,
    height=720,
    frame_rate=25.0,
    has_audio=False,
    streams=(Stream(index=0, kind="video", codec="h264"),),
    options=Options(seed=7, sound_prompt="gentle surf"),
)
_OUTPUTS = (
    Outputs(
        frame_extraction=FrameExtraction(
            model="ffmpeg", folder=_FRAMES, count=1, frames=(Frame(path=f"{_FRAMES}/0001.jpg", seconds=6.0),)
        )
    ),
    Outputs(
        object_detection=ObjectDetection(
            model="yolov9c",
            confidence=0.25,
            frames=(
                FrameObjects(
                    frame=0,
                    width=1280,
                    height=720,
                    objects=(DetectedObject(label="surfboard", score=0.8, box=Box(x0=410, y0=300, x1=620, y1=380)),),
                ),
            ),
            objects=("surfboard",),
        )
    ),
    Outputs(
        frame_selection=FrameSelection(
            model="resnet18",
            path=f"{_FRAMES}/0001.jpg",
            index=0,
            latent_shape=(512, 16, 29),
            scenes=(Scene(start_seconds=0, end_seconds=12, index=0, path=f"{_FRAMES}/0001.jpg"),),
        )
    ),
    Outputs(
        frame_description=FrameDescription(
            model="moondream2",
            question="Describe shortly this image",
            text="Waves roll onto a sunlit beach.",
            mood=Mood(valence=0.6, arousal=-0.2),
        )
    ),
    Outputs(
        prompt_enhancement=PromptEnhancement(
            model="template",
            music_prompt="Instrumental music for: waves roll onto a sunlit beach",
            sound_prompt="Gentle surf. Waves roll onto a sunlit beach, surfboard",
            negative_prompt="Low quality, average quality.",
            objects=("surfboard",),
        )
    ),
)
_EVENTS: list[Event] = [
    Accepted(schema_version=SCHEMA_VERSION, seq=1, at=1_790_000_000.0, video_input=_INPUT),
    Started(schema_version=SCHEMA_VERSION, seq=2, at=1_790_000_000.1, owner="5f0c"),
    *(
        ModuleDone(
            schema_version=SCHEMA_VERSION, seq=seq, at=1_790_000_000.0 + seq, module=module, output=output, seconds=0.9
        )
        for seq, (module, output) in enumerate(zip(MODULES[1:], _OUTPUTS, strict=False), start=3)
    ),
]
_PROGRESS = Progress(module="audio_generation", part="music", step=12, steps=20)
_LAST = Finished(schema_version=SCHEMA_VERSION, seq=10, at=1_790_000_020.0)

FRAME = f"{_FRAMES}/0001.jpg"
_ID = "0b5c9f5d2a1e4c0f8a7b6c5d4e3f2a1b"
_STOPPED = Cancelled(schema_version=SCHEMA_VERSION, seq=len(_EVENTS) + 1, at=1_790_000_012.0)
RUN = fold(_ID, _EVENTS).model_dump(mode="json")
ACCEPTED_RUN = fold(_ID, _EVENTS[:1]).model_dump(mode="json")
CANCELLED_RUN = fold(_ID, [*_EVENTS, _STOPPED]).model_dump(mode="json")
SSE_STREAM = (
    "".join(f"id: {event.seq}\nevent: {event.type}\ndata: {event.model_dump_json()}\n\n" for event in _EVENTS[:2])
    + f"event: progress\ndata: {_PROGRESS.model_dump_json()}\n\n: heartbeat\n\n"
    + f"id: {_LAST.seq}\nevent: finished\ndata: {_LAST.model_dump_json()}\n\n"
)
NDJSON_STREAM = "".join(item.model_dump_json() + "\n" for item in (*_EVENTS[:2], _PROGRESS, _LAST))
LOADED = [
    ModuleInfo(module="frame_extraction", model="ffmpeg", device="cpu", profile="any").model_dump(mode="json"),
    ModuleInfo(
        module="audio_generation",
        part="music",
        model="cvssp/audioldm2-music",
        device="cuda:0",
        profile="paper",
        licence="CC-BY-NC-SA-4.0",
    ).model_dump(mode="json"),
    ModuleInfo(
        module="audio_generation", part="music", model="sketch/music", device="cpu", profile="sketch", draft=True
    ).model_dump(mode="json"),
]

UPLOAD = "2f1b0b5c9f5d4c0f8a7b6c5d4e3f2a1b"
_SOUND = "8c2e0b5c9f5d4c0f8a7b6c5d4e3f2a1b"  # an upload too
_WORDS = {"text": "rain on a tin roof", "options": {"seconds": 20}}


def _json(kind: type[BaseModel], example: Any) -> dict[str, Any]:
    return {"schema": kind.model_json_schema(), "example": example}


RERUN: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": _json(
                Rerun, {"options": {"seed": 8}, "edits": {"prompt_enhancement": {"sound_prompt": "gulls, far away"}}}
            )
        },
    }
}
MODULE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "A record that has what the module reads. For `video_input`, the id of an upload, or words, and options.",
        "content": {
            "application/json": {
                "schema": {"anyOf": [kind.model_json_schema() for kind in (Record, UploadedRun, TextRun)]},
                "examples": {
                    "a record": {"value": RUN["record"]},
                    "video_input": {"value": {"upload": UPLOAD, "options": {"seed": 7}}},
                    "video_input of words": {"value": _WORDS},
                },
            }
        },
    }
}
SUBMISSION: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"anyOf": [UploadedRun.model_json_schema(), TextRun.model_json_schema()]},
                "examples": {
                    "an upload": {"value": {"upload": UPLOAD, "options": {"seed": 7}, "reference": _SOUND}},
                    "words alone": {"value": _WORDS},
                },
            },
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "additionalProperties": False,
                    "properties": {
                        "file": {"type": "string", "format": "binary", "description": "A video or an image."},
                        "reference": {
                            "type": "string",
                            "format": "binary",
                            "description": "A sound to sound like, or a video with one, of at most 16 MiB. "
                            "Its first 30 s are listened to, where the model can.",
                        },
                        "options": {
                            "type": "string",
                            "contentMediaType": "application/json",
                            "contentSchema": Options.model_json_schema(),
                            "description": "What is asked for, as JSON.",
                        },
                    },
                },
                "example": {
                    "file": "(the bytes of beach.mp4)",
                    "reference": "(the bytes of drums.wav; without one, the words alone decide)",
                    "options": '{"sound_prompt": "gentle surf", "seed": 7}',
                },
            },
        },
    }
}


def of(description: str, example: Any) -> dict[str, Any]:
    """An OpenAPI response with a JSON example."""
    return {"description": description, "content": {"application/json": {"example": example}}}


def file(description: str) -> dict[str, Any]:
    """An OpenAPI response that is a file."""
    content = {"schema": {"type": "string", "format": "binary"}, "example": "(bytes)"}
    return {"description": description, "content": {"video/mp4": content, "audio/flac": content, "image/jpeg": content}}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI responses for errors."""
    found: dict[int | str, dict[str, Any]] = {}
    for status in map(HTTPStatus, statuses):
        example = Problem(title=status.phrase, status=status, detail=_DETAILS[status]).model_dump()
        content = {"application/problem+json": {"schema": Problem.model_json_schema(), "example": example}}
        found[int(status)] = {"description": status.phrase, "content": content}
    return found


_DETAILS = {
    400: "Part exceeded maximum size of 64KB.",
    409: "0 of 2345678 bytes have come in",
    404: "there is no run 'latest': an id is 32 hexadecimal digits",
    413: "the file is larger than the 64 MiB that are taken in one request",
    415: "this is text, not a video or an image",
    416: "the file has 2345678 bytes",
    422: "options: seed: Input should be less than 4294967296, not 5000000000",
    429: "100 runs are waiting, which is as many as may; try again later",
    500: "the service failed; its log has the details",
    503: "not every module answers yet; try again",
}
