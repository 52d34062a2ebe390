"""Thousands of broken requests: each is refused with a sentence, none breaks the service, and nothing is left of them."""

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.uploads import Uploads
from tests.serve.fuzzing import TUS, Asked, Fuzzed, examples, fuzzed
from tests.serve.malformed import (
    HEADERS,
    HOSTILE_NAMES,
    HOSTILE_SEGMENTS,
    damaged,
    likely,
    multipart,
    nasty_json,
    numbers,
    places,
    replaced,
    values,
)

JSON = ((b"content-type", b"application/json"),)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Fuzzed]:
    with fuzzed(tmp_path) as service:
        yield service


def test_a_crash_would_be_seen(service: Fuzzed, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*arguments: object) -> None:
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr(Uploads, "find", broken)
    with pytest.raises(AssertionError, match="was answered 500"):
        service.ask(Asked("HEAD", f"/v1/uploads/{'0' * 32}", TUS))


def test_malformed_forms(service: Fuzzed) -> None:
    @examples(500)
    @given(multipart(service.video.read_bytes()), st.integers(1, 5), st.booleans())
    def ask(form: tuple[bytes, bytes, list[tuple[bytes, bytes]]], pieces: int, leaves: bool) -> None:
        kind, body, headers = form
        leaves = leaves and pieces == 5
        headers = [(b"content-type", kind), *headers]
        service.ask(Asked("POST", "/v1/runs", headers, body, pieces=pieces, leaves=leaves))

    ask()
    assert service.asked >= 500


def test_references_of_any_bytes(service: Fuzzed) -> None:
    video, sound = service.video.read_bytes(), service.sound.read_bytes()
    head = b'--b\r\nContent-Disposition: form-data; name="%s"; filename="%s"\r\n\r\n'
    kind = ((b"content-type", b"multipart/form-data; boundary=b"),)
    contents = st.one_of(*[damaged(sound)] * 3, damaged(video), st.binary(max_size=200), st.just(b"R" * 16 * 2**20))

    @examples(200)
    @given(contents, st.sampled_from(HOSTILE_NAMES), st.booleans())
    def ask(content: bytes, name: str, first: bool) -> None:
        quoted = name.encode().replace(b'"', b"%22")
        parts = [head % (b"file", b"a") + video, head % (b"reference", quoted) + content]
        form = b"\r\n".join(parts[:: 1 if first else -1]) + b"\r\n--b--\r\n"
        service.ask(Asked("POST", "/v1/runs", kind, form, pieces=3))

    ask()
    assert service.statuses[202] > 10
    assert service.statuses[415] > 10


def test_malformed_json(service: Fuzzed) -> None:
    run = service.run_to_the_end(service.video, seed=1)
    record = json.loads(run.record.model_dump_json())
    wanted = {"options": {"k": 500, "seed": 1}, "edits": {"frame_selection": {"index": 0}}}
    paths = ("/v1/runs", "/v1/modules/video_input", "/v1/modules/reconstruction", f"/v1/runs/{run.id}/rerun")
    upload = {"upload": "0" * 32, "options": {"seed": 1}, "reference": "1" * 32}
    words = {"text": "rain", "options": {"format": "mp4"}}  # refused, so that no run of many seconds comes of it
    texts = nasty_json(wanted, record, upload, words)

    @examples(400)
    @given(st.sampled_from(paths), texts, st.booleans())
    def ask(path: str, text: bytes, leaves: bool) -> None:
        service.ask(Asked("POST", path, JSON, text, pieces=2, leaves=leaves and len(text) % 7 == 0))

    ask()
    assert service.asked >= 400


def test_options_beyond_their_bounds(service: Fuzzed) -> None:
    run = service.run_to_the_end(service.video, seed=1)
    names = sorted(run.record.video_input.options.model_dump())

    @examples(200)
    @given(st.dictionaries(st.sampled_from(names) | st.text(max_size=5), values, min_size=1, max_size=4))
    def ask(options: dict[str, Any]) -> None:
        asked = json.dumps({"seed": 1, **options}).encode()
        head = b'--b\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n'
        form = head % (b"file", b'; filename="a"') + service.video.read_bytes() + b"\r\n"
        form += head % (b"options", b"") + asked + b"\r\n--b--\r\n"
        kind = ((b"content-type", b"multipart/form-data; boundary=b"),)
        service.ask(Asked("POST", "/v1/runs", kind, form))
        service.ask(Asked("POST", f"/v1/runs/{run.id}/rerun", JSON, b'{"options": %s}' % asked))

    ask()
    assert service.asked >= 400


