"""The report's queries: SQL files that run in one transaction of the warehouse and that the page shows as they ran.

Used by `pipeline.reporting.report_facts`. Each file of `sql/report/` holds one statement with `$names` for weeks and
runs. The names are replaced by literals, not parameters, so a reader can paste the statement into `barometer query`.
"""

from string import Template

import pandas as pd
from sqlalchemy import Connection

from pipeline.duck import literal
from pipeline.settings import ROOT

FOLDER = ROOT / "sql" / "report"


class ReportQueries:
    """Queries in one transaction of the warehouse; `sql` keeps each statement by the name of its file."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.sql: dict[str, str] = {}

    def ask(self, name: str, **values: str | list[str]) -> pd.DataFrame:
        """Return the result of the statement in `sql/report/<name>.sql`, with `values` for its `$names`."""
        answer = self._connection.execution_options(no_parameters=True).exec_driver_sql(self.show(name, **values))
        return pd.DataFrame.from_records(answer.all(), columns=list(answer.keys()), coerce_float=True)

    def show(self, name: str, **values: str | list[str]) -> str:
        """Return the statement without running it, to be shown on the page."""
        template = Template((FOLDER / f"{name}.sql").read_text(encoding="utf-8"))
        self.sql[name] = template.substitute({key: _literals(value) for key, value in values.items()}).rstrip()
        return self.sql[name]


def _literals(value: str | list[str]) -> str:
    return ", ".join(literal(text) for text in ([value] if isinstance(value, str) else value))
