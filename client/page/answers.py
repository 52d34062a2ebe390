"""How the page's own routes answer: whom, and with what where the page or the service refuses. In words, as problem details."""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from client.errors import ClientError, NoConnectionLeft, NotUnderstood, RequestRefused, ServiceBusy, ServiceUnreachable
from client.page.words import trouble

GUARD = "X-Immersivaudio"
"""A header that our own scripts send with whatever changes something; a form of another site cannot."""

AGAIN_SECONDS = 2
"""When to ask again for a service that is not there just now, or a page that has too much to do."""

Allowed = Callable[[Request], bool]
Handler = Callable[[Request], Awaitable[Response]]


class Refused(Exception):
    """A request that the page itself refuses, and the sentence that says why."""

    def __init__(self, status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.headers = status, headers or {}


def guarded(handler: Handler, allowed: Allowed, *, needs: str = GUARD) -> Handler:
    """The handler for those who are `allowed` alone, with errors in words.

    Whoever is not is answered with 401, and with 403 who would change something without the header `needs`.
    """

    async def answer(request: Request) -> Response:
        try:
            if not allowed(request):
                raise Refused(HTTPStatus.UNAUTHORIZED, "You are not signed in any more. Reload the page, and sign in.")
            if request.method not in ("GET", "HEAD") and needs not in request.headers:
                raise Refused(HTTPStatus.FORBIDDEN, f"The header {needs} is missing.")
            return await handler(request)
        except Refused as refused:
            return problem(refused.status, str(refused), refused.headers)
        except ClientError as error:
            return problem(status(error), str(trouble(error)), _retry_after(error))
        except ClientDisconnect:
            return Response(status_code=HTTPStatus.BAD_REQUEST)  # nobody is there to read it

    return answer


def problem(status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """The answer that says what is wrong."""
    content = {"title": status.phrase, "status": status.value, "detail": detail}
    return JSONResponse(content, status, headers, media_type="application/problem+json")


def status(error: ClientError) -> HTTPStatus:
    """What a browser is answered where the service has refused or failed: its own status, where that means the same here."""
    match error:
        case ServiceUnreachable() | NoConnectionLeft():
            return HTTPStatus.SERVICE_UNAVAILABLE
        case RequestRefused(status=HTTPStatus.UNAUTHORIZED):
            # That is about the page's key of the service: signing in to the page would not help.
            return HTTPStatus.FORBIDDEN
        case NotUnderstood():
            return HTTPStatus.BAD_GATEWAY
    return HTTPStatus(error.status) if error.status in set(HTTPStatus) else HTTPStatus.BAD_GATEWAY


def _retry_after(error: ClientError) -> dict[str, str]:
    if isinstance(error, ServiceUnreachable | NoConnectionLeft):
        return {"Retry-After": str(AGAIN_SECONDS)}
    if isinstance(error, ServiceBusy) and error.retry_after_seconds is not None:
        return {"Retry-After": f"{error.retry_after_seconds:.0f}"}
    return {}
