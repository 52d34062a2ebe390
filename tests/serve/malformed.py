"""What strangers send: broken forms, JSON, headers, paths and names, for hypothesis to choose from."""

import json
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

Form = tuple[bytes, bytes, list[tuple[bytes, bytes]]]
"""Content type, body, and further headers."""

# fmt: off
NUMBERS = (
    "", "0", "00", "1", "-1", "+1", "1.5", "1e9", "0x10", " 1", "1 ", "1\t", "1,2", "1_0", "NaN", "-0", "null", "=",
    "*", "9" * 18, "9" * 19, "9" * 400, "9" * 5000, "\xb2", "\xd9\xa1", "18446744073709551616",
    "-9223372036854775809",
)
# fmt: on
numbers = st.sampled_from(NUMBERS) | st.integers(-3, 70).map(str)

# fmt: off
HOSTILE_SEGMENTS = (
    "..", ".", "", "%2e%2e", "..%2f..%2fsecret.txt", "..%2fsecret.txt", "%2e%2e%2f%2e%2e%2fsecret.txt",
    "....//....//", "%00", "a%00b", "%2fetc%2fpasswd", "/etc/passwd", "%252e%252e%252fsecret.txt",
    "%c0%ae%c0%ae%c0%af", "%ff%fe", "%", "%zz", "..%5c..%5csecret.txt", "..\\secret.txt", "C:%5c", "con", "a" * 300,
    "a" * 5000, "%0d%0aX-Evil:%201", "%7f", "0" * 31, "0" * 32, "0" * 33, "F" * 32, "0" * 32 + "%00",
    "0" * 32 + "%0a", "%F0%9F%8E%AC", "%ED%A0%80", "~", "*", "[0-9a-f]*", "{run_id}", "$HOME", "`id`", "'", '"',
    "video;.mp4", "video%2f", "%e2%80%ae4pm", "-rf", "?", "#", "%23",
)

HOSTILE_NAMES = (
    "../../../outside.mp4", "/etc/passwd", "a\0b.mp4", "..", ".", "", " ", "a" * 255, "a" * 5000, "-i", "-y.mp4",
    "con", "file:///etc/passwd", "http://127.0.0.1:1/x.mp4", "concat:a|b", "pipe:0", "a\nb", "a\r\nX-Evil: 1",
    '"; rm -rf .mp4', "\U0001f3ac.mp4", "\u202e4pm.exe", "\ufeff.mp4", "e\u0301\u0301\u0301.mp4", "%2e%2e%2f",
    "%s%n%x", "{0}", "${HOME}", "clip.mp4.exe", "clip.jpg", "clip.m3u8", "\x7f\x1b[31m",
    "<script>alert(1)</script>.mp4", "title=x;artist=y", "\\..\\",
)

VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 1e-320, 1e308, -1e308, 2**31, 2**63, 2**64, 10**30, 0.5, float("nan"),
    float("inf"), "", "x", "\0", "../../secret.txt", "/etc/passwd", "-1", "a" * 2000, "0" * 32, "video", "image",
    "mp4", "flac", "webm", [], [[]], [None], [0] * 100, {}, {"": 0}, {"path": "/etc/passwd"}, "\U0001f3ac\u202e",
    "music", "sounds", "cached",
)
# fmt: on
values = st.sampled_from(VALUES) | st.integers() | st.floats() | st.text(max_size=20)

