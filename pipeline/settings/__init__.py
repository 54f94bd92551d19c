"""The configuration: `pipeline.toml`, a profile of it, environment variables; checked as a whole before anything runs.

`BAROMETER_CONFIG` names the file (default: `pipeline.toml` in the working directory or beside the package), paths in
it are relative to its folder. `BAROMETER_PROFILE` chooses a `[profile.<name>]` of it, whose settings overlay the
others. `BAROMETER_HOME` names the folder for all state. Any setting can be overridden:
`BAROMETER__BUDGET__QUARANTINE_ROWS=50` sets `quarantine_rows` in `[budget]`; values are read as TOML where they
parse as such, else as text. The entry point is `load_settings`; `tables` and `model` say what can be set.
"""

from pipeline.settings.base import IDENTIFIER
from pipeline.settings.loading import Loaded, config_path, load, load_settings
from pipeline.settings.settings import ROOT, Settings
from pipeline.settings.tables import Column, Source

__all__ = ["IDENTIFIER", "ROOT", "Column", "Loaded", "Settings", "Source", "config_path", "load", "load_settings"]