def test_headers_that_make_no_sense(service: Fuzzed) -> None:
    run = service.run_to_the_end(service.video, seed=1)
    one = f"/v1/runs/{run.id}"
    below = (
        "",
        "/events",
        "/events?after=2",
        "/events?after=x",
        "/artifacts/video",
        "/artifacts/music",
        "/rerun",
        "/cancel",
    )
    others = ("runs", "modules", "modules/reconstruction", "uploads", f"files/{run.record.pictures[0].path}", "nothing")
    paths = (*(one + end for end in below), *(f"/v1/{end}" for end in others), "/readyz", "/openapi.json", "/", "*")
    header = st.sampled_from(sorted(HEADERS)).flatmap(
        lambda name: st.tuples(st.just(name), st.sampled_from(HEADERS[name]))
    )
    noise = st.tuples(st.sampled_from(sorted(HEADERS)), st.binary(max_size=30).map(_printable))
    flood = st.integers(1, 300).map(lambda count: [(b"x-%d" % number, b"y" * 50) for number in range(count)])
    methods = ("GET", "GET", "GET", "HEAD", "POST", "PATCH", "PUT", "OPTIONS", "TRACE", "CONNECT", "BREW")

    @examples(400)
    @given(st.sampled_from(methods), st.sampled_from(paths), st.lists(header | noise, max_size=6) | flood)
    def ask(method: str, path: str, headers: list[tuple[bytes, bytes]]) -> None:
        service.ask(Asked(method, path, headers, b"{}" if method == "POST" else b""))

    ask()
    assert service.asked >= 400


def _printable(noise: bytes) -> bytes:
    return bytes(byte for byte in noise if byte >= 0x20 and byte != 0x7F)  # no server hands on anything else


def test_uploads_that_break_every_rule(service: Fuzzed) -> None:
    content = service.video.read_bytes()
    metadata = st.sampled_from(
        (
            b"",
            b"filename",
            b"filename Y2xpcC5tcDQ=",
            b"filename ???",
            b"a b c",
            b",,",
            b"a YQ==,a YQ==",
            b"\xff YQ==",
            b"a " * 3000,
        )
    ) | st.sampled_from(HOSTILE_NAMES).map(lambda name: b"filename " + base64.b64encode(name.encode()))
    sums = st.sampled_from(
        (b"", b"md5", b"md5 ", b"md5 ???", b"crc32 AAAA", b"MD5 " + b"A" * 22, b"sha256 AAAA", b"\xff \xff")
    )

    @examples(120)
    @given(st.data())
    def send(data: st.DataObject) -> None:
        size = data.draw(st.sampled_from((1, 50, len(content))))
        length = data.draw(st.one_of(*[st.just(str(size))] * 4, numbers))
        headers = [*TUS, (b"upload-length", length.encode("latin-1")), (b"upload-metadata", data.draw(metadata))]
        answer = service.ask(Asked("POST", "/v1/uploads", headers))
        address = answer.headers.get("location", f"/v1/uploads/{'0' * 32}")
        stood = 0
        for _ in range(data.draw(st.integers(1, 5))):
            chosen = content[stood : stood + data.draw(st.sampled_from((0, 1, 30, 60, 5000)))]
            right = b"md5 " + base64.b64encode(hashlib.md5(chosen).digest())
            headers = [
                *TUS,
                (b"upload-offset", data.draw(st.one_of(*[st.just(str(stood))] * 3, numbers)).encode("latin-1")),
            ]
            headers += data.draw(st.just([]) | (st.just(right) | sums).map(lambda sum_: [(b"upload-checksum", sum_)]))
            headers += data.draw(st.just([]) | numbers.map(lambda many: [(b"content-length", many.encode("latin-1"))]))
            kind = data.draw(st.sampled_from((b"application/offset+octet-stream",) * 5 + (b"", b"text/plain")))
            patch = Asked(
                "PATCH", address, [*headers, (b"content-type", kind)], chosen, leaves=data.draw(st.integers(0, 5)) == 0
            )
            service.ask_all([patch] * data.draw(st.sampled_from((1, 1, 1, 3))))
            told = service.ask(Asked("HEAD", address, TUS))
            if told.status_code == 200:
                assert stood <= int(told.headers["upload-offset"]) <= int(told.headers["upload-length"])
                stood = int(told.headers["upload-offset"])
        wanted = json.dumps({"upload": address[-32:], "options": {"seed": 1}}).encode()
        service.ask(Asked("POST", data.draw(st.sampled_from(("/v1/runs", "/v1/modules/video_input"))), JSON, wanted))
        if data.draw(st.booleans()):
            service.ask_all([Asked("DELETE", address, TUS), Asked("HEAD", address, TUS)])

    send()
    assert service.asked >= 600


