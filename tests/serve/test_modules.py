"""What was computed once is found again, by whoever may; and a change that would change an output finds nothing."""

from typing import Any, get_args

import pytest

from models.errors import OtherModel
from models.inputs import depends_on
from models.record import AudioGeneration, FrameObjects, Module, Mood, Options, Outputs, Record, StemKind
from serve.modules import Modules, Task, Unit, units
from serve.store import Store
from tests.serve import records

pytest_plugins = ("tests.serve.stores",)


class Server:
    """Says how often it was asked, and what for."""

    def __init__(self, unit: Unit, identity: str | None = "model 1", store: Store | None = None) -> None:
        self.unit, self.told, self.tasks, self.store = unit, identity, list[Task](), store

    async def run(self, task: Task) -> Outputs:
        if task.identity != self.told:
            raise OtherModel("another model by now")
        self.tasks.append(task)
        if self.unit.part is None or self.store is None:
            return records.output(self.unit.module, self.unit.part)
        stem = records.stem(self.unit.part).model_copy(update={"path": f"{task.folder}/{self.unit.part}.flac"})
        await self.store.write(stem.path, b"sound")
        return Outputs(audio_generation=AudioGeneration(stems=(stem,)))

    async def identity(self) -> str | None:
        return self.told


DETECTION = Unit("object_detection")


@pytest.fixture
def store(url: str) -> Store:
    return Store(url)


@pytest.fixture
def record() -> Record:
    return full_record()


def full_record(**options: object) -> Record:
    given = Options.model_validate({"seed": 1, **options})
    record = Record(video_input=records.video_input(options=given))
    for unit in units(record):
        record = record.append(records.output(unit.module, unit.part))
    return record


async def compute(store: Store, server: Server, record: Record, key: str | None = None) -> Outputs:
    return await Modules(store, {server.unit: server}).compute(server.unit, record, run_id=None, key=key)


async def test_the_second_time_nothing_is_computed_and_the_output_says_so(store: Store, record: Record) -> None:
    server = Server(DETECTION)
    first, second = [await compute(store, server, record) for _ in range(2)]
    assert len(server.tasks) == 1
    assert first.object_detection is not None
    assert second.object_detection is not None
    assert (first.object_detection.origin, second.object_detection.origin) == ("computed", "cached")
    assert second.object_detection.objects == first.object_detection.objects


async def test_stems_are_found_one_by_one(store: Store, record: Record) -> None:
    for part in get_args(StemKind):
        server = Server(Unit("audio_generation", part), store=store)
        for origin in ("computed", "cached"):
            made = (await compute(store, server, record)).audio_generation
            assert made is not None
            assert [(stem.kind, stem.origin) for stem in made.stems] == [(part, origin)]


async def test_another_model_computes_anew(store: Store, record: Record) -> None:
    for identity in ("model 1", "model 2"):
        server = Server(DETECTION, identity)
        await compute(store, server, record)
        assert len(server.tasks) == 1


async def test_an_output_whose_files_are_gone_is_computed_anew_and_elsewhere(store: Store, record: Record) -> None:
    server = Server(Unit("audio_generation", "music"), store=store)
    await compute(store, server, record)
    await store.delete_all(f"videos/{records.TOKEN}/made")  # a deletion that was cut short
    made = (await compute(store, server, record)).audio_generation
    assert made is not None
    assert made.stems[0].origin == "computed"
    assert await store.read(made.stems[0].path) == b"sound"


async def test_two_attempts_at_the_same_write_over_nothing_of_each_other(store: Store, record: Record) -> None:
    server = Server(DETECTION)
    await compute(store, server, record)
    await store.delete_all(f"videos/{records.TOKEN}/outputs")
    await compute(store, server, record)
    assert len({task.folder for task in server.tasks}) == 2


async def test_a_server_that_was_replaced_by_another_model_is_asked_again_who_it_is(
    store: Store, record: Record
) -> None:
    server = Server(DETECTION)
    modules = Modules(store, {DETECTION: server})
    await modules.compute(DETECTION, record, run_id=None, key=None)
    server.told = "model 2"
    other = full_record(k=3)
    other = other.model_copy(update={"frame_extraction": _altered(other, "frame_extraction")})
    await modules.compute(DETECTION, other, run_id=None, key=None)
    assert [task.identity for task in server.tasks] == ["model 1", "model 2"]


