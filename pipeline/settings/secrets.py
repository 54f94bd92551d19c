"""Variables in settings: `$NAME` in a path or URL comes from the environment, so that no file contains a password.

Used where the configuration is loaded and printed, and where a URL is opened. The entry points are `filled`,
`refuse_literal`, `masked` and `filled_url`.
"""

import os
import re
from urllib.parse import quote

from pipeline.errors import ConfigError

_USER_AND_PASSWORD = re.compile(r"(?P<before>^(?:[^/@]*//)?[^:@/]*:)(?!//)(?P<secret>.*)(?=@)")
_PARAMETER = re.compile(r"(?P<before>[?&][^=&]*(?:pass|pwd|token|secret|key)[^=&]*=)(?P<secret>[^&#]*)", re.IGNORECASE)
_REFERENCE = re.compile(r"\$(?:\w+|\{\w+\})")
_REFERENCE_AS_PASSWORD = re.compile(rf"(?<=:)({_REFERENCE.pattern})(?=@)")


def refuse_literal(text: str, setting: str, place: str) -> None:
    """Refuse a URL that contains a password other than `$NAME`; the message names the setting and its place only."""
    for pattern in (_USER_AND_PASSWORD, _PARAMETER):
        found = pattern.search(text)
        if found and found["secret"] and not _REFERENCE.fullmatch(found["secret"]):
            raise ConfigError(
                f"{setting} in {place} contains a password.",
                "$NAME instead of the password, which is read from the environment; or, for a source, an Airflow "
                'connection (connection = "…").',
                "write $NAME instead, and set NAME where Barometer runs; if others have the file, change the password.",
            )


def masked(text: str) -> str:
    """Return a URL with `***` for its passwords; `$NAME` stays."""
    for pattern in (_USER_AND_PASSWORD, _PARAMETER):
        text = pattern.sub(lambda m: m[0] if _REFERENCE.fullmatch(m["secret"]) else f"{m['before']}***", text)
    return text


def filled_url(text: str, setting: str) -> str:
    """Return a URL with each `$NAME` replaced from the environment; a password may contain any characters."""
    password = _REFERENCE_AS_PASSWORD.search(text)
    if password is None:
        return filled(text, setting)
    before, after = text[: password.start()], text[password.end() :]
    return filled(before, setting) + quote(filled(password[1], setting), safe="") + filled(after, setting)


def filled(text: str, setting: str) -> str:
    """Return `text` with each `$NAME` and `${NAME}` replaced by the environment's value.

    Raises
    ------
    ConfigError
        If a variable is not set.
    """

    def value(match: re.Match[str]) -> str:
        variable = match[1] or match[2]
        if not os.environ.get(variable):
            raise ConfigError(
                f"{setting}: the environment variable {variable} is not set.",
                "a value for each variable that the setting names.",
                f"set {variable} and run the command again.",
            )
        return os.environ[variable]

    return re.sub(r"\$(?:(\w+)|\{(\w+)\})", value, text)
