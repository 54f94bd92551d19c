"""Passwords in URLs: none may stand in the file, `$NAME` stands for one, and none is shown.

Used where the configuration is loaded, shown, and where a URL is opened. The entry points are `refuse_literal`,
`masked` and `filled_url`.
"""

import re
from urllib.parse import quote

from pipeline.errors import ConfigError
from pipeline.settings.variables import filled

_USER_AND_PASSWORD = re.compile(r"(?P<before>^(?:[^/@]*//)?[^:@/]*:)(?!//)(?P<secret>.*)(?=@)")
_PARAMETER = re.compile(r"(?P<before>[?&][^=&]*(?:pass|pwd|token|secret|key)[^=&]*=)(?P<secret>[^&#]*)", re.IGNORECASE)
_REFERENCE = re.compile(r"\$(?:\w+|\{\w+\})")
_REFERENCE_AS_PASSWORD = re.compile(rf"(?<=:)({_REFERENCE.pattern})(?=@)")


def refuse_literal(text: str, setting: str, place: str) -> None:
    """Refuse a URL that holds a password other than `$NAME`.

    Parameters
    ----------
    text
        The setting's value.
    setting, place
        Its name, and where it stands, for the refusal; the value itself is never told.

    Raises
    ------
    ConfigError
        If it does.
    """
    for pattern in (_USER_AND_PASSWORD, _PARAMETER):
        found = pattern.search(text)
        if found and found["secret"] and not _REFERENCE.fullmatch(found["secret"]):
            raise ConfigError(
                f"{setting} in {place} holds a password.",
                "no secret in the file: $NAME in its place, taken from the environment, or for a source an "
                'Airflow connection (connection = "…").',
                "write $NAME in its place and set NAME where Barometer runs; change the password if others have "
                "the file.",
            )


def masked(text: str) -> str:
    """Return a URL with its passwords as `***`; references to the environment stay."""
    for pattern in (_USER_AND_PASSWORD, _PARAMETER):
        text = pattern.sub(lambda m: m[0] if _REFERENCE.fullmatch(m["secret"]) else f"{m['before']}***", text)
    return text


def filled_url(text: str, setting: str) -> str:
    """Return a URL with each `$NAME` taken from the environment; a password may hold any characters.

    Raises
    ------
    ConfigError
        If a variable is not set.
    """
    password = _REFERENCE_AS_PASSWORD.search(text)
    if password is None:
        return filled(text, setting)
    before, after = text[: password.start()], text[password.end() :]
    return filled(before, setting) + quote(filled(password[1], setting), safe="") + filled(after, setting)
