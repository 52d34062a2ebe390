"""How people use the service: Python client, command line and page. Knows HTTP and the record's schema only.

`ImmersivaudioClient` and `AsyncImmersivaudioClient` submit, follow, cancel, rerun, download and delete runs. Large files go up in
parts and are taken up again after a broken connection; a busy service is waited for.
"""

from client.answers import Answer
from client.async_client import AsyncImmersivaudioClient
from client.client import ImmersivaudioClient
from client.errors import (
    ClientError,
    NoConnectionLeft,
    NotUnderstood,
    RequestRefused,
    RunCancelled,
    RunFailed,
    ServiceBusy,
    ServiceFailed,
    ServiceUnreachable,
)
from models.record import (
    Edits,
    Event,
    FrameDescriptionEdit,
    FrameSelectionEdit,
    ModuleInfo,
    Options,
    Progress,
    PromptEnhancementEdit,
    Record,
    Run,
    SceneFrame,
    ScenePromptsEdit,
    SceneText,
)

__all__ = [
    "Answer",
    "AsyncImmersivaudioClient",
    "ClientError",
    "Edits",
    "Event",
    "FrameDescriptionEdit",
    "FrameSelectionEdit",
    "ImmersivaudioClient",
    "ModuleInfo",
    "NoConnectionLeft",
    "NotUnderstood",
    "Options",
    "Progress",
    "PromptEnhancementEdit",
    "Record",
    "RequestRefused",
    "Run",
    "RunCancelled",
    "RunFailed",
    "SceneFrame",
    "ScenePromptsEdit",
    "SceneText",
    "ServiceBusy",
    "ServiceFailed",
    "ServiceUnreachable",
]
