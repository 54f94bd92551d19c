"""`$NAME` in a setting: a place or a secret that comes from the environment instead of the file.

Used where a setting allows it: the paths of `[paths]` and URLs. The entry point is `filled`.
"""

import os
import re

from pipeline.errors import ConfigError


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
