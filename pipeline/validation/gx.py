"""Great Expectations on DuckDB: validate one table or view against one suite.

Great Expectations gives verdicts, counts, samples and a page. Its lists of failing rows are cut
short for SQL tables, so failing rows are fetched with the query that it returns. The entry point is
`validate`.
"""

import logging
from collections.abc import Sequence
from typing import Any, Literal

import duckdb
from pydantic import Field

from pipeline.duck import quoted
from pipeline.handoff import Facts
from pipeline.validation.data_docs import rendered
from pipeline.validation.suites import ExpectationSpec, Severity, Suite, named_columns

Status = Literal["passed", "failed", "skipped"]


class Result(Facts):
    """The outcome of one expectation."""

    suite: str
    type: str
    kwargs: dict[str, Any] = Field(default_factory=dict)
    severity: Severity = "warning"
    status: Status
    observed: str
    expected: str
    unexpected_rows: int | None = None
    """Rows that fail; None for an expectation on the whole table."""

    @property
    def columns(self) -> list[str]:
        """The columns that it looks at."""
        return named_columns(self.kwargs)

    @property
    def title(self) -> str:
        """The type, and the columns if it has any."""
        return f"{self.type} on {', '.join(self.columns)}" if self.columns else self.type

    @property
    def stops(self) -> bool:
        """Whether it is critical and failed."""
        return self.status == "failed" and self.severity == "critical"


class Evaluated(Facts):
    """A suite's results, their page, and queries for the rows that fail."""

    results: list[Result]
    sections: str
    """Great Expectations' page sections, as HTML; see `pipeline.validation.data_docs`."""
    queries: list[tuple[Result, str]]
    """For each expectation on rows that failed: SQL that returns the index columns, then the
    expectation's columns, of the rows that fail."""


def validate(
    con: duckdb.DuckDBPyConnection, table: str, suite: Suite, *, timezone: str, index: Sequence[str] = ()
) -> Evaluated:
    """Validate a table or view of the schema `main`, not a temporary one, against a suite.

    `timezone` is the company's. `index` has the columns that identify a row.

    Raises
    ------
    ConfigError
        If an expectation is unknown to Great Expectations, or cannot be evaluated on the table.
    """
    outcome = _run(con, table, suite, timezone, index)
    numbered = {item.expectation_config.meta["number"]: item for item in outcome.results}
    results, queries = [], []
    for number, spec in suite.expectations.items():
        result = _evaluated(suite, number, numbered[number])
        results.append(result)
        query = _query(table, spec, numbered[number], index)
        if result.status == "failed" and query:
            queries.append((result, query))
    unknown = "no history to compare with yet"
    skipped = [_result(suite.name, spec, "skipped", unknown) for spec in suite.skipped.values()]
    return Evaluated(results=[*results, *skipped], sections=rendered(outcome), queries=queries)


def _run(con: duckdb.DuckDBPyConnection, table: str, suite: Suite, timezone: str, index: Sequence[str]) -> Any:
    import great_expectations as gx
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    from pipeline.validation.duckdb_dialect import gx_arguments

    logging.getLogger("great_expectations").setLevel(logging.CRITICAL)
    expectations = [_expectation(suite, number) for number in suite.expectations]
    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(),
        progress_bars=ProgressBarsConfig(globally=False),
        analytics_enabled=False,
    )
    context = gx.get_context(mode="ephemeral", project_config=config)
    with gx_arguments(con, timezone) as arguments:
        source = context.data_sources.add_sql(suite.name, **arguments)
        try:
            asset = source.add_table_asset(table, table_name=table)
            batch = asset.add_batch_definition_whole_table("all").get_batch()
            return batch.validate(
                gx.ExpectationSuite(suite.name, expectations=expectations),
                result_format={
                    "result_format": "SUMMARY",
                    "partial_unexpected_count": 5,
                    "unexpected_index_column_names": list(index),
                    "return_unexpected_index_query": bool(index),
                },
            )
        finally:
            for engine in (source.get_engine(), source.get_execution_engine().engine):
                engine.dispose()


def _expectation(suite: Suite, number: int) -> Any:
    from great_expectations.exceptions.exceptions import ExpectationNotFoundError, GreatExpectationsError
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
    from great_expectations.expectations.metadata_types import FailureSeverity

    spec = suite.expectations[number]
    meta = {"number": number, "notes": {"format": "string", "content": [spec.notes]}}
    config = ExpectationConfiguration(
        type=spec.type, kwargs=spec.kwargs, severity=FailureSeverity(spec.severity), meta=meta
    )
    try:
        return config.to_domain_obj()
    except ExpectationNotFoundError:
        raise suite.error(number, "Great Expectations has no such expectation.") from None
    except (ValueError, TypeError, GreatExpectationsError) as error:
        reason = " ".join(str(error).split("\n", 1)[-1].split())
        raise suite.error(number, f"its arguments are wrong: {reason}.") from None


def _evaluated(suite: Suite, number: int, item: Any) -> Result:
    if failure := _exception(item.exception_info):
        raise suite.error(number, f"it cannot be evaluated: {failure}")
    unexpected = item.result.get("unexpected_count") if _is_about_rows(item.result) else None
    status: Status = "passed" if item.success else "failed"
    return _result(suite.name, suite.expectations[number], status, _observed(item.result), unexpected)


def _result(suite: str, spec: ExpectationSpec, status: Status, observed: str, unexpected: int | None = None) -> Result:
    arguments = ", ".join(f"{key}={value!r}" for key, value in spec.kwargs.items() if value is not None)
    return Result(
        suite=suite,
        type=spec.type,
        kwargs=spec.kwargs,
        severity=spec.severity,
        status=status,
        observed=observed,
        expected=f"{spec.type}({arguments})",
        unexpected_rows=unexpected,
    )


def _exception(info: dict[str, Any]) -> str | None:
    """Return the message in `exception_info`, which is one record, or one for each failed metric."""
    records = [info] if "raised_exception" in info else list(info.values())
    messages = [record["exception_message"] for record in records if record["raised_exception"]]
    return str(messages[0]).split("\n", 1)[0] if messages else None


def _is_about_rows(result: dict[str, Any]) -> bool:
    return "element_count" in result and "unexpected_count" in result


def _observed(result: dict[str, Any]) -> str:
    sample = ", ".join(map(str, result.get("partial_unexpected_list", [])))[:500]
    if _is_about_rows(result):
        text = f"{result['unexpected_count']} of {result['element_count']} rows fail"
        return f"{text}, for example {sample}" if sample else text
    observed = result.get("observed_value")
    return str(observed) if observed is not None else sample or "nothing"


def _query(table: str, spec: ExpectationSpec, item: Any, index: Sequence[str]) -> str | None:
    if spec.type == "expect_compound_columns_to_be_unique" and "row_condition" not in spec.kwargs:
        columns = named_columns(spec.kwargs)
        key, selected = (", ".join(map(quoted, names)) for names in (columns, [*index, *columns]))
        repeated = f"SELECT {key} FROM {quoted(table)} GROUP BY ALL HAVING count(*) > 1"
        return f"SELECT {selected} FROM {quoted(table)} WHERE ({key}) IN ({repeated})"
    query = item.result.get("unexpected_index_query")
    return str(query).rstrip(";") if query else None
