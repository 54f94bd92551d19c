"""The configuration: `pipeline.toml`, one of its profiles, and environment variables, checked before anything runs.

`BAROMETER_CONFIG` names the file (default: `pipeline.toml` in the working directory or beside the package); its paths
are relative to its folder. `BAROMETER_PROFILE` selects a `[profile.<name>]`, whose settings replace the others.
`BAROMETER_HOME` names the folder for all state. A variable overrides any setting:
`BAROMETER__BUDGET__QUARANTINE_ROWS=50` sets `quarantine_rows` in `[budget]`. Its value is read as TOML, or as text if
it is not valid TOML. The entry point is `load_settings`; `tables`, `model` and `service` define the settings.
"""

from pipeline.settings.base import IDENTIFIER
from pipeline.settings.loading import Loaded, config_path, load, load_settings
from pipeline.settings.settings import ROOT, Settings
from pipeline.settings.tables import Column, Source

__all__ = ["IDENTIFIER", "ROOT", "Column", "Loaded", "Settings", "Source", "config_path", "load", "load_settings"]
