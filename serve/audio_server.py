"""The deployments that make sound: music, sound effects, and drafts of both."""

from typing import get_args

from models import work
from models.audio_generation import WINDOW_SECONDS
from models.audio_generation.ace_step import AceStepGenerator, AceStepSettings
from models.audio_generation.audioldm2 import AudioLDM2Generator, AudioLDM2Settings
from models.audio_step import Generator, audio_request, generate_audio
from models.record import ModuleInfo, Outputs, StemKind
from models.sketch import SketchAudioSettings
from serve.autoscaling import Backlog
from serve.metrics import RayMetrics
from serve.module_server import ModuleServer
from serve.modules import Task
from serve.settings import AppSettings, AudioSettings, WithMusicSettings
from serve.workspace import StoreWorkspace


class AudioServer(ModuleServer):
    """One audio model: `music` and `sounds` are two deployments of it, or share one. Which stem is made, the task says."""

    module = "audio_generation"

    def __init__(self, settings: AppSettings) -> None:
        super().__init__(settings)
        self._metrics = RayMetrics()
        self._backlog = Backlog(enough=getattr(self.model, "windows_at_once", 0))

    async def run(self, task: Task) -> Outputs:
        """As every module's; what is left of it counts in the backlog from now on."""
        self.check_identity(task)  # what is refused was never in hand
        with self._backlog.holding(task.folder, self._windows(task)):
            return await super().run(task)

    def step(self, task: Task, files: StoreWorkspace) -> Outputs:
        assert task.part is not None
        generator = self.generator(task.part)

        def on_step(done: int, of: int) -> None:
            work.step(done, of)
            self._backlog.step(task.folder, done, of)

        return Outputs(audio_generation=generate_audio(task.record, task.part, generator, files, on_step=on_step))

    def record_autoscaling_stats(self) -> dict[str, float]:
        """Serve asks for it by this name, every few seconds, where the deployment has an `autoscaling_config`."""
        return self._backlog.report()

    def check_health(self) -> None:
        """As every module's."""
        self._metrics.windows(self._backlog.windows)  # here, since Serve asks every two seconds
        super().check_health()

    def _windows(self, task: Task) -> float:
        """How much work the task is: as the model says, or one window for every 10.24 s."""
        assert task.part is not None
        asked = audio_request(task.record, task.part)
        measure = getattr(self.generator(task.part), "windows", None)
        return measure(asked) if measure else asked.seconds / WINDOW_SECONDS

    def generator(self, kind: StemKind) -> Generator:
        """What makes this stem."""
        generator: Generator = self.model
        return generator


class MusicGenerator(AudioServer):
    """The music; also the sound effects, where they are made `with_music`."""

    setting = "music"

    def load(self, settings: AppSettings) -> Generator:
        return load_generator(settings.music, "music")


class SoundGenerator(AudioServer):
    """The sound effects. Not there where they are made `with_music`."""

    setting = "sounds"

    def load(self, settings: AppSettings) -> Generator:
        assert not isinstance(settings.sounds, WithMusicSettings)
        return load_generator(settings.sounds, "sounds")


class Sketches:
    """The sketches of both stems. They share nothing, so both can be at work at once."""

    device = "cpu"
    licence: str | None = None
    at_once = 2

    def __init__(self, settings: SketchAudioSettings) -> None:
        self.by_kind: dict[StemKind, Generator] = {kind: load_generator(settings, kind) for kind in get_args(StemKind)}
        self.model = ", ".join(generator.model for generator in self.by_kind.values())


class DraftGenerator(AudioServer):
    """Drafts of music and sounds, for runs that ask for one. Not there where the real ones are sketches, too."""

    def own(self, settings: AppSettings) -> SketchAudioSettings:
        return SketchAudioSettings()

    def load(self, settings: AppSettings) -> Sketches:
        return Sketches(self.own(settings))

    def generator(self, kind: StemKind) -> Generator:
        generator: Generator = self.model.by_kind[kind]
        return generator

    async def info(self, part: StemKind | None = None) -> ModuleInfo:
        told = await super().info(part)
        model = self.generator(part).model if part else told.model
        return told.model_copy(update={"model": model, "draft": True})


def load_generator(chosen: AudioSettings, kind: StemKind) -> Generator:
    """Whatever makes this kind of stem, by its settings."""
    match chosen:
        case SketchAudioSettings():
            from models.sketch.foley import FoleyGenerator
            from models.sketch.music import MusicGenerator

            return MusicGenerator.load(chosen) if kind == "music" else FoleyGenerator.load(chosen)
        case AudioLDM2Settings():
            return AudioLDM2Generator.load(chosen)
        case AceStepSettings():
            return AceStepGenerator.load(chosen)
