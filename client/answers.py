"""Answers that are handed on while they arrive: whoever stands between the service and a browser keeps no file in memory."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus

import httpx

from client.flow import refusal, unreachable

_HANDED_ON = (HTTPStatus.NOT_MODIFIED, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)


class Answer:
    """An answer whose body has not been read. It is open as long as its context is."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self.status: int = response.status_code
        self.headers: Mapping[str, str] = response.headers
        """Names in any case."""

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body as it arrives. Raises ServiceUnreachable when the connection breaks."""
        try:
            async for piece in self._response.aiter_raw():
                yield piece
        except httpx.RequestError as error:
            raise unreachable(error) from error


@asynccontextmanager
async def opened_answer(
    http: httpx.AsyncClient, path: str, *, headers: Mapping[str, str], method: str
) -> AsyncIterator[Answer]:
    """The answer to this request. Raises ServiceUnreachable, RequestRefused, ServiceFailed.

    The service may point to a bucket, which is asked in its place; 304 and 416 are answers, too.
    """
    request = http.build_request(method, path, headers={"Accept-Encoding": "identity", **headers})
    try:
        response = await http.send(request, stream=True, follow_redirects=True)
    except httpx.RequestError as error:
        raise unreachable(error) from error
    try:
        if not response.is_success and response.status_code not in _HANDED_ON:
            raise refusal(response, await _body(response))
        yield Answer(response)
    finally:
        await response.aclose()


async def _body(response: httpx.Response) -> bytes:
    try:
        return await response.aread()
    except httpx.RequestError:
        return b""