async def test_while_an_upgrade_goes_on_a_unit_is_computed_by_whoever_it_meets(store: Store, record: Record) -> None:
    told = iter(["old", "new", "old", "new", "new", "new"])  # who is asked, who works, who is asked …

    class Half(Server):
        async def run(self, task: Task) -> Outputs:
            self.told = next(told)
            return await super().run(task)

        async def identity(self) -> str | None:
            return next(told)

    server = Half(DETECTION)
    outputs = await Modules(store, {DETECTION: server}).compute(DETECTION, record, run_id=None, key=None)
    assert outputs.object_detection is not None
    assert [task.identity for task in server.tasks] == ["new"]


async def test_what_has_no_identity_is_never_kept(store: Store, record: Record) -> None:
    server = Server(DETECTION, None)
    for _ in range(2):
        await compute(store, server, record)
    assert len(server.tasks) == 2
    assert await store.keys("videos") == []


async def test_what_one_key_has_computed_is_hidden_from_another(store: Store, record: Record) -> None:
    server = Server(DETECTION)
    for key in ("ann", "ben", "ann"):
        await compute(store, server, record, key)
    assert len(server.tasks) == 2
    assert len({task.folder for task in server.tasks}) == 2


async def test_an_output_that_cannot_be_read_is_computed_anew(store: Store, record: Record) -> None:
    server = Server(DETECTION)
    await compute(store, server, record)
    (kept,) = await store.keys(f"videos/{records.TOKEN}/outputs")
    await store.write(kept, b'{"object_detection": {"a": "later version"}}')
    assert (await compute(store, server, record)).object_detection is not None
    assert len(server.tasks) == 2


VISION = ["frame_extraction", "object_detection", "frame_selection", "frame_description"]
EVERYTHING = [*VISION, "prompt_enhancement", "music", "sounds", "reconstruction"]
# What each option changes directly. What follows from that changes in turn, as paths and prompts do.
CHANGES: dict[str, tuple[object, list[str]]] = {
    "k": (5, ["frame_extraction"]),
    "scenes": (2, ["frame_extraction", "frame_selection"]),
    "music": (False, ["reconstruction"]),
    "sounds": (False, ["reconstruction"]),
    "draft": (True, []),  # somebody else makes them, whose outputs are kept apart; see test_drafts.py
    "music_prompt": ("piano", ["prompt_enhancement"]),
    "sound_prompt": ("wind", ["prompt_enhancement"]),
    "negative_prompt": ("noise", ["prompt_enhancement"]),
    "seed": (2, ["music", "sounds", "reconstruction"]),  # the result names it
    "steps": (7, ["music", "sounds"]),
    "guidance": (7, ["music", "sounds"]),
    "candidates": (2, ["music", "sounds"]),
    "keep_candidates": (False, []),  # of several; see below
    "loop": (True, ["music", "sounds"]),
    "crossing_seconds": (2, []),  # of several scenes; see below
    "reference_weight": (0.1, []),  # of a reference; see below
    "seconds": (7, []),  # of a still image; see below
    "format": ("mkv", ["reconstruction"]),
    "original_mode": ("keep", ["reconstruction"]),
    "original": (0.1, ["reconstruction"]),
    "duck_db": (6, ["reconstruction"]),
    "duck_attack_seconds": (0.5, ["reconstruction"]),
    "duck_release_seconds": (0.5, ["reconstruction"]),
    "stereo_width": (0.5, ["reconstruction"]),
    "fade_in_seconds": (2, ["reconstruction"]),
    "fade_out_seconds": (2, ["reconstruction"]),
    "music_volume_db": (-3, ["reconstruction"]),
    "sound_volume_db": (-3, ["reconstruction"]),
    "loudness_lufs": (None, ["reconstruction"]),
    "stem_format": ("wav", ["reconstruction"]),
    "descriptions": (True, ["reconstruction"]),
}


def inputs_of(record: Record) -> dict[str, object]:
    return {unit.part or unit.module: depends_on(record, unit.module, unit.part) for unit in units(record)}


def test_every_option_is_known_here() -> None:
    assert set(CHANGES) == set(Options.model_fields)


@pytest.mark.parametrize("option", CHANGES)
def test_an_option_changes_the_inputs_of_just_those_modules_that_it_is_for(option: str) -> None:
    value, changed = CHANGES[option]
    before, after = inputs_of(full_record()), inputs_of(full_record(**{option: value}))
    assert [unit for unit in EVERYTHING if unit in after and before[unit] != after[unit]] == changed


