"""Every error that this project raises on purpose.

    ImmersivaudioError
    ├── InvalidInput              what was sent cannot be used; retrying the same will not help
    │   ├── UnsupportedMedia      not a video or an image that we read
    │   ├── DamagedMedia          a video or an image, but cut short or corrupt
    │   ├── InputTooLarge         beyond a stated limit
    │   ├── InvalidOptions        an option that does not exist, or a value outside its bounds
    │   └── MissingOutput         the record lacks what the module reads
    ├── NotFound                  no such run, upload or artifact
    ├── Unauthenticated           no API key that is known here
    ├── Forbidden                 not from there
    ├── Conflict                  not in the state that this needs
    ├── TooBusy                   as many runs as are allowed; later, again
    ├── Cancelled                 somebody asked for the work to stop
    ├── ModelUnavailable          weights that cannot be had, or a model that fails its self-check
    ├── Interrupted               ours, and the next attempt may go better
    │   ├── WorkerDied            the process that worked on it is gone
    │   ├── WorkerAway            no process is there to work on it
    │   ├── OtherModel            another model, or other settings, than whoever asked took for granted
    │   ├── DeadlinePassed        it took longer than it may
    │   ├── OutOfMemory           the model did not fit beside what it was given
    │   └── StorageFailed         the store cannot be read or written
    │       └── StorageFull       there is no space left
    └── ModuleFailed              we broke
        └── MediaToolFailed       ffmpeg did, on input that had been accepted
            └── MediaToolLimit    ffmpeg would have taken longer, or written more, than it may

Each takes exactly one message: an exception with more required arguments cannot be unpickled, and so would not survive
the way back from another process. `serve/` turns classes into HTTP statuses in one table; nobody reads the message but people.
"""


class ImmersivaudioError(Exception):
    """Root of the tree."""

    def __init__(self, message: str) -> None:
        super().__init__(message)


class InvalidInput(ImmersivaudioError):
    """What was sent cannot be used; sending it again will not help."""


class UnsupportedMedia(InvalidInput):
    """Not a video or an image that can be read."""


class DamagedMedia(InvalidInput):
    """A video or an image, but cut short or corrupt."""


class InputTooLarge(InvalidInput):
    """Beyond a limit, which the message states."""


class InvalidOptions(InvalidInput):
    """An option that does not exist, or a value outside its bounds."""


class MissingOutput(InvalidInput):
    """The record lacks an output that the module reads."""


class NotFound(ImmersivaudioError):
    """No such run or upload, or no such artifact of it."""


class Unauthenticated(ImmersivaudioError):
    """The request carries no API key that is known here."""


class Forbidden(ImmersivaudioError):
    """The service does not answer to where the request comes from."""


class Conflict(ImmersivaudioError):
    """What is asked for needs another state: an upload that is complete, a run that has ended."""


class TooBusy(ImmersivaudioError):
    """As many runs as are allowed are waiting. The same request may succeed later."""


class Cancelled(ImmersivaudioError):
    """Somebody asked for the work to stop."""


class ModelUnavailable(ImmersivaudioError):
    """Weights that cannot be had, or a model that fails its self-check."""


class Interrupted(ImmersivaudioError):
    """A reason of ours that may not be there at the next attempt."""


class WorkerDied(Interrupted):
    """The process that worked on it is gone."""


class WorkerAway(Interrupted):
    """No process is there to work on it: it is being replaced, or has too much to do."""


class OtherModel(Interrupted):
    """What works on it has another model or other settings than whoever asked took for granted."""


class DeadlinePassed(Interrupted):
    """The work took longer than it may."""


class OutOfMemory(Interrupted):
    """The model did not fit into memory beside what it was given."""


class StorageFailed(Interrupted):
    """The store, or the disk that is worked on, cannot be read or written."""


class StorageFull(StorageFailed):
    """There is no space left."""


class ModuleFailed(ImmersivaudioError):
    """A module broke on input that had been accepted."""


class MediaToolFailed(ModuleFailed):
    """ffmpeg failed on input that had been accepted. The message ends with what it said."""


class MediaToolLimit(MediaToolFailed):
    """ffmpeg would have taken longer, or written more, than it may: another way to the same result will not help."""
