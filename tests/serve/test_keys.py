"""API keys: where they stand, what one looks like, and that no secret is ever told."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from serve.access import ApiKeys
from serve.settings import AccessSettings
from tests.serve.asking import ALICE, BOB, KEYS, SECRETS, everything_logged


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with everything_logged(caplog):
        yield caplog


def load(text: str, tmp_path: Path, mode: int = 0o600) -> ApiKeys:
    file = tmp_path / "keys"
    file.write_text(text)
    file.chmod(mode)
    return ApiKeys.load(AccessSettings(keys_file=file), {"IMMERSIVAUDIO_API_KEYS": "ignored:because-of-the-file"})


def from_environment(text: str) -> ApiKeys:
    return ApiKeys.load(AccessSettings(), {"IMMERSIVAUDIO_API_KEYS": text})


@pytest.mark.parametrize("text", [f"alice:{ALICE},bob:{BOB}", f" alice:{ALICE}\n\tbob:{BOB} ,"])
def test_keys_stand_in_the_environment(text: str) -> None:
    keys = from_environment(text)
    assert [keys.name_of(secret) for secret in SECRETS] == ["alice", "bob"]


def test_keys_stand_in_a_file_which_comes_before_the_environment(tmp_path: Path) -> None:
    keys = load(f"# who may\n\nalice:{ALICE}\r\n  bob:{BOB}\n", tmp_path)
    assert [keys.name_of(secret) for secret in SECRETS] == ["alice", "bob"]
    assert keys.name_of("because-of-the-file") is None


@pytest.mark.parametrize(
    "presented", ["", "alice", ALICE[:-1], ALICE + "x", f"alice:{ALICE}", ALICE.upper(), "\udcff☃"]
)
def test_what_is_only_nearly_a_secret_is_nobodys(presented: str) -> None:
    assert ApiKeys.load(AccessSettings(), KEYS).name_of(presented) is None


def test_every_key_is_compared_whoever_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = ApiKeys.load(AccessSettings(), KEYS)
    compared: list[bytes] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append(other)
        return one == other

    monkeypatch.setattr("serve.access.hmac.compare_digest", compare)
    for presented in (*SECRETS, "nobody's"):
        compared.clear()
        keys.name_of(presented)
        assert len(compared) == 2


@pytest.mark.parametrize("environ", [{}, {"IMMERSIVAUDIO_API_KEYS": " \n"}])
def test_without_keys_none_is_asked_for(environ: dict[str, str]) -> None:
    assert not ApiKeys.load(AccessSettings(), environ)
    assert ApiKeys.load(AccessSettings(), KEYS)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"alice:{ALICE}\ncarol:too-short", ("line 2", "carol", "16")),
        (f"# first\n\ncarol:{'x' * 16},y", ("line 3", "carol", "comma")),
        ("carol:with white space in it", ("line 1", "carol")),
        ("carol:nöt-only-ascii-letters", ("line 1", "carol")),
        ("carol:\x07bell-and-whistles-too", ("line 1", "carol")),
        ("carol", ("line 1", "name:secret")),
        ("a-secret-without-a-name", ("line 1", "name:secret")),
        (f"Carol:{BOB}", ("line 1", "name:secret")),
        (f"{'c' * 33}:{BOB}", ("line 1", "1 to 32")),
        (f"-carol:{BOB}", ("line 1", "name:secret")),
        (f"alice:{ALICE}\nalice:{BOB}", ("line 2", "alice", "twice")),
        (f"alice:{ALICE}\ncarol:{ALICE}", ("line 2", "carol", "another")),
        ("# nobody yet\n", ("no key",)),
        ("", ("no key",)),
    ],
)
def test_a_malformed_key_is_refused_by_its_line_and_name(text: str, words: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="keys_file") as refused:
        load(text, tmp_path)
    for word in words:
        assert word in str(refused.value)


def test_a_malformed_key_of_the_environment_is_refused_by_its_place() -> None:
    with pytest.raises(ValueError, match=r"\$IMMERSIVAUDIO_API_KEYS: key 2 \(carol\)"):
        from_environment(f"alice:{ALICE}, carol:short")


def test_a_file_that_is_not_there_stops_the_service(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="keys_file cannot be read: No such file"):
        ApiKeys.load(AccessSettings(keys_file=tmp_path / "none"), KEYS)


def test_a_file_that_others_can_read_is_warned_of(tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    load(f"alice:{ALICE}", tmp_path, mode=0o600)
    assert log.records == []
    assert load(f"alice:{ALICE}", tmp_path, mode=0o640).name_of(ALICE) == "alice"
    assert "chmod 600" in log.text


def _held(error: BaseException) -> str:
    """All that a debugger would show of an error, but the test's own variables."""
    shown, trace = [repr(error), repr(error.__cause__), repr(error.__context__)], error.__traceback__
    while trace is not None:
        if "/tests/" not in trace.tb_frame.f_code.co_filename:
            shown.append(repr(trace.tb_frame.f_locals))
        trace = trace.tb_next
    return "\n".join(shown)


@pytest.mark.parametrize("bad", ["carol:short-but-dear", f"{ALICE}:swapped", f"nobody {BOB}", f"alice:{BOB}"])
def test_no_error_holds_a_secret(bad: str, tmp_path: Path) -> None:
    for source in ("file", "environment"):
        read = partial(load, tmp_path=tmp_path) if source == "file" else from_environment
        with pytest.raises(ValueError, match=r"name|secret") as refused:
            read(f"alice:{ALICE}\n{bad}")
        for secret in (*SECRETS, "short-but-dear"):
            assert secret not in _held(refused.value)


def test_keys_show_their_names_only() -> None:
    keys = ApiKeys.load(AccessSettings(), KEYS)
    assert repr(keys) == str(keys) == "ApiKeys(alice, bob)"
    assert not any(secret in repr(vars(keys)) for secret in SECRETS)


def test_keys_are_needed_where_everybody_seems_to_be_on_this_machine() -> None:
    behind = {"RAY_SERVE_ENABLE_HA_PROXY": "1"}
    with pytest.raises(ValueError, match="HAProxy"):
        ApiKeys.load(AccessSettings(), behind)
    assert ApiKeys.load(AccessSettings(), {**behind, **KEYS})
