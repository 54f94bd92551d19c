"""Loading: the file's values, overridden by the environment, as `Settings`. The entry point is `load_settings`."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline.errors import ConfigError
from pipeline.settings.settings import ROOT, Settings

ENV_PREFIX = "BAROMETER__"


def load_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings that the configuration file and `environ` give.

    Raises
    ------
    ConfigError
        If the file is absent or no TOML, or a value is unknown, missing or not of its type.
    """
    path = config_path(environ)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            found=f"There is no configuration file {path}.",
            expected="a pipeline.toml.",
            do="run from the folder that holds it, or name it in BAROMETER_CONFIG.",
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            found=f"{path} cannot be read as TOML: {error}.",
            expected="a valid TOML file in UTF-8.",
            do="mend the line that is named.",
        ) from None
    _overlay(values, environ)
    home = Path(environ.get("BAROMETER_HOME") or path.parent / ".barometer").absolute()
    try:
        return Settings.model_validate({**values, "config_file": path, "home": home})
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors())
        raise ConfigError(
            found=f"{path} is not valid: {problems}.",
            expected="the settings described in the comments of pipeline.toml.",
            do="correct the named settings (an environment variable BAROMETER__… overrides the file).",
        ) from None


def config_path(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the absolute path of the configuration file."""
    named = environ.get("BAROMETER_CONFIG")
    if named:
        return Path(named).absolute()
    here = Path("pipeline.toml").absolute()
    return here if here.exists() else ROOT / "pipeline.toml"


def _overlay(values: dict[str, Any], environ: Mapping[str, str]) -> None:
    for name, text in environ.items():
        if not name.startswith(ENV_PREFIX):
            continue
        *tables, key = name.removeprefix(ENV_PREFIX).lower().split("__")
        table: Any = values
        for part in tables:
            table = table.setdefault(part, {}) if isinstance(table, dict) else None
        if not isinstance(table, dict):
            raise ConfigError(
                found=f"The environment variable {name} names a setting inside {'.'.join(tables)}, which is a value.",
                expected="a table of pipeline.toml and a key of it, joined by two underscores.",
                do="correct the variable's name or unset it.",
            )
        table[key] = _toml_value(text)


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
