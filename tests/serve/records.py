"""Records and outputs for tests that are not about what is in them."""

from models.audio import STEM_CHANNELS, STEM_SAMPLE_RATE
from models.record import (
    AudioGeneration,
    Frame,
    FrameDescription,
    FrameExtraction,
    FrameSelection,
    Module,
    Mood,
    ObjectDetection,
    Options,
    Outputs,
    PromptEnhancement,
    Reconstruction,
    Record,
    Reference,
    Scene,
    SceneDescription,
    ScenePrompts,
    Stem,
    StemKind,
    Stream,
    VideoInput,
)

TOKEN = "0" * 32


def video_input(**changes: object) -> VideoInput:
    """A ten-second video without sound."""
    given: dict[str, object] = {
        "token": TOKEN,
        "name": "clip.mp4",
        "media": "video",
        "path": f"videos/{TOKEN}/source.mp4",
        "container": "mp4",
        "size_bytes": 1000,
        "duration_seconds": 10.0,
        "width": 64,
        "height": 36,
        "frame_rate": 25.0,
        "has_audio": False,
        "streams": (Stream(index=0, kind="video", codec="h264"),),
        "options": Options(seed=1),
    }
    return VideoInput.model_validate({**given, **changes})


def image_input() -> VideoInput:
    """A still image."""
    return video_input(name="photo.jpg", media="image", container="jpg", duration_seconds=None, frame_rate=None)


def reference(token: str = "1" * 32) -> Reference:
    """A sound that the video above is to sound like."""
    return Reference(token=token, name="drums.wav", path=f"videos/{TOKEN}/references/{token}.flac", seconds=3)


def stem(kind: StemKind) -> Stem:
    return Stem(
        kind=kind,
        model="test",
        path=f"runs/x/{kind}.flac",
        duration_seconds=10,
        sample_rate=STEM_SAMPLE_RATE,
        channels=STEM_CHANNELS,
        model_sample_rate=16000,
        model_channels=1,
        prompt="p",
        negative_prompt="",
        seed=1,
        steps=None,
        guidance=None,
        candidates=1,
    )


def film() -> Record:
    """A ten-second video of three scenes, each with two frames, up to its prompts."""
    frames = tuple(
        Frame(path=f"videos/x/{number:04}.jpg", seconds=at) for number, at in enumerate((1, 2, 4, 6, 8, 9), start=1)
    )
    scenes = tuple(
        Scene(start_seconds=start, end_seconds=end, index=index, path=frames[index].path)
        for start, end, index in ((0, 3, 0), (3, 7, 2), (7, 10, 4))
    )
    texts = ("A dog.", "A cat.", "A cow.")
    moods = tuple(Mood(valence=0.1 * number, arousal=0) for number in range(3))
    described = [SceneDescription(text=text, mood=mood) for text, mood in zip(texts, moods, strict=True)]
    return Record(
        video_input=video_input(options=Options(seed=1, scenes=3)),
        frame_extraction=FrameExtraction(model="t", folder="videos/x", count=6, frames=frames),
        object_detection=ObjectDetection(model="t", confidence=0.25, frames=(), objects=("dog",)),
        frame_selection=FrameSelection(
            model="t", path=frames[0].path, index=0, latent_shape=(512, 16, 29), scenes=scenes
        ),
        frame_description=FrameDescription(
            model="t", question="?", text=texts[0], mood=moods[0], later=tuple(described[1:])
        ),
        prompt_enhancement=PromptEnhancement(
            model="t",
            music_prompt="m0",
            sound_prompt="s0",
            negative_prompt="n",
            later=tuple(ScenePrompts(music_prompt=f"m{number}", sound_prompt=f"s{number}") for number in (1, 2)),
        ),
    )


def output(module: Module, part: StemKind | None = None) -> Outputs:
    """A plausible output of a module."""
    frame = Frame(path="videos/x/0001.jpg", seconds=5)
    match module:
        case "frame_extraction":
            return Outputs(frame_extraction=FrameExtraction(model="t", folder="videos/x", count=1, frames=(frame,)))
        case "object_detection":
            return Outputs(object_detection=ObjectDetection(model="t", confidence=0.25, frames=(), objects=("dog",)))
        case "frame_selection":
            chosen = FrameSelection(model="t", path=frame.path, index=0, latent_shape=(512, 16, 29))
            return Outputs(frame_selection=chosen)
        case "frame_description":
            return Outputs(frame_description=FrameDescription(model="t", question="?", text="A dog."))
        case "prompt_enhancement":
            prompts = PromptEnhancement(model="t", music_prompt="m", sound_prompt="s", negative_prompt="n")
            return Outputs(prompt_enhancement=prompts)
        case "audio_generation":
            assert part is not None
            return Outputs(audio_generation=AudioGeneration(stems=(stem(part),)))
        case "reconstruction":
            made = Reconstruction(
                model="t",
                path="runs/x/result.mp4",
                format="mp4",
                duration_seconds=10,
                picture="copied",
                video_codec="h264",
                audio_codec="aac",
                sample_rate=STEM_SAMPLE_RATE,
                channels=STEM_CHANNELS,
                original_used=False,
                integrated_lufs=-14,
                true_peak_dbtp=-1.5,
            )
            return Outputs(reconstruction=made)
    raise ValueError(module)
