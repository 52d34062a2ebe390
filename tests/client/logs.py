"""Logs of runs, as the service would write them: a whole one, and those that end otherwise."""

from models.record import (
    Accepted,
    AudioGeneration,
    Box,
    Cancelled,
    DetectedObject,
    Event,
    Failed,
    Files,
    Finished,
    Frame,
    FrameDescription,
    FrameExtraction,
    FrameObjects,
    FrameSelection,
    KeptTrack,
    ModuleDone,
    ModuleRetried,
    Mood,
    ObjectDetection,
    Options,
    Outputs,
    PromptEnhancement,
    RankedCandidate,
    Reconstruction,
    Scene,
    SceneDescription,
    ScenePrompt,
    ScenePrompts,
    Started,
    Stem,
    StemKind,
    Stream,
    VideoInput,
)

DESCRIPTION = "A calm sea.\u2028Under a \x1b[31mred\x1b[0m sky."
"""With a line separator that is legal in JSON, and with colours that a terminal must not take."""


def video_input(name: str = "sea.mp4", options: Options | None = None) -> VideoInput:
    return VideoInput(
        token="0" * 32,
        name=name,
        media="video",
        path="videos/0/source",
        container="mp4",
        size_bytes=1000,
        duration_seconds=12,
        width=960,
        height=540,
        frame_rate=25,
        has_audio=False,
        streams=(Stream(index=0, kind="video", codec="h264"),),
        options=options or Options(),
    )


def a_log(came: VideoInput) -> tuple[Event, ...]:
    """The log of a whole run of a video, one second per event."""
    water = DetectedObject(label="water", score=0.9, box=Box(x0=0, y0=0, x1=9, y1=9))
    objects = FrameObjects(frame=0, width=10, height=10, objects=(water, water))
    frames = tuple(Frame(path=f"frames/{index}.jpg", seconds=index * 1.2) for index in range(10))
    outputs: list[Outputs] = [
        Outputs(frame_extraction=FrameExtraction(model="ffmpeg", folder="frames", count=10, frames=frames)),
        Outputs(
            object_detection=ObjectDetection(
                model="sketch/scene", confidence=0.25, frames=(objects, objects), objects=("water",)
            )
        ),
        Outputs(
            frame_selection=FrameSelection(model="sketch/scene", path="frames/4.jpg", index=4, latent_shape=(512, 16, 29))
        ),
        Outputs(
            frame_description=FrameDescription(
                model="sketch/scene", question=None, text=DESCRIPTION, mood=Mood(valence=0.4, arousal=-0.2)
            )
        ),
        Outputs(
            prompt_enhancement=PromptEnhancement(
                model="templates", music_prompt="calm music", sound_prompt="waves", negative_prompt="noise"
            )
        ),
        *(Outputs(audio_generation=AudioGeneration(stems=(stem(kind),))) for kind in came.options.stems),
        Outputs(
            reconstruction=Reconstruction(
                model="ffmpeg",
                path="runs/0/result.mp4",
                format=came.options.format or "mp4",
                duration_seconds=12,
                picture="copied",
                video_codec="h264",
                audio_codec="aac",
                sample_rate=48000,
                channels=2,
                original_used=False,
                integrated_lufs=-14.02,
                true_peak_dbtp=-1.3,
            )
        ),
    ]  # fmt: skip
    done = [
        ModuleDone(seq=seq, at=seq, module=next(name for name, value in output if value), output=output, seconds=0.5)
        for seq, output in enumerate(outputs, 3)
    ]
    last = len(done) + 3
    return (
        Accepted(seq=1, at=1, video_input=came),
        Started(seq=2, at=2, owner="me"),
        *done,
        Finished(seq=last, at=last),
    )


def of_words(text: str, options: Options | None = None) -> tuple[Event, ...]:
    """The log of a whole run of words alone, one second per event."""
    came = video_input(text, options).model_copy(
        update={"media": "text", "text": text, "container": "txt", "duration_seconds": None, "width": 0, "height": 0}
    )
    skipped = {"frame_extraction", "object_detection", "frame_selection", "frame_description"}
    done = [event for event in a_log(came) if not isinstance(event, ModuleDone) or event.module not in skipped]
    sound = {"format": came.options.format or "wav", "picture": "none", "video_codec": None, "audio_codec": "pcm_s24le"}
    told: list[Event] = []
    for seq, event in enumerate(done, 1):
        at: dict[str, object] = {"seq": seq, "at": seq}
        if isinstance(event, ModuleDone) and (made := event.output.reconstruction):
            at["output"] = Outputs(reconstruction=made.model_copy(update=sound))
        told.append(event.model_copy(update=at))
    return tuple(told)


def stem(kind: StemKind) -> Stem:
    return Stem(
        kind=kind,
        model="sketch/foley" if kind == "sounds" else "sketch/music",
        path=f"runs/0/{kind}.flac",
        duration_seconds=12,
        sample_rate=48000,
        channels=2,
        model_sample_rate=48000,
        model_channels=2,
        prompt="waves",
        negative_prompt="noise",
        seed=7,
        steps=None,
        guidance=None,
        candidates=1,
    )


