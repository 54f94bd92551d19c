"""The configuration: `pipeline.toml`, overridden by environment variables, checked as a whole before anything runs.

`BAROMETER_CONFIG` names the file (default: `pipeline.toml` in the working directory or beside the package), paths in
it are relative to its folder. `BAROMETER_HOME` names the folder for all state. Any setting can be overridden:
`BAROMETER__BUDGET__QUARANTINE_ROWS=50` sets `quarantine_rows` in `[budget]`; values are read as TOML where they
parse as such, else as text. The entry point is `load_settings`; `tables` and `model` say what can be set.
"""

from pipeline.settings.base import IDENTIFIER
from pipeline.settings.loading import config_path, load_settings
from pipeline.settings.settings import ROOT, Settings
from pipeline.settings.tables import Column, Source

__all__ = ["IDENTIFIER", "ROOT", "Column", "Settings", "Source", "config_path", "load_settings"]