# fmt: off
HEADERS: dict[bytes, tuple[bytes, ...]] = {
    b"range": (
        b"bytes=0-0", b"bytes=-1", b"bytes=-0", b"bytes=5-", b"bytes=9-2", b"bytes=0-9,20-30", b"bytes=", b"bytes=-",
        b"x", b"bytes=99999999-", b"bytes=0-" + b"9" * 18, b"bytes=0-" + b"9" * 400, b"bytes=-" + b"9" * 30,
        b"bytes=\xb2-\xb3", b"bytes = 0-1", b"items=0-1", b"bytes=0x0-0x9", b"bytes=+1-+2", b"bytes=1e3-",
        b",".join([b"bytes=0-1"] * 500),
    ),
    b"if-range": (
        b"", b'"x"', b"W/", b"*", b"Tue, 15 Nov 1994 12:45:26 GMT", b"Tue, 99 Xxx", b"\xff", b'"' * 900,
    ),
    b"if-none-match": (
        b"*", b'"', b"W/", b",,,", b'"x", W/"y"', b"\xff\xfe", b'"a"' * 1000,
    ),
    b"if-modified-since": (
        b"Tue, 15 Nov 1994 12:45:26 GMT", b"never", b"-1", b"Tue, 99 Foo 99999 99:99:99 GMT",
    ),
    b"last-event-id": (
        b"", b"-1", b"0", b"1", b"3", b"999999", b"1000000", b"9" * 5000, b"x", b"1.0", b"\xd9\xa1", b"1,2",
    ),
    b"accept": (
        b"", b"*/*", b"application/x-ndjson", b"text/event-stream;q=9", b"/", b"," * 5000, b"\xff", b"a/b;q=nan",
    ),
    b"accept-encoding": (
        b"gzip", b"identity;q=0, *;q=0", b"zip-bomb", b"",
    ),
    b"content-type": (
        b"", b"multipart/form-data", b"application/json; charset=utf-7", b"/", b"multipart/form-data; boundary=",
    ),
    b"content-length": (
        b"-1", b"x", b"9" * 400, b"1, 2", b"0", b"", b"+5", b"0x5", b"\xb2", b"5 5",
    ),
    b"transfer-encoding": (
        b"chunked", b"chunked, chunked", b"gzip", b"identity", b"\x0bchunked", b"xchunked",
    ),
    b"content-encoding": (
        b"gzip", b"br", b"x", b"deflate, gzip",
    ),
    b"expect": (
        b"100-continue", b"200-ok",
    ),
    b"x-request-id": (
        b"", b"a" * 129, b"\xff", b"a b", b"../../x", b"%0d%0a", b"<b>",
    ),
    b"authorization": (
        b"", b"Bearer", b"Bearer ", b"Basic \xff", b"Bearer \xff\xfe", b"Bearer " + b"a" * 9000, b"bearer x y",
    ),
    b"origin": (
        b"null", b"", b"http://localhost", b"http://evil.example", b"http://localhost@evil.example", b"\xff",
        b"http://[",
    ),
    b"host": (
        b"", b"localhost:", b"localhost:99999999", b"[::1]", b"[::1", b"evil.example", b"127.0.0.1.evil", b"\xff",
        b"a" * 999,
    ),
    b"x-forwarded-for": (
        b"127.0.0.1", b"x", b"",
    ),
    b"cookie": (
        b"a=b; " * 2000, b"\xff", b"=;=;",
    ),
    b"tus-resumable": (
        b"", b"1.0.0", b"0.9", b"1.0.0,1.0.0", b"\xff", b"9" * 99,
    ),
    b"x-http-method-override": (
        b"DELETE", b"PATCH",
    ),
    b"connection": (
        b"close", b"upgrade", b"x" * 500,
    ),
    b"upgrade": (
        b"websocket", b"h2c",
    ),
}
# fmt: on


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """The bytes, with a few things done to them."""
    for _ in range(draw(st.integers(0, 3))):
        at, until = sorted(draw(st.tuples(st.integers(0, len(whole)), st.integers(0, len(whole)))))
        new = draw(
            st.binary(max_size=12) | st.sampled_from((b"\r\n", b"--", b"\0", b"\n\n", b'"', b"\\", b"{", b"\xff" * 9))
        )
        match draw(st.sampled_from(("cut", "insert", "replace", "remove", "repeat"))):
            case "cut":
                whole = whole[:at]
            case "insert":
                whole = whole[:at] + new + whole[at:]
            case "replace":
                whole = whole[:at] + new + whole[at + len(new) :]
            case "remove":
                whole = whole[:at] + whole[until:]
            case "repeat":
                whole = whole[:until] + whole[at:until] + whole[until:]
    return whole


