"""Checks SQL that a company wrote before it runs: it may read its sources' views and nothing else.

`features.sql` and `labels.sql` are one SELECT each, with the parameters that they are offered. Files, DuckDB's own
tables, and functions whose result differs from call to call (`now()`, `random()`) are refused, because a snapshot must
be the same whenever it is made. The entry point is `company_query`.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from pipeline.errors import FeatureError
from pipeline.files import sha256_of_text
from pipeline.settings import IDENTIFIER

_TABLE_FUNCTIONS = {"range", "generate_series", "unnest", "repeat", "json_each", "json_tree"}
_CLOCK_WORDS = {"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"}
"""The parser takes these for columns."""


@dataclass(frozen=True)
class CompanyQuery:
    """A checked SELECT."""

    path: Path
    sql: str
    """The statement alone, which may be put in brackets."""
    digest: str
    """sha256 of the file's text."""
    parameters: dict[str, datetime]
    """The parameters that it uses."""

    def failed(self, error: duckdb.Error) -> FeatureError:
        """Return the refusal for an error of DuckDB while it ran the query."""
        return FeatureError(
            f"{self.path} fails: {str(error).strip()}",
            "one SELECT in DuckDB's dialect over the sources' declared columns.",
            "correct the SQL; DuckDB's message names the place.",
        )


def company_query(
    con: duckdb.DuckDBPyConnection, path: Path, tables: Iterable[str], offered: dict[str, datetime]
) -> CompanyQuery:
    """Return the query in `path`, which may select from `tables` and use the parameters `offered`.

    Raises
    ------
    FeatureError
        If the file is absent, is not a single SELECT, or reads or calls what it may not.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _refused(path, f"cannot be read: {error}", "an SQL file in UTF-8") from None
    parsed = json.loads(con.execute("SELECT json_serialize_sql(?)", [text]).fetchall()[0][0])
    if parsed["error"]:
        raise _refused(path, f"cannot be parsed: {parsed['error_message']}", "one SELECT in DuckDB's dialect")
    if len(parsed["statements"]) != 1:
        raise _refused(path, f"holds {len(parsed['statements'])} statements", "one SELECT")
    nodes = list(_nodes(parsed["statements"][0]))
    _check_tables(path, nodes, set(tables))
    _check_functions(con, path, nodes)
    used = {str(node["identifier"]) for node in nodes if node.get("class") == "PARAMETER"}
    if unknown := sorted(used - offered.keys()):
        names = ", ".join("$" + name for name in sorted(offered))
        raise _refused(path, f"uses the parameter ${unknown[0]}", f"only the parameters {names}")
    return CompanyQuery(path, _bare(text), sha256_of_text(text), {name: offered[name] for name in sorted(used)})


def _bare(text: str) -> str:
    """Return the statement without the comments and semicolons after it, so that it can be put in brackets."""
    data = text.encode()
    for position, kind in reversed(duckdb.tokenize(text)):
        if kind != duckdb.token_type.comment and data[position : position + 1] != b";":
            break
        data = data[:position]
    return data.decode().rstrip()


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        yield tree
        for value in tree.values():
            yield from _nodes(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _nodes(value)


def _check_tables(path: Path, nodes: list[dict[str, Any]], tables: set[str]) -> None:
    common = {str(entry["key"]).lower() for node in nodes for entry in node.get("cte_map", {}).get("map", [])}
    # A name that could be a file's is refused even if a WITH defines it, since it may be used out of scope.
    known = tables | {name for name in common if IDENTIFIER.fullmatch(name)}
    for node in nodes:
        name = None
        if node.get("type") == "BASE_TABLE":
            name = ".".join(node["qualified_name"]["path"])
        elif node.get("type") == "TABLE_FUNCTION" and node["function"]["function_name"] not in _TABLE_FUNCTIONS:
            name = f"{node['function']['function_name']}()"
        if name is not None and name.lower() not in known:
            raise _refused(path, f"selects from {name}", f"only the sources: {', '.join(sorted(tables))}")


def _check_functions(con: duckdb.DuckDBPyConnection, path: Path, nodes: list[dict[str, Any]]) -> None:
    """Refuse functions whose result differs from run to run."""
    rows = con.execute("SELECT DISTINCT function_name FROM duckdb_functions() WHERE stability <> 'CONSISTENT'")
    changing = {str(name) for (name,) in rows.fetchall()}
    for node in nodes:
        name = str(node.get("function_name") or "").lower()
        is_age_until_today = name == "age" and len(node.get("arguments", [])) == 1
        if node.get("class") == "COLUMN_REF" and len(node["column_names"]) == 1:
            name = str(node["column_names"][0]).lower()
            is_changing = name in _CLOCK_WORDS
        else:
            is_changing = name in changing or is_age_until_today
        if is_changing:
            raise _refused(
                path, f"uses {name}, which differs from run to run", "$week_end for the time, and no random numbers"
            )


def _refused(path: Path, problem: str, expected: str) -> FeatureError:
    return FeatureError(f"{path} {problem}.", f"{expected}.", "correct the SQL and run again.")
