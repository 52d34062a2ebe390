"""Every error that this project raises on purpose.

    ImmersivaudioError
    ├── InvalidInput              what was sent cannot be used; retrying the same will not help
    │   ├── UnsupportedMedia      not a video or an image that we read
    │   ├── DamagedMedia          a video or an image, but cut short or corrupt
    │   ├── InputTooLarge         beyond a stated limit
    │   ├── InvalidOptions        an option that does not exist, or a value outside its bounds
    │   └── MissingOutput         the record lacks what the module reads
    ├── NotFound                  no such run or artifact
    ├── Cancelled                 somebody asked for the work to stop
    ├── ModelUnavailable          weights that cannot be had, or a model that fails its self-check
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
    """No such run, or no such artifact of it."""


class Cancelled(ImmersivaudioError):
    """Somebody asked for the work to stop."""


class ModelUnavailable(ImmersivaudioError):
    """Weights that cannot be had, or a model that fails its self-check."""


class ModuleFailed(ImmersivaudioError):
    """A module broke on input that had been accepted."""


class MediaToolFailed(ModuleFailed):
    """ffmpeg failed on input that had been accepted. The message ends with what it said."""


class MediaToolLimit(MediaToolFailed):
    """ffmpeg would have taken longer, or written more, than it may: another way to the same result will not help."""