# fmt: off
_DISPOSITIONS = st.sampled_from((
    b'form-data; name="file"; filename="clip.mp4"', b'form-data; name="file"', b'form-data; name="options"',
    b'form-data; name="options"; filename="o.json"', b"form-data", b"", b'form-data; name=""',
    b'form-data; name="reference"; filename="drums.wav"', b'form-data; name="reference"',
    b"form-data; name=file", b'form-data; name="other"; filename="x"', b"attachment; name=file; filename=a",
    b'form-data; name="file', b";;;=", b"form-data; name*=utf-8''file; filename*=utf-8''%00",
    b'form-data; name="\xff\xfe"; filename="\xff"', b"form-data;" * 99,
    b'form-data; name="file"; filename="../../../outside.mp4"', b'form-data; name="file"; filename="a\0b"', b"\0",
    b'form-data; name="file"; filename="' + b"a" * 9000 + b'"', b'form-data; name="' + b"n" * 9000 + b'"',
))

_PART_HEADERS = st.sampled_from((
    b"", b"Content-Type: video/mp4\r\n", b"Content-Type: text/plain; charset=utf-7\r\n", b"Content-Type: \xff\r\n",
    b"Content-Type: text/plain; charset=nix\r\n", b"no colon\r\n", b": empty\r\n", b"X: y\r\n" * 200,
    b"X: " + b"y" * 9000, b"Content-Transfer-Encoding: base64\r\n", b"Content-Length: -1\r\n", b"A\0B: c\r\n",
    b" folded\r\n", b"\r\n\r\n",
))

_OPTION_TEXTS = (
    b"{}", b"", b'{"k": 3, "seed": 1}', b'{"k": 1e400}', b'{"k": NaN}', b"null", b"[]", b'{"nix": 1}', b'{"k": "3"}',
    b"\xff", b'{"music": false, "sounds": false}', b'{"seed": 1, "seed": -1}', b'{"music_prompt": "\\ud800"}',
    b"{" * 3000, b"[" * 60000, b'{"steps": 501}', b'{"candidates": 9}', b'{"seconds": 1e9}', b'{"k": 201}',
    b'{"format": "exe"}', b"9" * 5000, b"x" * 70000, b'{"reference_weight": 2}', b'{"loop": "yes"}',
)
# fmt: on


@st.composite
def part(draw: st.DrawFn, video: bytes) -> bytes:
    """One part of a form, which may be in order."""
    # A whole video beside sound options is a run: seldom, since it takes its time.
    texts = st.sampled_from((*_OPTION_TEXTS, video[:100], video[:800], b"\xff" * 300, b"")) | st.binary(max_size=40)
    content = draw(st.one_of(*[texts] * 9, st.just(video)))
    return b"Content-Disposition: %s\r\n%s\r\n%s" % (draw(_DISPOSITIONS), draw(_PART_HEADERS), content)


@st.composite
def multipart(draw: st.DrawFn, video: bytes) -> Form:
    """A form, broken in some way or other."""
    boundary = draw(st.sampled_from((b"b", b"-" * 60, b"x" * 200, b"a b", b"'()+_,-./:=?", b"\xe9", b"--b--")))
    parts = draw(st.lists(part(video), max_size=4))
    body = b"".join(b"--%s\r\n%s\r\n" % (boundary, one) for one in parts) + b"--%s--\r\n" % boundary
    named = b"multipart/form-data; boundary=" + boundary
    kinds = (
        *(
            b"multipart/form-data",
            b"multipart/form-data; boundary=",
            b'multipart/form-data; boundary="',
            b"multipart/mixed",
        ),
        *(
            named + b"; charset=nix",
            named + b"; charset=utf-16",
            b"MULTIPART/FORM-DATA; BOUNDARY=" + boundary,
            named + b"x",
        ),
        *(
            b"application/x-www-form-urlencoded",
            b"",
            b"\xff",
            named + b"; boundary=other",
            named + b"\0",
            b"text/plain;;;",
        ),
    )
    kind = draw(st.one_of(*[st.just(named)] * 4, st.sampled_from(kinds)))
    lengths = st.sampled_from((b"0", b"1", b"-1", b"x", b"9" * 30, b"9" * 5000, b"", b"\xb2", b"1e3", b"300000"))
    headers = draw(st.just([]) | lengths.map(lambda length: [(b"content-length", length)]))
    return kind, draw(damaged(body)), headers


