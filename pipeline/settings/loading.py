"""Loading of the settings: merge the layers of values into `Settings`, and keep each value's origin.

The layers, of which a later one wins: the file, the profile that `BAROMETER_PROFILE` names, the variables
`BAROMETER__…`. The entry points are `load_settings` and `load`, which also returns the origins.
"""

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline.errors import ConfigError
from pipeline.settings.secrets import refuse_literal
from pipeline.settings.settings import ROOT, Settings

ENV_PREFIX = "BAROMETER__"
DEFAULT = "default"

Name = tuple[str, ...]
"""A setting's name: its tables and its key."""

_GIVEN = {"config_file": "BAROMETER_CONFIG", "profile": "BAROMETER_PROFILE", "home": "BAROMETER_HOME"}
"""Settings that only an environment variable can set."""
_PLACES = {
    "path": {"url", "connection", "table", "query"},
    "url": {"path", "connection", "format", "lookback_weeks"},
    "connection": {"path", "url", "format", "lookback_weeks"},
}
"""For each way to name a source's place, the keys that it excludes. A later layer that sets one of these ways removes
what earlier layers set for the others, so that a profile can read a table instead of files."""


@dataclass(frozen=True)
class Loaded:
    """The settings and their origins."""

    settings: Settings
    profiles: list[str]
    """The names of the file's profiles."""
    origins: dict[Name, str]
    """The file's name, the profile or the variable that set a value."""

    def origin(self, name: Name) -> str:
        """Return the origin of a setting's value: its own, else that of the table it was written with."""
        return _origin(self.origins, name) or DEFAULT


def load_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings from the configuration file and `environ`.

    Raises
    ------
    ConfigError
        If the file is absent, is not TOML or contains a secret, if it lacks the profile, or if a setting is unknown,
        missing or not of its type.
    """
    return load(environ).settings


def load(environ: Mapping[str, str] = os.environ) -> Loaded:
    """Return the settings with their origins; raise what `load_settings` raises."""
    path = config_path(environ)
    values = _read(path)
    profiles = _take_profiles(path, values)
    chosen = environ.get("BAROMETER_PROFILE") or None
    layers = [(path.name, values)]
    if chosen is not None:
        layers.append((f"[profile.{chosen}]", _profile(path, profiles, chosen)))
    for place, layer in layers:
        _refuse_secrets(layer, str(path) if layer is values else place)
    merged: dict[str, Any] = {}
    origins: dict[Name, str] = {}
    for origin, layer in [*layers, *_variable_layers(environ)]:
        _merge(merged, layer, origin, origins)
    home = Path(environ.get("BAROMETER_HOME") or path.parent / ".barometer").absolute()
    given = {"config_file": path, "profile": chosen, "home": home}
    origins |= {(key,): name for key, name in _GIVEN.items() if environ.get(name)}
    return Loaded(_validate(path, merged, given, origins), sorted(profiles), origins)


def config_path(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the absolute path of the configuration file."""
    named = environ.get("BAROMETER_CONFIG")
    if named:
        return Path(named).absolute()
    here = Path("pipeline.toml").absolute()
    return here if here.exists() else ROOT / "pipeline.toml"


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"There is no configuration file {path}.",
            "a pipeline.toml.",
            "run from the folder that holds it, or name it in BAROMETER_CONFIG.",
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} cannot be read as TOML: {error}.", "a valid TOML file in UTF-8.", "correct the named line."
        ) from None


def _take_profiles(path: Path, values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Remove the profiles from the file's values and return them."""
    profiles = values.pop("profile", {})
    if not isinstance(profiles, dict) or not all(isinstance(profile, dict) for profile in profiles.values()):
        raise ConfigError(
            f"{path} has a setting `profile` that is not a table of tables.",
            "[profile.<name>] with the settings that differ there.",
            "write it like that, or remove it; BAROMETER_PROFILE selects a profile.",
        )
    return profiles


def _profile(path: Path, profiles: dict[str, dict[str, Any]], chosen: str) -> dict[str, Any]:
    if chosen not in profiles:
        raise ConfigError(
            f"BAROMETER_PROFILE names {chosen!r}, which {path} does not have.",
            f"one of its profiles ({', '.join(sorted(profiles)) or 'it has none'}).",
            f"correct or unset BAROMETER_PROFILE, or write [profile.{chosen}].",
        )
    return profiles[chosen]


def _refuse_secrets(table: dict[str, Any], place: str, name: str = "") -> None:
    for key, value in table.items():
        if isinstance(value, dict):
            _refuse_secrets(value, place, f"{name}{key}.")
        elif isinstance(value, str) and (key == "url" or "://" in value):
            refuse_literal(value, f"{name}{key}", place)


def _variable_layers(environ: Mapping[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a layer for each variable that is a setting."""
    for name, text in environ.items():
        if name.startswith(ENV_PREFIX):
            layer: Any = _toml_value(text)
            for part in reversed(name.removeprefix(ENV_PREFIX).lower().split("__")):
                layer = {part: layer}
            yield name, layer


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _merge(
    merged: dict[str, Any], layer: dict[str, Any], origin: str, origins: dict[Name, str], name: Name = ()
) -> None:
    if name[:1] == ("sources",) and len(name) == 2:  # noqa: PLR2004 - sources.<name>
        for other in {other for place in _PLACES.keys() & layer.keys() for other in _PLACES[place]}:
            merged.pop(other, None)
    for key, value in layer.items():
        if not isinstance(value, dict):
            merged[key] = value
            origins[*name, key] = origin
        elif isinstance(beneath := merged.setdefault(key, {}), dict):
            _merge(beneath, value, origin, origins, (*name, key))
        else:
            raise ConfigError(
                f"{origin} names a setting inside {'.'.join((*name, key))}, which is a value.",
                "a table of pipeline.toml and one of its keys; in a variable's name, joined by two underscores.",
                "correct the name, or remove it.",
            )


def _validate(path: Path, merged: dict[str, Any], given: dict[str, Any], origins: dict[Name, str]) -> Settings:
    if taken := sorted(merged.keys() & _GIVEN.keys()):
        raise ConfigError(
            f"{path}, or a variable that overrides it, sets {taken[0]}, which is not a setting.",
            f"the environment variable {_GIVEN[taken[0]]}.",
            "remove it.",
        )
    try:
        return Settings.model_validate({**merged, **given})
    except ValidationError as error:
        problems = "; ".join(_describe_problem(e["loc"], e["msg"], path, origins) for e in error.errors())
        raise ConfigError(
            f"{path} is not valid: {problems}.",
            "the settings described in the comments of pipeline.toml.",
            "correct the named settings (an environment variable BAROMETER__… overrides the file).",
        ) from None


def _describe_problem(location: tuple[int | str, ...], message: str, path: Path, origins: dict[Name, str]) -> str:
    name = tuple(map(str, location))
    origin = _origin(origins, name) or path.name
    return f"{'.'.join(name) or 'file'}{'' if origin == path.name else f' (from {origin})'}: {message}"


def _origin(origins: dict[Name, str], name: Name) -> str | None:
    return next((origins[name[:length]] for length in range(len(name), 0, -1) if name[:length] in origins), None)
