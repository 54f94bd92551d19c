"""The base class of the configuration's tables, and the types of values that several of them use."""

import re
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

COLUMN_TYPE = re.compile(r"text|integer|number|boolean|date|timestamp|decimal\(\d{1,2}, ?\d{1,2}\)")
IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]*")


class Table(BaseModel):
    """A table of the configuration: unknown keys are refused, and it is immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)


def is_zone(name: str) -> str:
    """Return the name, or refuse one that is not a time zone."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{name!r} is not a time zone; use a name such as Europe/Berlin") from None
    return name


def is_column_type(name: str) -> str:
    """Return the name, or refuse one that is not a column type."""
    if not COLUMN_TYPE.fullmatch(name):
        raise ValueError(
            f"{name!r} is not a column type; use text, integer, number, decimal(p,s), boolean, date, timestamp"
        )
    return name


def is_identifier(name: str) -> str:
    """Return the name, or refuse one with other characters than an identifier has."""
    if not IDENTIFIER.fullmatch(name):
        raise ValueError(f"{name!r} is not a plain name; use lower-case letters, digits and underscores")
    return name


ZoneName = Annotated[str, AfterValidator(is_zone)]
Identifier = Annotated[str, AfterValidator(is_identifier)]
Fraction = Annotated[float, Field(ge=0, le=1)]