def test_paths_that_lead_out_of_the_store(service: Fuzzed) -> None:
    run = service.run_to_the_end(service.video, seed=1)
    token = run.record.video_input.token
    inside = sorted(str(path.relative_to(service.store)) for path in service.store.rglob("*") if path.is_file())
    secret = [path for path in inside if not path.startswith((f"videos/{token}/made/", f"videos/{token}/source."))]
    assert any("holds" in path for path in secret)
    video_files = f"videos/{token}/"
    files = st.sampled_from([*inside, video_files, video_files + "made", "videos", "/proc/self/cwd/../secret.txt"])
    segment = st.sampled_from(HOSTILE_SEGMENTS) | st.text(st.characters(codec="ascii"), max_size=8).map(_quoted)
    twisted = st.tuples(
        files, segment, st.sampled_from(("{0}{1}", "{0}/{1}", "{0}//{1}", "{1}/{0}", "./{0}", "{0}/.", "{0}/../{1}"))
    )
    path = segment | files | twisted.map(lambda chosen: chosen[2].format(chosen[0], chosen[1]))
    of_a_run = ("", "/events", "/artifacts/video")
    places_ = (
        *(("GET", "/v1/runs/{}" + end) for end in of_a_run),
        *(("POST", "/v1/runs/{}" + end) for end in ("/cancel", "/rerun")),
        *((method, "/v1/uploads/{}") for method in ("HEAD", "PATCH", "DELETE")),
        *((method, "/v1/files/{}") for method in ("GET", "HEAD")),
        ("DELETE", "/v1/runs/{}"),
        ("GET", f"/v1/runs/{run.id}/artifacts/{{}}"),
        ("GET", "/v1/files/" + video_files + "{}"),
        ("POST", "/v1/modules/{}"),
        ("GET", "/{}"),
    )
    may_be_read = {(service.store / name).read_bytes() for name in inside if name not in secret}

    @examples(400)
    @given(st.sampled_from(places_), path)
    def ask(place: tuple[str, str], path: str) -> None:
        method, template = place
        headers = (*TUS, (b"upload-offset", b"0"), (b"content-type", b"application/offset+octet-stream"))
        answer = service.ask(Asked(method, template.format(path), headers if "uploads" in template else ()))
        if method == "GET" and answer.status_code == 200 and ("/files/" in template or "/artifacts/" in template):
            assert answer.content in may_be_read, path

    ask()
    assert service.asked >= 400


def _quoted(text: str) -> str:
    return "".join(character if "!" <= character <= "~" else f"%{ord(character):02x}" for character in text)


def test_names_are_only_names(service: Fuzzed) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n'
    options = head % (b"options", b"") + b'{"seed": 1}\r\n'
    for name in HOSTILE_NAMES:
        named = head % (b"file", b'; filename="%s"' % name.encode().replace(b'"', b"%22"))
        form = options + named + service.video.read_bytes() + b"\r\n--b--\r\n"
        kind = ((b"content-type", b"multipart/form-data; boundary=b"), (b"accept", b"application/x-ndjson"))
        answer = service.ask(Asked("POST", "/v1/runs?follow=true", kind, form))
        if answer.status_code == 200:
            assert json.loads(answer.text.splitlines()[-1])["type"] == "finished", (name, answer.text)
    assert service.statuses[200] > len(HOSTILE_NAMES) / 2


def test_records_that_lie(service: Fuzzed) -> None:
    run = service.run_to_the_end(service.silent, service.sound, seed=1, k=10)
    record = json.loads(run.record.model_dump_json())
    modules = [module for module in run.record.modules if module != "video_input"]
    inside = [str(path.relative_to(service.store)) for path in service.store.rglob("*") if path.is_file()]
    paths = st.sampled_from(
        [*inside, "../secret.txt", "/proc/self/cwd/../secret.txt", "/etc/passwd", "", ".", "videos"]
    )
    made = st.sampled_from([path for path in inside if "/made/" in path or "/source." in path])
    lies = {place: values | likely(value) for place, value in places(record)}
    lies |= {place: paths | made for place in lies if place[-1] == "path"}
    one = st.sampled_from(sorted(lies, key=str)).flatmap(lambda place: st.tuples(st.just(place), lies[place]))

    @examples(400)
    @given(st.sampled_from(modules), st.lists(one, min_size=1, max_size=2, unique_by=lambda lie: lie[0][:2]))
    def ask(module: str, told: list[tuple[tuple[str | int, ...], Any]]) -> None:
        lying = record
        for place, value in told:
            lying = replaced(lying, place, value)
        lying = {name: value for name, value in lying.items() if name != module}
        service.ask(Asked("POST", f"/v1/modules/{module}", JSON, json.dumps(lying).encode()))

    ask()
    assert service.asked >= 400
