"""All settings as one object. The class is `Settings`."""

from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import Field

from pipeline.settings.base import Identifier, Table, ZoneName
from pipeline.settings.model import Model, Promotion, Routing, Tuning
from pipeline.settings.secrets import filled
from pipeline.settings.service import Service
from pipeline.settings.tables import Budget, Database, Paths, Resources, Services, Source

_PACKAGE = Path(__file__).absolute().parent.parent
ROOT = _PACKAGE / "checkout" if (_PACKAGE / "checkout").exists() else _PACKAGE.parent
"""The checkout, with the files that are not in the package (`dags/`, `sql/`, `airflow.cfg`). A wheel contains a part of
it inside the package: `sql/migrations`, which the service needs."""


class Settings(Table):
    """All settings; see the comments in `pipeline.toml`."""

    config_file: Path
    profile: str | None = None
    """The profile that BAROMETER_PROFILE selected."""
    home: Path
    company: str = "Your company"
    timezone: ZoneName = "UTC"
    paths: Paths = Paths()
    sources: Annotated[dict[Identifier, Source], Field(min_length=1)]
    database: Database = Database()
    budget: Budget = Budget()
    resources: Resources = Resources()
    model: Model = Model()
    tuning: Tuning = Tuning()
    promotion: Promotion = Promotion()
    routing: Routing = Routing()
    services: Services = Services()
    service: Service = Service()

    @property
    def zone(self) -> ZoneInfo:
        """The company's time zone."""
        return ZoneInfo(self.timezone)

    def path(self, text: str) -> Path:
        """Return a configured path with `{home}` and `$NAME` replaced, relative to the configuration file."""
        return self.config_file.parent / filled(text, "[paths]").replace("{home}", str(self.home))

    @property
    def landing(self) -> Path:
        """The landing zone."""
        return self.path(self.paths.landing)

    @property
    def site(self) -> Path:
        """The folder of the web pages: `reports/`, `data_docs/` and `training/`."""
        return self.home / "site"

    @property
    def features_sql(self) -> Path:
        """The query for a week's features."""
        return self.path(self.paths.features_sql)

    @property
    def labels_sql(self) -> Path:
        """The query for labels."""
        return self.path(self.paths.labels_sql)

    @property
    def expectations(self) -> Path:
        """The folder of the expectation suites."""
        return self.path(self.paths.expectations)

    def source_zone(self, name: str) -> ZoneInfo:
        """Return the zone for a source's timestamps without one."""
        return ZoneInfo(self.sources[name].timezone or self.timezone)
