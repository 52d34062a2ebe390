"""What is refused before anything is computed: more than a run may ask for, and more runs than may wait."""

from collections.abc import Sequence

from models.errors import InputTooLarge, TooBusy
from models.frame_extraction import frame_count
from models.record import VideoInput
from serve.active import ActiveRun, ActiveRuns
from serve.modules import no_draft_of
from serve.settings import AppSettings

RETRY_AFTER_SECONDS = 5


class Admission:
    """The limits of the settings."""

    def __init__(self, active: ActiveRuns, settings: AppSettings) -> None:
        self._active = active
        self._settings = settings

    async def check_room(self, key: str | None) -> None:
        """Raise TooBusy when as many runs as are allowed are waiting, or unfinished for this API key."""
        self._check(await self._active.all(), key)

    async def check_place(self, run_id: str, key: str | None) -> None:
        """Raise TooBusy when others took the last place before this run, which is announced already."""
        runs = await self._active.all()
        before = [run.run_id for run in runs]
        self._check(runs[: before.index(run_id)] if run_id in before else runs, key)

    def _check(self, runs: Sequence[ActiveRun], key: str | None) -> None:
        limits = self._settings.runs
        if sum(run.waits_since is not None for run in runs) >= limits.waiting:
            raise TooBusy(f"{limits.waiting} runs are waiting, which is as many as may; try again later")
        if key and sum(run.key == key for run in runs) >= limits.per_key:
            raise TooBusy(
                f"this API key has {limits.per_key} unfinished runs, which is as many as may be; try again later"
            )

    def check_run(self, video_input: VideoInput) -> None:
        """Raise InputTooLarge when the run would take more frames, or make more sound, than is allowed.

        Raises InvalidOptions when it asks for drafts, and nobody makes them.
        """
        options, settings = video_input.options, self._settings
        if options.draft and (full := [kind for kind in options.stems if not settings.makes_draft_of(kind)]):
            raise no_draft_of(" and ".join(full))
        most_frames = settings.frame_extraction.max_frames
        if video_input.duration_seconds is not None:
            frames = frame_count(video_input.duration_seconds, k=options.k)
            if frames > most_frames:
                raise InputTooLarge(f"k = {options.k:g} asks for {frames} frames; at most {most_frames} are taken")
        # Scenes that nobody has counted yet are taken for one in ten seconds.
        scenes = options.scenes if options.scenes != "auto" and video_input.media == "video" else 1
        sound = video_input.sound_seconds(scenes) * len(options.stems) * options.candidates
        if sound > settings.max_audio_seconds:
            raise InputTooLarge(
                f"{sound:g} s of sound are asked for, over all stems and candidates; "
                f"at most {settings.max_audio_seconds:g} s are made for one run"
            )
