"""The service behind a real server: what its own description allows and forbids, bytes that are no HTTP, clients that leave."""

import asyncio
import contextlib
import re
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.transport.serialization import Binary

from tests.serve.fuzzing import TUS, Asked, Fuzzed, examples, fuzzed
from tests.serve.malformed import damaged

CONFORMS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@schemathesis.serializer("application/offset+octet-stream")
def _bytes(context: schemathesis.SerializationContext, value: Any) -> bytes:
    return value.data if isinstance(value, Binary) else str(value).encode(errors="replace")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Fuzzed]:
    with fuzzed(tmp_path) as service:
        yield service


def test_what_the_services_own_description_allows_and_forbids(service: Fuzzed) -> None:
    run = service.run_to_the_end(service.video, seed=1)
    description = schemathesis.openapi.from_dict(service.json("/openapi.json"))
    each = [found.ok() for found in description.get_all_operations() if isinstance(found, Ok)]
    assert len(each) >= 15
    asked = 0

    with service.address() as (host, port):
        for operation in each:
            there = {"run_id": run.id} if "{run_id}" in operation.path and operation.method != "delete" else None
            for mode, known in ((GenerationMode.POSITIVE, there), (GenerationMode.NEGATIVE, None)):

                @examples(12)
                @given(operation.as_strategy(generation_mode=mode, path_parameters=known))
                def ask(case: schemathesis.Case[Any]) -> None:
                    nonlocal asked
                    asked += 1
                    case.call_and_validate(base_url=f"http://{host}:{port}", checks=CONFORMS)

                with contextlib.suppress(Unsatisfiable):  # nothing can be wrong with a call that takes nothing
                    ask()
    assert asked >= 150


def test_bytes_that_are_no_http_and_clients_that_leave(service: Fuzzed) -> None:
    content = service.video.read_bytes()
    form = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + content + b"\r\n--b--\r\n"
    head = b"POST /v1/runs HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    upload = service.ask(Asked("POST", "/v1/uploads", [*TUS, (b"upload-length", b"500")])).headers["location"].encode()
    patch = b"PATCH %s HTTP/1.1\r\nHost: localhost\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n" % upload
    patch += b"Content-Type: application/offset+octet-stream\r\n"
    whole = (
        head + b"Content-Length: %d\r\n\r\n" % len(form) + form,
        head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(form) + form + b"\r\n0\r\n\r\n",
        head + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n" + form,
        head + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + form,
        patch + b"Content-Length: 300\r\n\r\n" + content[:300],
        b"GET /v1/modules HTTP/1.1\r\nHost: localhost\r\n\r\n" * 5,
    )
    statuses: set[int] = set()

    with service.address() as address:

        @examples(150)
        @given(
            st.sampled_from(whole).flatmap(
                lambda one: damaged(one) | st.integers(0, len(one)).map(lambda end: one[:end])
            ),
            st.booleans(),
        )
        def send(sent: bytes, leaves: bool) -> None:
            heard = b""
            with contextlib.suppress(ConnectionError), socket.create_connection(address, timeout=20) as connection:
                connection.sendall(sent)
                if leaves:  # as one whose cable was pulled, and who heard nothing
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    return
                connection.shutdown(socket.SHUT_WR)
                while more := connection.recv(1 << 16):
                    heard += more
            statuses.update(int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", heard))

        send()
        while service.portal.call(_others_in_hand):
            time.sleep(0.02)
    assert {400, 200} <= statuses
    assert max(statuses) < 500, statuses


async def _others_in_hand() -> bool:
    """Whether a request is still being worked on."""
    return any("RequestResponseCycle.run_asgi" in repr(task) for task in asyncio.all_tasks())
