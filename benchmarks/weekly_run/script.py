"""The script that a competent person writes today: pandas, Great Expectations, scikit-learn, PostgreSQL.

It makes the features of `sql/features.sql` from the same files and loads the predictions into a
table. It skips broken lines, drops rows that fail a critical expectation, counts and records nothing,
and replaces the table while readers wait. The entry point is `predict_week`.
"""

import gzip
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from pipeline.models.bundle import Feature
from pipeline.models.scoring.columns import MISSING
from pipeline.settings import Settings
from pipeline.validation.suites import load_suite, named_columns, week_parameters
from pipeline.weeks import Week

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

KEYS = ["customer_id", "product_id"]
USED = ["minutes_this_week", "minutes_three_weeks_before", "crashes"]
COUNTS = [*USED, "late_deliveries", "tickets", "open_tickets"]
INFO = ["info_customer", "segment", "product_name", "monthly_value"]
FEW_MINUTES = 30
Model = tuple["Pipeline", list[Feature], float]
"""The fitted pipeline, its inputs, and the threshold of `likely_satisfied`."""


def predict_week(
    settings: Settings, week: Week, model: Model, database: str, stage: Callable[[str], AbstractContextManager[None]]
) -> pd.DataFrame:
    """Replace the table `script_predictions` by the week's predictions, and return them."""
    with stage("read"):
        files = {name: _read_source(settings, name, week) for name in settings.sources}
    with stage("validate_sources"):
        for name, (frame, *earlier) in files.items():
            recent = {"recent_rows": pd.Series(map(len, earlier)).median() if earlier else None}
            for suite in (f"sources/{name}", f"sources/whole/{name}"):
                if (settings.expectations / f"{suite}.json").exists():
                    validate(settings, week, suite, frame, recent)
    with stage("features"):
        rows = features(files, week.start(settings.zone), week.cutoff(settings.zone))
        del files
    with stage("validate_features"):
        rows = rows.drop(index=validate(settings, week, "features", rows, {"recent_subjects": None}))
    with stage("score"):
        pipeline, inputs, threshold = model
        satisfaction = pipeline.predict_proba(pd.DataFrame({each.name: _input(rows, each) for each in inputs}))[:, 1]
        scores = {"week": week.monday, "satisfaction": satisfaction, "likely_satisfied": satisfaction >= threshold}
        predictions = rows[[*KEYS, *INFO]].assign(**scores)
    with stage("check"):
        validate(settings, week, "predictions", predictions, {})
    with stage("publish"):
        _load(predictions, database)
    return predictions


def _read_source(settings: Settings, name: str, week: Week) -> list[pd.DataFrame]:
    """Return the source's files, the week's own first, by the fastest readers, without broken lines."""
    source = settings.sources[name]
    paths = [(source.path or "").replace("{week}", str(week.plus(-back))) for back in range(source.lookback_weeks or 1)]
    return [_read(settings.landing / path) for path in paths]


def _read(file: Path) -> pd.DataFrame:
    if file.suffix == ".parquet":
        return pd.read_parquet(file)
    if ".csv" in file.suffixes:
        frame = pd.read_csv(file, engine="pyarrow", on_bad_lines="skip")
        if "minutes" in frame:
            frame["minutes"] = pd.to_numeric(frame["minutes"], errors="coerce")
            frame = frame[frame["minutes"].notna()]
        return frame
    import pyarrow as pa
    import pyarrow.json

    with gzip.open(file) as lines:
        whole = b"".join(line for line in lines if line.endswith(b"}\n"))
    frame = pyarrow.json.read_json(pa.py_buffer(whole)).to_pandas()
    times = [column for column in frame if column.endswith("_at")]
    return frame.assign(**{time: pd.to_datetime(frame[time], format="ISO8601", utc=True) for time in times})


def validate(settings: Settings, week: Week, name: str, frame: pd.DataFrame, recent: dict[str, Any]) -> list[int]:
    """Validate a frame by a suite; return the index of the rows that fail a critical expectation."""
    import great_expectations as gx

    file, parameters = settings.expectations / f"{name}.json", week_parameters(week, settings.zone) | recent
    specs = list(load_suite(name, file, list(frame), parameters).expectations.values())
    columns = {column for spec in specs for column in named_columns(spec.kwargs)}
    context = gx.get_context(mode="ephemeral")
    asset = context.data_sources.add_pandas(name).add_dataframe_asset(name)
    # Great Expectations hashes all columns that it gets, so it gets only those it looks at.
    given = {"dataframe": frame[sorted(columns)]}
    batch = asset.add_batch_definition_whole_dataframe(name).get_batch(given)
    suite = gx.ExpectationSuite(name, expectations=[{"type": spec.type, "kwargs": spec.kwargs} for spec in specs])
    failing: set[int] = set()
    for spec, result in zip(specs, batch.validate(suite, result_format="COMPLETE").results, strict=True):
        if result.exception_info.get("raised_exception"):
            raise RuntimeError(f"{name}: {spec.type}: {result.exception_info}")
        if spec.severity == "critical" and not result.success:
            failing.update(result.result.get("unexpected_index_list") or [])
    return sorted(failing)


