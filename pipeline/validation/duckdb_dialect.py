"""A SQLAlchemy dialect of DuckDB that works with Great Expectations; used by `pipeline.validation.gx`.

The entry point is `gx_arguments`.
"""

import atexit
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import duckdb
from duckdb_engine import ConnectionWrapper
from duckdb_engine import Dialect as DuckDBDialect
from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, registry
from sqlalchemy.dialects.postgresql.base import PGCompiler
from sqlalchemy.dialects.postgresql.psycopg2 import PGExecutionContext_psycopg2
from sqlalchemy.engine.cursor import FullyBufferedCursorFetchStrategy
from sqlalchemy.engine.interfaces import ReflectedColumn, ReflectedPrimaryKeyConstraint
from sqlalchemy.pool import StaticPool
from sqlalchemy.types import NullType

from pipeline.duck import quoted

registry.register("duckdb.buffered", __name__, "Dialect")
for _name in [name for name in sys.modules if name.partition(".")[0] == "duckdb_engine"]:
    # Together with Great Expectations, these modules outlive the interpreter, and DuckDB prints
    # sixty lines about the objects they still hold. Release the objects before.
    atexit.register(vars(sys.modules[_name]).clear)


@contextmanager
def gx_arguments(con: duckdb.DuckDBPyConnection, timezone: str) -> Iterator[dict[str, Any]]:
    """Yield the arguments of Great Expectations' `add_sql` for a data source on `con`'s tables and views.

    It gets its own cursor, which shares everything with `con` except temporary objects and the
    session.
    """
    cursor = con.cursor()
    cursor.execute("SET TimeZone = ?", [timezone])
    cursor.execute("SET enable_progress_bar = false")
    held = [ConnectionWrapper(cursor)]
    try:
        yield {
            "connection_string": "duckdb+buffered://",
            "kwargs": {"creator": lambda: held[0], "poolclass": StaticPool},
        }
    finally:
        # Great Expectations keeps its last data source until the process ends, and DuckDB reports
        # objects that are left then. So the data source must not hold the cursor.
        held.pop().close()


class _ExecutionContext(PGExecutionContext_psycopg2):
    """Reads results at once, since Great Expectations fetches them after running other statements."""

    def post_exec(self) -> None:
        super().post_exec()  # type: ignore[no-untyped-call]
        if self.cursor.description:
            rows = self.cursor.fetchall()
            self.cursor_fetch_strategy = FullyBufferedCursorFetchStrategy(self.cursor, initial_buffer=rows)


class _Compiler(PGCompiler):
    """Writes values into the SQL, because Great Expectations returns queries as text that we run."""

    def visit_bindparam(self, bindparam: Any, *args: Any, **options: Any) -> Any:
        options["literal_binds"] = True
        return super().visit_bindparam(bindparam, *args, **options)  # type: ignore[no-untyped-call]


class Dialect(DuckDBDialect):
    """duckdb-engine's dialect with fixes for Great Expectations."""

    supports_statement_cache = False  # the values are in the text
    execution_ctx_cls = _ExecutionContext
    statement_compiler = _Compiler

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.dialect = postgresql.dialect  # Great Expectations looks here to see that LIKE and `~` work

    # The inherited methods send queries that only PostgreSQL understands.

    def get_pk_constraint(
        self, connection: Connection, table_name: str, schema: str | None = None, **kw: Any
    ) -> ReflectedPrimaryKeyConstraint:
        """Return no key."""
        del connection, table_name, schema, kw
        return {"constrained_columns": [], "name": None}

    def get_columns(
        self, connection: Connection, table_name: str, schema: str | None = None, **kw: Any
    ) -> list[ReflectedColumn]:
        """Return the columns of a table or view."""
        del schema, kw
        rows = connection.exec_driver_sql(f"DESCRIBE {quoted(table_name)}").fetchall()
        types = [self.ischema_names.get(row[1].lower().partition("(")[0], NullType) for row in rows]
        return [
            {"name": row[0], "type": kind(), "nullable": True, "default": None}
            for row, kind in zip(rows, types, strict=True)
        ]
