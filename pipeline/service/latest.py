"""What is made of something once, and again when that is replaced. The one entry point is `Latest`."""

from collections.abc import Callable
from typing import Generic, TypeVar

_Source = TypeVar("_Source")
_Made = TypeVar("_Made")


class Latest(Generic[_Source, _Made]):
    """Keeps what `make` made of the latest source; any thread may ask."""

    def __init__(self, make: Callable[[_Source], _Made]) -> None:
        self._make = make
        self._kept: tuple[_Source, _Made] | None = None

    def known(self, source: _Source) -> _Made | None:
        """Return what was made of this very object; None when nothing was yet."""
        kept = self._kept
        return kept[1] if kept is not None and kept[0] is source else None

    def of(self, source: _Source) -> _Made:
        """Return what is made of the source."""
        made = self.known(source)
        if made is None:
            made = self._make(source)
            self._kept = (source, made)
        return made
