"""A company with one source, `feed`, whose file a test writes byte by byte."""

from pathlib import Path
from typing import Any

import duckdb

from pipeline.manifests import SourceRead
from pipeline.settings import Settings, load_settings
from pipeline.sources.week_sources import read_sources
from pipeline.weeks import Week

WEEK = Week.parse("2026-03-02")
COLUMNS = {"id": "text", "amount": "number"}


def feed_settings(
    folder: Path,
    content: bytes | str | None = None,
    name: str = "feed.csv",
    columns: dict[str, str] = COLUMNS,
    declared: str = "",
) -> Settings:
    """Return the settings of a company in `folder` whose landing zone holds `content`."""
    landing = folder / "landing"
    landing.mkdir(parents=True, exist_ok=True)
    if content is not None:
        (landing / name).write_bytes(content.encode() if isinstance(content, str) else content)
    place = "" if "path =" in declared or "url =" in declared else f'path = "{name}"\n'
    types = "\n".join(f'"{column}" = {kind if kind[0] == "{" else repr(kind)}' for column, kind in columns.items())
    config = folder / "pipeline.toml"
    config.write_text(
        f'timezone = "Europe/Berlin"\n[paths]\nlanding = "landing"\n'
        f"[sources.feed]\n{place}{declared}\n[sources.feed.columns]\n{types}\n"
    )
    return load_settings({"BAROMETER_CONFIG": str(config), "BAROMETER_HOME": str(folder / "home")})


def read(settings: Settings, week: Week = WEEK) -> SourceRead:
    """Return the source as read, its conservation of lines checked against the files themselves."""
    source = read_sources(settings, week).sources["feed"]
    for file in source.files:
        counts = f"SELECT count(*) FILTER (__reason IS NULL), count(__reason), count(__raw) FROM '{file.parquet}'"
        assert duckdb.execute(counts).fetchall() == [(file.rows, file.rejects, file.rejects)]
    return source


def good(settings: Settings) -> list[tuple[Any, ...]]:
    """Return the good rows, in the order of their lines, each starting with its line; times as text in UTC."""
    return _select(settings, "__line, * EXCLUDE (__line, __reason, __raw)", "__reason IS NULL")


def bad(settings: Settings) -> list[tuple[int, str, str]]:
    """Return line, reason and text of the rejects."""
    return _select(settings, "__line, __reason, replace(__raw, chr(64976), '') AS __raw", "__reason IS NOT NULL")


def _select(settings: Settings, columns: str, condition: str) -> list[tuple[Any, ...]]:
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        rows: list[tuple[Any, ...]] = []
        for file in read(settings).files:
            relation = con.sql(f"SELECT {columns} FROM '{file.parquet}' WHERE {condition} ORDER BY __line")
            casts = [
                f'CAST("{name}" AS VARCHAR)' if str(kind).startswith(("TIMESTAMP", "DATE", "DECIMAL")) else f'"{name}"'
                for name, kind in zip(relation.columns, relation.types, strict=True)
            ]
            rows += relation.select(", ".join(casts)).fetchall()
        return rows
