"""The base of everything that is configured, stored or sent."""

from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from models.weights import Published


class Frozen(BaseModel):
    """Immutable, and strict about its keys: a misspelt setting or option is an error, never silently a default."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True, protected_namespaces=()
    )


class ModuleSettings(Frozen):
    """What a module is loaded with."""

    tuning: ClassVar[frozenset[str]] = frozenset()
    """Settings that never change what comes out, but for its rounding: how fast, in how much memory, how long at most."""

    def deciding(self) -> str:
        """The other settings, which decide what comes out, as JSON."""
        return self.model_dump_json(exclude=set(self.tuning))

    def published(self) -> "tuple[Published, ...]":
        """What has to be fetched, once, before it can be loaded. Raises ModelUnavailable when that cannot be said."""
        return ()