def test_the_length_of_a_still_image_changes_its_sound_and_its_result() -> None:
    def inputs(seconds: float) -> list[dict[str, object]]:
        record = Record(video_input=records.image_input().model_copy(update={"options": Options(seconds=seconds)}))
        for unit in units(record):
            record = record.append(records.output(unit.module, unit.part))
        asked: list[tuple[Module, StemKind | None]] = [("audio_generation", "music"), ("reconstruction", None)]
        return [depends_on(record, module, part) for module, part in asked]

    assert all(short != long for short, long in zip(inputs(5), inputs(6), strict=True))


@pytest.mark.parametrize(
    ("given", "option", "value"),
    [
        ({"candidates": 2}, "keep_candidates", True),
        ({"candidates": 2, "keep_candidates": True}, "candidates", 3),
        ({}, "reference_weight", 0.1),
        ({}, "reference_weight", 0),
    ],
)
def test_candidates_that_are_kept_and_how_much_a_reference_counts_change_the_sound_alone(
    given: dict[str, Any], option: str, value: object
) -> None:
    before, after = [inputs_of(with_reference(**options)) for options in (given, {**given, option: value})]
    assert [unit for unit in EVERYTHING if before[unit] != after[unit]] == ["music", "sounds"]


def test_another_reference_changes_the_sound_alone() -> None:
    before, after = inputs_of(with_reference()), inputs_of(with_reference(token="2" * 32))
    assert [unit for unit in EVERYTHING if before[unit] != after[unit]] == ["music", "sounds"]


def with_reference(*, token: str = "1" * 32, **options: Any) -> Record:
    record = full_record(**options)
    reference = records.reference(token)
    return record.model_copy(update={"video_input": record.video_input.model_copy(update={"reference": reference})})


def test_a_stem_that_loops_is_put_together_otherwise_than_the_same_file_that_does_not() -> None:
    record = full_record()
    assert record.audio_generation is not None
    looping = tuple(stem.model_copy(update={"loops": True}) for stem in record.audio_generation.stems)
    other = record.model_copy(update={"audio_generation": AudioGeneration(stems=looping)})
    assert depends_on(record, "reconstruction") != depends_on(other, "reconstruction")


@pytest.mark.parametrize(
    ("module", "changed", "part"),
    [
        ("frame_extraction", "object_detection", None),
        ("frame_extraction", "frame_selection", None),
        ("frame_selection", "frame_description", None),
        ("object_detection", "prompt_enhancement", None),
        ("frame_description", "prompt_enhancement", None),
        ("prompt_enhancement", "audio_generation", "music"),
        ("audio_generation", "reconstruction", None),
    ],
)
def test_what_a_module_reads_is_among_its_inputs(module: Module, changed: Module, part: StemKind | None) -> None:
    record = full_record()
    other = record.model_copy(update={module: _altered(record, module)})
    assert depends_on(record, changed, part) != depends_on(other, changed, part)


def _altered(record: Record, module: Module) -> object:
    output = getattr(record, module)
    match module:
        case "frame_extraction":
            frames = tuple(frame.model_copy(update={"path": frame.path + "2"}) for frame in output.frames)
            return output.model_copy(update={"frames": frames})
        case "frame_selection":
            two = record.pictures * 2
            object.__setattr__(record.frame_extraction, "frames", (two[0], two[1].model_copy(update={"path": "other"})))
            return output.model_copy(update={"index": 1, "path": "other"})
        case "object_detection":
            seen = FrameObjects(frame=0, width=4, height=3, objects=())
            return output.model_copy(update={"frames": (*output.frames, seen)})
        case "frame_description":
            return output.model_copy(update={"text": "A cat."})
        case "prompt_enhancement":
            return output.model_copy(update={"music_prompt": "other"})
    stems = tuple(stem.model_copy(update={"path": stem.path + "2"}) for stem in output.stems)
    return output.model_copy(update={"stems": stems})


def test_a_mood_is_among_the_inputs_of_the_sound() -> None:
    record = full_record()
    assert record.frame_description is not None
    described = record.frame_description.model_copy(update={"mood": Mood(valence=1, arousal=1)})
    other = record.model_copy(update={"frame_description": described})
    assert depends_on(record, "audio_generation", "music") != depends_on(other, "audio_generation", "music")