def features(files: dict[str, list[pd.DataFrame]], start: datetime, end: datetime) -> pd.DataFrame:
    """Return a row for each active subscription, as `sql/features.sql` does."""
    rows = files["subscriptions"][0]
    rows = rows[~(rows["cancelled_at"] < end) & (rows["started_at"] < end)].drop_duplicates(KEYS)
    rows["products_held"] = rows.groupby("customer_id")["product_id"].transform("size")
    rows["tenure_weeks"] = (end - rows["started_at"]) // timedelta(weeks=1)
    customers = files["customers"][0].drop_duplicates("customer_id").rename(columns={"name": "info_customer"})
    products = files["products"][0].rename(columns={"category": "product_category", "name": "product_name"})
    rows = rows.merge(customers, "left", "customer_id").merge(products, "left", "product_id")
    rows = rows.merge(_use(pd.concat(files["usage"]), start, end), "left", KEYS)
    rows = rows.merge(_deliveries(pd.concat(files["deliveries"]), start, end), "left", KEYS)
    rows = rows.merge(_tickets(pd.concat(files["tickets"]), start, end), "left", KEYS)
    rows[COUNTS] = rows[COUNTS].fillna(0)
    before = rows["minutes_three_weeks_before"]
    change = 100.0 * (3 * rows["minutes_this_week"] - before) / before
    return rows.assign(minutes_change_percent=change.where(before >= FEW_MINUTES))


def _use(use: pd.DataFrame, start: datetime, end: datetime) -> pd.DataFrame:
    use = use[use["last_used_at"] < end].drop_duplicates([*KEYS, "week"])
    is_this_week = pd.to_datetime(use["week"]) == pd.Timestamp(start.date())
    use["minutes_this_week"] = use["minutes"].where(is_this_week, 0)
    use["minutes_three_weeks_before"] = use["minutes"].where(~is_this_week, 0)
    grouped = use.groupby(KEYS, sort=False, as_index=False)
    part = grouped.agg(dict.fromkeys(USED, "sum") | {"last_used_at": "max"})
    part["days_since_last_use"] = (end - part.pop("last_used_at")) // timedelta(days=1)
    return part


def _deliveries(sent: pd.DataFrame, start: datetime, end: datetime) -> pd.DataFrame:
    sent = sent[(sent["delivered_at"] >= start - timedelta(days=35)) & (sent["delivered_at"] < end)]
    sent = sent.drop_duplicates([*KEYS, "delivery_id"])
    day = sent["delivered_at"].dt.tz_localize(None).dt.floor("D")
    sent["days_late"] = (day - pd.to_datetime(sent["promised_on"])).dt.days.clip(lower=0)
    sent["is_late"] = sent["days_late"] > 0
    return sent.groupby(KEYS, sort=False, as_index=False).agg(
        late_deliveries=("is_late", "sum"),
        worst_days_late=("days_late", "max"),
        had_damage=("is_damaged", "max"),
        carrier=("carrier", "max"),
    )


def _tickets(opened: pd.DataFrame, start: datetime, end: datetime) -> pd.DataFrame:
    opened = opened[(opened["opened_at"] >= start - timedelta(days=49)) & (opened["opened_at"] < end)]
    opened = opened.drop_duplicates([*KEYS, "ticket_id"]).sort_values(["opened_at", "ticket_id"])
    resolved = opened["resolved_at"].where(opened["resolved_at"] < end)
    opened["is_open"], opened["hours"] = resolved.isna(), (resolved - opened["opened_at"]) // timedelta(hours=1)
    opened["topic"] = opened["topic"].fillna("unknown")
    return opened.groupby(KEYS, sort=False, as_index=False).agg(
        tickets=("is_open", "size"),
        open_tickets=("is_open", "sum"),
        slowest_answer_hours=("hours", "max"),
        latest_topic=("topic", "last"),
    )


def _input(rows: pd.DataFrame, feature: Feature) -> "pd.Series[Any]":
    column = rows[feature.name]
    return column.astype("float32") if feature.kind == "number" else column.astype(object).fillna(MISSING)


def _load(predictions: pd.DataFrame, database: str) -> None:
    from adbc_driver_postgresql import dbapi

    with dbapi.connect(database) as connection:  # pandas' fastest way
        predictions.to_sql("script_predictions", connection, if_exists="replace", index=False)
        connection.commit()
