"""How people use the service: Python client, command line and page. Knows HTTP and the record's schema only."""

from client.client import AsyncImmersivaudioClient, ImmersivaudioClient
from client.errors import (
    ClientError,
    NotUnderstood,
    RequestRefused,
    RunFailed,
    ServiceFailed,
    ServiceUnreachable,
)
from models.record import Event, ModuleInfo, Options, Progress, Record, Run

__all__ = [
    "AsyncImmersivaudioClient",
    "ClientError",
    "Event",
    "ImmersivaudioClient",
    "ModuleInfo",
    "NotUnderstood",
    "Options",
    "Progress",
    "Record",
    "RequestRefused",
    "Run",
    "RunFailed",
    "ServiceFailed",
    "ServiceUnreachable",
]
