"""Loading: the file's values, overlaid by a profile's and the environment's, as `Settings`, each with its origin.

What comes later wins: the file, the profile in it that `BAROMETER_PROFILE` names, the variables `BAROMETER__…`. The
entry points are `load_settings` and, for whoever tells where a value came from, `load`.
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
"""A setting's name: the tables it stands in and its key."""

_GIVEN = {"config_file": "BAROMETER_CONFIG", "profile": "BAROMETER_PROFILE", "home": "BAROMETER_HOME"}
"""What no file can set."""
_PLACES = {
    "path": {"url", "connection", "table", "query"},
    "url": {"path", "connection", "format", "lookback_weeks"},
    "connection": {"path", "url", "format", "lookback_weeks"},
}
"""Where a source is read from; a later layer that says one of these takes back what an earlier one said of the others,
so that a profile may turn files into a table."""


@dataclass(frozen=True)
class Loaded:
    """The settings and where they came from."""

    settings: Settings
    profiles: list[str]
    """Those that the file has."""
    origins: dict[Name, str]
    """The file's name, the profile or the variable that gave a value."""

    def origin(self, name: Name) -> str:
        """Return what gave a setting its value; a table written as one value has one origin."""
        parents = (name[:length] for length in range(len(name), 0, -1))
        return next((self.origins[parent] for parent in parents if parent in self.origins), DEFAULT)


def load_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings that the configuration file and `environ` give.

    Raises
    ------
    ConfigError
        If the file is absent or no TOML or holds a secret, its profile is not there, or a value is unknown, missing or
        not of its type.
    """
    return load(environ).settings


def load(environ: Mapping[str, str] = os.environ) -> Loaded:
    """Return the settings with their origins; raises what `load_settings` does."""
    path = config_path(environ)
    values = _read(path)
    profiles = _taken_out(path, values)
    chosen = environ.get("BAROMETER_PROFILE") or None
    layers = [(path.name, values)]
    if chosen is not None:
        layers.append((f"[profile.{chosen}]", _profile(path, profiles, chosen)))
    for place, layer in layers:
        _refuse_secrets(layer, str(path) if layer is values else place)
    merged: dict[str, Any] = {}
    origins: dict[Name, str] = {}
    for origin, layer in [*layers, *_variables(environ)]:
        _merge(merged, layer, origin, origins)
    home = Path(environ.get("BAROMETER_HOME") or path.parent / ".barometer").absolute()
    given = {"config_file": path, "profile": chosen, "home": home}
    origins |= {(key,): name for key, name in _GIVEN.items() if environ.get(name)}
    return Loaded(_validated(path, merged, given, origins), sorted(profiles), origins)


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
            f"{path} cannot be read as TOML: {error}.", "a valid TOML file in UTF-8.", "mend the line that is named."
        ) from None


def _taken_out(path: Path, values: dict[str, Any]) -> dict[str, Any]:
    """Return the file's profiles, which are no settings themselves."""
    profiles = values.pop("profile", {})
    if not isinstance(profiles, dict) or not all(isinstance(profile, dict) for profile in profiles.values()):
        raise ConfigError(
            f"{path} has a setting `profile` that is no table of tables.",
            "[profile.<name>] with the settings that differ there.",
            "write it so, or take it out; BAROMETER_PROFILE chooses one.",
        )
    return profiles


def _profile(path: Path, profiles: dict[str, Any], chosen: str) -> dict[str, Any]:
    if chosen not in profiles:
        raise ConfigError(
            f"BAROMETER_PROFILE names {chosen!r}, which {path} does not have.",
            f"one of its profiles: {', '.join(sorted(profiles)) or 'it has none'}.",
            f"correct or unset BAROMETER_PROFILE, or write [profile.{chosen}].",
        )
    profile: dict[str, Any] = profiles[chosen]
    return profile


def _refuse_secrets(table: dict[str, Any], place: str, name: str = "") -> None:
    for key, value in table.items():
        if isinstance(value, dict):
            _refuse_secrets(value, place, f"{name}{key}.")
        elif isinstance(value, str) and (key == "url" or "://" in value):
            refuse_literal(value, f"{name}{key}", place)


def _variables(environ: Mapping[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each variable that is a setting as a layer of its own."""
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
                "a table of pipeline.toml and a key of it; in a variable's name, joined by two underscores.",
                "correct the name, or take it out.",
            )


def _validated(path: Path, merged: dict[str, Any], given: dict[str, Any], origins: dict[Name, str]) -> Settings:
    if taken := sorted(merged.keys() & _GIVEN.keys()):
        raise ConfigError(
            f"{path}, or a variable that overrides it, sets {taken[0]}, which is no setting.",
            f"the environment variable {_GIVEN[taken[0]]}.",
            "take it out.",
        )
    try:
        return Settings.model_validate({**merged, **given})
    except ValidationError as error:
        problems = "; ".join(_problem(e["loc"], e["msg"], path, origins) for e in error.errors())
        raise ConfigError(
            f"{path} is not valid: {problems}.",
            "the settings described in the comments of pipeline.toml.",
            "correct the named settings (an environment variable BAROMETER__… overrides the file).",
        ) from None


def _problem(location: tuple[int | str, ...], message: str, path: Path, origins: dict[Name, str]) -> str:
    name = tuple(map(str, location))
    given = next((origins[name[:end]] for end in range(len(name), 0, -1) if name[:end] in origins), path.name)
    whence = "" if given == path.name else f" (from {given})"
    return f"{'.'.join(name) or 'file'}{whence}: {message}"