def a_choice(came: VideoInput) -> tuple[Event, ...]:
    """The log of a whole run that keeps the two candidates of its music, which is a loop."""
    ranking = tuple(RankedCandidate(score=score, path=f"made/music-{at}.flac") for at, score in ((1, 0.2), (2, 0.41)))
    given = {
        "candidates": 2,
        "chosen": 1,
        "score": 0.41,
        "ranking": ranking,
        "loops": True,
        "path": "made/music-2.flac",
    }
    music = stem("music").model_copy(update={**given, "notes": ("2 words at the end of the prompt were not read",)})
    chosen = Outputs(audio_generation=AudioGeneration(stems=(music,)))
    plain = Outputs(audio_generation=AudioGeneration(stems=(stem("music"),)))
    return tuple(
        event.model_copy(update={"output": chosen})
        if isinstance(event, ModuleDone) and event.output == plain
        else event
        for event in a_log(came)
    )


def of_scenes(came: VideoInput) -> tuple[Event, ...]:
    """The log of a whole run of a video of two scenes that has sound and subtitles of its own."""
    spans = ((0, 5.04, 4), (5.04, 12, 7))
    changed: dict[str, dict[str, object]] = {
        "frame_selection": {
            "scenes": tuple(
                Scene(start_seconds=start, end_seconds=end, index=index, path=f"frames/{index}.jpg")
                for start, end, index in spans
            )
        },
        "frame_description": {"later": (SceneDescription(text="A road.", mood=Mood(valence=-0.1, arousal=0.6)),)},
        "prompt_enhancement": {"later": (ScenePrompts(music_prompt="fast music", sound_prompt="cars"),)},
        "reconstruction": {
            "original_used": True,
            "ducked_seconds": 3.25,
            "tracks": (
                KeptTrack(index=1, kind="audio", result="copied"),
                KeptTrack(index=2, kind="subtitle", result="copied"),
                KeptTrack(index=3, kind="subtitle", result="copied"),
                KeptTrack(index=4, kind="subtitle", result="dropped", reason="mp4 holds no \x1b[1mpictures\x1b[0m"),
            ),
            "files": Files(mix="r/mix.flac", original="r/original.flac", descriptions="r/descriptions.vtt"),
        },
    }

    def in_scenes(event: Event) -> Event:
        if not isinstance(event, ModuleDone):
            return event
        if made := event.output.audio_generation:
            later = (ScenePrompt(seconds=5.04, prompt="cars"),)
            stems = tuple(stem.model_copy(update={"later_prompts": later}) for stem in made.stems)
            return event.model_copy(update={"output": Outputs(audio_generation=AudioGeneration(stems=stems))})
        if event.module not in changed:
            return event
        output = getattr(event.output, event.module).model_copy(update=changed[event.module])
        return event.model_copy(update={"output": Outputs.model_validate({event.module: output})})

    return tuple(map(in_scenes, a_log(came)))


def a_failure(came: VideoInput, kind: str = "internal") -> tuple[Event, ...]:
    """The log of a run that fails when it has frames."""
    log = a_log(came)[:3]
    failed = {"seq": 4, "at": 4, "module": "object_detection", "kind": kind, "message": "the detector broke"}
    return (*log, Failed.model_validate(failed))


def a_cancellation(came: VideoInput) -> tuple[Event, ...]:
    """The log of a run that somebody stops when it has frames."""
    return (*a_log(came)[:3], Cancelled(seq=4, at=4))


def a_rocky_run(came: VideoInput) -> tuple[Event, ...]:
    """A whole run whose first worker goes away, after it has tried the detector again."""
    log = a_log(came)
    again = ModuleRetried(seq=4, at=4, module="object_detection", attempt=1, cause="worker_died", pause_seconds=1)
    taken = Started(seq=5, at=5, owner="another")
    rest = (event.model_copy(update={"seq": event.seq + 2}) for event in log[3:])
    return (*log[:3], again, taken, *rest)


def a_rerun(came: VideoInput, of: str) -> tuple[Event, ...]:
    """A rerun that keeps the frames and the music, has an edited description, and finds its objects in the cache."""
    log = a_log(came)
    made = {event.module: event.output for event in log if isinstance(event, ModuleDone)}
    frames, description = made["frame_extraction"].frame_extraction, made["frame_description"].frame_description
    objects = made["object_detection"].object_detection
    assert frames
    assert description
    assert objects
    kept = Outputs(
        frame_extraction=frames.model_copy(update={"origin": "kept"}),
        frame_description=description.model_copy(update={"origin": "edited"}),
        audio_generation=AudioGeneration(stems=(stem("music").model_copy(update={"origin": "kept"}),)),
    )
    cached = Outputs(object_detection=objects.model_copy(update={"origin": "cached"}))
    todo = [
        event.model_copy(update={"output": cached}) if event.module == "object_detection" else event
        for event in log
        if isinstance(event, ModuleDone)
        and event.module not in {"frame_extraction", "frame_description"}
        and event.output != Outputs(audio_generation=AudioGeneration(stems=(stem("music"),)))
    ]
    done = (event.model_copy(update={"seq": seq}) for seq, event in enumerate(todo, 3))
    last = len(todo) + 3
    return (
        Accepted(seq=1, at=1, video_input=came, rerun_of=of, outputs=kept),
        Started(seq=2, at=2, owner="me"),
        *done,
        Finished(seq=last, at=last),
    )
