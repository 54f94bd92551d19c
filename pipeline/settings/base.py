"""What every table of the configuration has in common, and the checked kinds of values."""

import re
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

COLUMN_TYPE = re.compile(r"text|integer|number|boolean|date|timestamp|decimal\(\d{1,2}, ?\d{1,2}\)")
IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]*")


class Table(BaseModel):
    """A table of the configuration: no unknown keys, and never changed once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)


def is_zone(name: str) -> str:
    """Return the name of a time zone, if it is one."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{name!r} is no time zone; use a name such as Europe/Berlin") from None
    return name


def is_column_type(name: str) -> str:
    """Return the name of a column type, if it is one."""
    if not COLUMN_TYPE.fullmatch(name):
        raise ValueError(
            f"{name!r} is no column type; use text, integer, number, decimal(p,s), boolean, date, timestamp"
        )
    return name


def is_identifier(name: str) -> str:
    """Return a plain name, if it is one."""
    if not IDENTIFIER.fullmatch(name):
        raise ValueError(f"{name!r} is no plain name; use lower-case letters, digits and underscores")
    return name


ZoneName = Annotated[str, AfterValidator(is_zone)]
Identifier = Annotated[str, AfterValidator(is_identifier)]
Fraction = Annotated[float, Field(ge=0, le=1)]
