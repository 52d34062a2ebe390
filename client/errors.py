"""Every error that the client raises on purpose.

ClientError
├── ServiceUnreachable    nobody answers, or the connection kept breaking
├── NoConnectionLeft      this client has all its connections in use, and none came free in time
├── RequestRefused        4xx: the request is at fault; the message is the service's own sentence
│   └── ServiceBusy       429: too many runs wait, and went on waiting
├── ServiceFailed         5xx: the service is at fault
│   └── NotUnderstood     an answer that makes no sense here: another version, or another service
├── RunFailed             the run ended without a result; what it computed is in `run`
└── RunCancelled          somebody stopped the run; what it computed is in `run`

Their messages are sentences for people; programs look at the class, and at `status`.
"""

from models.record import Run


class ClientError(Exception):
    """Root of the tree."""

    status: int | None = None
    """HTTP status of the answer that this error is about; None where there was none."""


class ServiceUnreachable(ClientError):
    """Nobody answers, or the connection kept breaking."""


class NoConnectionLeft(ClientError):
    """All `max_connections` of this client are in use, and none came free in time. The service may well be there."""


class RequestRefused(ClientError):
    """The service refused the request (4xx). Sending the same again will not help."""


class ServiceBusy(RequestRefused):
    """The service has too much to do (429). Sending the same again will help, later."""

    retry_after_seconds: float | None = None
    """When the service wants to be asked again; None where it didn't say."""


class ServiceFailed(ClientError):
    """The service broke (5xx)."""


class NotUnderstood(ServiceFailed):
    """The answer makes no sense to this client: another version, or not this service at all."""


class RunFailed(ClientError):
    """The run ended without a result. `run` has its error, and everything computed so far."""

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.run = run

    def __str__(self) -> str:
        error = self.run.error
        return f"{error.module} failed: {error.message}" if error else f"run {self.run.id} ended without a result"


class RunCancelled(ClientError):
    """Somebody stopped the run. `run` has everything computed so far."""

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.run = run

    def __str__(self) -> str:
        return f"run {self.run.id} was cancelled"
