"""Every error that the client raises on purpose.

ClientError
├── ServiceUnreachable    nobody answers, or the connection kept breaking
├── RequestRefused        4xx: the request is at fault; the message is the service's own sentence
├── ServiceFailed         5xx: the service is at fault
│   └── NotUnderstood     an answer that makes no sense here: another version, or another service
└── RunFailed             the run ended without a result; what it computed is in `run`

Their messages are sentences for people; programs look at the class.
"""

from models.record import Run


class ClientError(Exception):
    """Root of the tree."""


class ServiceUnreachable(ClientError):
    """Nobody answers, or the connection kept breaking."""


class RequestRefused(ClientError):
    """The service refused the request (4xx). Sending the same again will not help."""


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
