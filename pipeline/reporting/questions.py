"""The report's questions: SQL files, asked of the warehouse in one transaction and shown on the page as asked.

Used by `pipeline.reporting.page`. A file of `sql/report/` holds one statement with `$names` for weeks and runs. It is
filled with literals, not parameters, so that what the page shows can be given to `barometer query` as it stands.
"""

from string import Template

import pandas as pd
from sqlalchemy import Connection

from pipeline.duck import literal
from pipeline.settings import ROOT

FOLDER = ROOT / "sql" / "report"


class Questions:
    """The warehouse as one transaction sees it.

    Attributes
    ----------
    sql
        For each question asked or shown, by the name of its file, the statement.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.sql: dict[str, str] = {}

    def ask(self, name: str, **values: str | list[str]) -> pd.DataFrame:
        """Return the answer to the statement in `sql/report/<name>.sql`, its `$names` filled with `values`."""
        answer = self._connection.execution_options(no_parameters=True).exec_driver_sql(self.show(name, **values))
        return pd.DataFrame.from_records(answer.all(), columns=list(answer.keys()), coerce_float=True)

    def show(self, name: str, **values: str | list[str]) -> str:
        """Return the statement without asking it: for the page only."""
        template = Template((FOLDER / f"{name}.sql").read_text(encoding="utf-8"))
        self.sql[name] = template.substitute({key: _literals(value) for key, value in values.items()}).rstrip()
        return self.sql[name]


def _literals(value: str | list[str]) -> str:
    return ", ".join(literal(text) for text in ([value] if isinstance(value, str) else value))
