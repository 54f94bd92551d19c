"""A tiny company made up for the tests, with neutral names, written to a folder as a team would bring it."""

import json
import os
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

from pipeline.settings import Settings, load_settings
from pipeline.weeks import Week

FIRST_WEEK = Week.parse("2026-01-05")

CONFIG = """
company = "Test & Co"
timezone = "Europe/Berlin"

[sources.events]
path = "events-{week}.csv"
lookback_weeks = 4
event_time = "happened_at"
reject_rows = 2

[sources.events.columns]
customer_id = "text"
product_id = "text"
happened_at = "timestamp"
amount = "decimal(12,2)"
kind = "text"

[sources.answers]
path = "answers.jsonl"
event_time = "answered_at"

[sources.answers.columns]
customer_id = "text"
product_id = "text"
about_week = "date"
answer = "integer"
answered_at = "timestamp"

[budget]
quarantine_rows = 2

[resources]
duckdb_memory = "300MB"
shard_rows = 40

[model]
training_weeks = 6
maturity_weeks = 1
validation_weeks = 1
test_weeks = 1

[tuning]
candidates = 2
folds = 2

[tuning.space.hist_gradient_boosting]
max_iter = [20, 40]
min_samples_leaf = [10]
"""

FEATURES_SQL = """
SELECT
    customer_id,
    product_id,
    count(*) AS events,
    sum(amount) AS amount,
    max(kind) AS kind,
    count(*) FILTER (WHERE happened_at >= $week_start) > 1 AS is_busy,
    customer_id || ' of ' || product_id AS info_name
FROM events
WHERE happened_at < $week_end
GROUP BY customer_id, product_id
"""

LABELS_SQL = """
SELECT
    customer_id,
    product_id,
    about_week AS week,
    answer >= 4 AS satisfied,
    answered_at AS observed_at
FROM answers
"""

SUITES = {
    "sources/events": [
        {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 1}, "severity": "critical"}
    ],
    "features": [
        {
            "type": "expect_column_values_to_be_between",
            "kwargs": {"column": "amount", "min_value": 0, "max_value": 10000},
            "severity": "critical",
        },
        {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "kind"}, "severity": "warning"},
    ],
    "predictions": [
        {
            "type": "expect_column_values_to_be_between",
            "kwargs": {"column": "satisfaction", "min_value": 0, "max_value": 1},
            "severity": "critical",
        }
    ],
}


def write_company(folder: Path, weeks: int = 10, customers: int = 100) -> Path:
    """Write the company's configuration, SQL, suites and data; return the configuration's path.

    Every customer has one product (`p0` to `p2`) and one to three events a week; who spends much is satisfied.
    Each answers about a week nine days after its Monday. The data is the same at every call.
    """
    (folder / "sql").mkdir(parents=True)
    (folder / "sql/features.sql").write_text(FEATURES_SQL)
    (folder / "sql/labels.sql").write_text(LABELS_SQL)
    for name, expectations in SUITES.items():
        path = folder / "expectations" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"name": name, "expectations": expectations}, indent=1))
    (folder / "pipeline.toml").write_text(f'{CONFIG}\n[paths]\nlanding = "landing"\n')
    landing = folder / "landing"
    landing.mkdir()
    answers = []
    for index in range(weeks):
        week = FIRST_WEEK.plus(index)
        lines = ["customer_id,product_id,happened_at,amount,kind"]
        for customer in range(customers):
            key = f"c{customer:04d},p{customer % 3}"
            for event in range(1 + (customer + index) % 3):
                day = week.monday + timedelta(days=(customer + event) % 7)
                amount = (customer * 37 + index * 11 + event * 5) % 100
                lines.append(f"{key},{day} 10:0{event}:00,{amount}.50,{'abc'[(customer + event) % 3]}")
            spent = (customer * 37 + index * 11) % 100
            noise = (customer * 7 + index * 13) % 10
            answers.append(
                {
                    "customer_id": f"c{customer:04d}",
                    "product_id": f"p{customer % 3}",
                    "about_week": str(week),
                    "answer": 5 if spent + 5 * noise > 70 else 2,
                    "answered_at": f"{week.monday + timedelta(days=9)}T09:00:00",
                }
            )
        (landing / f"events-{week}.csv").write_text("\n".join(lines) + "\n")
    (landing / "answers.jsonl").write_text("".join(json.dumps(answer) + "\n" for answer in answers))
    return folder / "pipeline.toml"


def own_database(server_url: str) -> dict[str, str]:
    """Return overrides for `company_settings`: databases on this server that no other test uses."""
    return {"DATABASE__URL": server_url, "DATABASE__PREFIX": f"t{uuid4().hex[:12]}"}


def company_settings(folder: Path, home: Path, **overrides: str) -> Settings:
    """Return the settings of the company in `folder` with state in `home`; overrides as `BAROMETER__…` values."""
    environ = {"BAROMETER_CONFIG": str(folder / "pipeline.toml"), "BAROMETER_HOME": str(home)}
    database = {k: v for k, v in os.environ.items() if k.startswith("BAROMETER__DATABASE__")}
    return load_settings({**environ, **database, **{f"BAROMETER__{k}": v for k, v in overrides.items()}})