# fmt: off
_NASTY = (
    b"", b" ", b"\0", b"null", b"NaN", b"-Infinity", b"[]", b"0", b'""', b"{", b"}", b"{]", b"{}{}",
    b'{"text": "\\u0000"}', b'{"text": "\\udfff"}', b'{"text": {}, "upload": []}', b'{"text": "a", "text": ""}',
    b"\xff\xfe{\0}\0", b"\xef\xbb\xbf{}", b"[" * 60000, b'{"a":' * 9000, b"9" * 60000, b"-", b"1e400",
    b'{"upload": NaN}', b'{"upload": "\\u0000"}', b'"\\ud800"', b'{"a": "\xff"}',
    b'{"upload": "%s", "upload": 1}' % (b"0" * 32), b'{"upload": "%s"}' % (b"0" * 32),
    b'{"upload": "%s\\n"}' % (b"0" * 32),
    b'{"upload": "%s", "reference": "../x"}' % (b"0" * 32), b'{"options": {"seed": 1e400}}', b'{"options": {"\\ud800": 1}}',
    b'{"options": {"k": %s}}' % (b"9" * 5000), b'{"options": []}', b'{"options": {"seed": 1, "seed": 2}}',
    b'{"options": {"music_prompt": "\\udfff"}}', b'{"options": {"": {}}}', b"{'a': 1}",
    b'{"edits": {"frame_selection": {"index": 9999}}}', b'{"edits": {"frame_selection": {"index": -1}}}',
    b'{"edits": null}', b'{"edits": {"prompt_enhancement": {}}}',
    b'{"edits": {"frame_selection": {"index": 1e400}}}', b"{}" + b" " * 70000, b"{}//", b'{"video_input": {}}',
    b'{"schema_version": 99}', b'{"schema_version": "1"}', b'{"schema_version": -1, "video_input": null}',
    b'{"video_input": {"token": "../../secret.txt"}}', b"\x1f\x8b\x08\0", b"--b\r\n", b"<a/>", b"upload=1&options=2",
)
# fmt: on
_trees = st.recursive(
    values, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4)
)


def nasty_json(*valid: object) -> st.SearchStrategy[bytes]:
    """Text that is no JSON, or not what is wanted; among it what was made of `valid`."""
    known = [json.dumps(one).encode() for one in valid]
    mangled = st.sampled_from(known).flatmap(damaged)
    other = st.sampled_from([json.loads(text) for text in known]).flatmap(_one_replaced)
    trees = _trees.map(lambda tree: json.dumps(tree).encode())
    return st.sampled_from(_NASTY) | mangled | other.map(lambda tree: json.dumps(tree).encode()) | trees


def places(tree: Any, above: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """What stands where in a JSON tree."""
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for name, value in inner:
        yield (*above, name), value
        yield from places(value, (*above, name))


def likely(value: Any) -> st.SearchStrategy[Any]:
    """Something else of the same type, which a schema lets pass."""
    match value:
        case bool():
            return st.just(not value)
        case int():
            return st.sampled_from((-1, 0, 1, 3, 999, 9999, 2**31, 2**63, 10**30))
        case float():
            return st.sampled_from((-1.0, 0.0, 1.0, 0.5, -0.5, 1e-320, 1e308, -1e308, 1e6, float("nan"), float("-inf")))
        case str():
            return st.sampled_from(
                ("", "\0", "a" * 5000, "../..", "music", "sounds", "mp4", "flac", "\n", "\U0001f3ac", "0" * 32)
            )
        case list():
            return st.sampled_from(([], value * 2, value[:1], value[::-1], value * 300))
        case dict():
            return st.sampled_from((dict(list(value.items())[1:]), {**value, "origin": "edited"}))
    return st.just(value)


def replaced(tree: Any, place: tuple[str | int, ...], value: Any) -> Any:
    """A copy of the tree with something else in that place; without one, the tree."""
    first, *rest = place
    copied: Any = dict(tree) if isinstance(tree, dict) else list(tree) if isinstance(tree, list) else None
    if copied is None or (first not in copied if isinstance(copied, dict) else not _is_place(first, copied)):
        return tree
    copied[first] = replaced(copied[first], tuple(rest), value) if rest else value
    return copied


def _is_place(name: str | int, among: list[Any]) -> bool:
    return isinstance(name, int) and name < len(among)


def _one_replaced(tree: Any) -> st.SearchStrategy[Any]:
    found = [place for place, _ in places(tree)]
    if not found:
        return st.just(tree)
    return st.tuples(st.sampled_from(found), values).map(lambda chosen: replaced(tree, *chosen))
