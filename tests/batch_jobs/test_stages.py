"""From a file of rows to one answer for each row, for good and bad rows."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.batch_jobs.completion import complete_job
from pipeline.batch_jobs.file_rows import read_rows
from pipeline.batch_jobs.row_scoring import score_shard
from pipeline.batch_jobs.row_validation import validate_rows
from pipeline.errors import BarometerError, ConservationError, SourceError
from pipeline.files import sha256_of_file
from pipeline.manifests import FeatureColumn
from pipeline.models.pinned import PinnedVersion, Routing
from pipeline.models.predictions import Scored
from pipeline.models.routing import is_challengers
from pipeline.models.scoring.scorer import Scorer
from pipeline.orchestration.resource_use import measured
from tests.batch_jobs.conftest import GOOD, csv_of, gzipped, jsonl_of, parquet_of, through
from tests.company import company_settings
from tests.tiny_model import COMPANY_COLUMNS, tiny_bundle

EXTRA = [*COMPANY_COLUMNS, FeatureColumn(name="extra", kind="number")]
FORMS = {"csv": csv_of, "jsonl": jsonl_of, "parquet": parquet_of}


def some_rows(number: int) -> list[dict[str, object]]:
    """Rows with missing values and an unseen category; subjects repeat."""
    return [
        {
            "customer_id": f"c{n % 7}",
            "product_id": "p1",
            "events": n % 5,
            "amount": None if n % 4 == 3 else 12.25 * (n % 9),
            "is_busy": n % 2 == 0,
            "kind": (None, "a", "b", "never seen")[n % 4],
        }
        for n in range(number)
    ]


def expected_of(settings, sealed, rows) -> list[float]:
    batch = pa.RecordBatch.from_pylist(rows)
    scorer = Scorer.load(*sealed, threshold=settings.model.threshold)
    return scorer.score(batch).column("satisfaction").to_pylist()


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_model_s_own_numbers_in_the_file_s_order(settings, sealed, done, form, compressed):
    rows = some_rows(123)  # of shards of 40 rows
    content = FORMS[form](rows)
    ended = done(*((gzipped(content), f"{form}.gz") if compressed else (content, form)))
    assert [row["row"] for row in ended.results] == list(range(123))
    assert [row["satisfaction"] for row in ended.results] == expected_of(settings, sealed, rows)
    assert [row["customer_id"] for row in ended.results] == [row["customer_id"] for row in rows]
    assert {(row["role"], row["model_version"], row["error"]) for row in ended.results} == {("champion", "3", None)}
    assert [row["likely_satisfied"] for row in ended.results] == [r["satisfaction"] >= 0.5 for r in ended.results]
    assert (ended.scored.rows, ended.scored.predicted, ended.rejects) == (123, 123, [])


@pytest.mark.parametrize("form", FORMS)
def test_columns_may_come_in_any_order_without_subjects_and_with_others_beside(settings, sealed, done, form):
    rows = [
        {
            "is_busy": row["is_busy"],
            "remark": "x",
            "kind": row["kind"],
            "amount": row["amount"],
            "events": row["events"],
        }
        for row in some_rows(9)
    ]
    ended = done(FORMS[form](rows), form)
    assert [row["satisfaction"] for row in ended.results] == expected_of(settings, sealed, rows)
    assert {(row["customer_id"], row["product_id"]) for row in ended.results} == {(None, None)}
    assert ended.scored.ignored_columns == ["remark"]


BAD_ROWS = {
    "a lot of money": (b"c1,p1,3,a lot,true,a", "amount: 'a lot' is not a number"),
    "too few cells": (b"c1,p1,3", "has 3 values, not 6"),
    "too many cells": (b"c1,p1,3,4.5,true,a,b", "has 7 values, not 6"),
    "not UTF-8": (b"c1,p1,3,4.5,true,\xff", r"kind: '\xff' is not text in UTF-8"),
    "infinite": (b"c1,p1,3,inf,true,a", "amount: 'inf' is not a number"),
    "not a number": (b"c1,p1,nan,4.5,true,a", "events: 'nan' is not a number"),
    "too large for the model": (b"c1,p1,1e39,4.5,true,a", "value_is_finite on events: value inf"),
    "quarantined": (b"c1,p1,3,-5,true,a", "expect_column_values_to_be_between on amount: value -5.0"),
    "no object": (b"[1]", "is not a JSON object"),
    "no JSON": (b"{", "is not a JSON object"),
    "text for a number": (b'{"events": "3", "amount": 1, "is_busy": 1, "kind": "a"}', "events: is no number, true"),
    "a number for text": (b'{"events": 3, "amount": 1, "is_busy": 1, "kind": 5}', "kind: is no text or null"),
    "a list": (b'{"events": [3], "amount": 1, "is_busy": 1, "kind": "a"}', "events: is no number, true"),
}


@pytest.mark.parametrize("bad", BAD_ROWS)
def test_a_bad_row_costs_no_other_row_its_prediction(settings, sealed, done, bad):
    line, reason = BAD_ROWS[bad]
    is_json = line[:1] in b"[{"
    header, good = [b"", jsonl_of([GOOD])] if is_json else csv_of([GOOD]).split(b"\n")
    ended = done(b"\n".join([header, good, line, good]), "jsonl" if is_json else "csv")
    expected = expected_of(settings, sealed, [GOOD])[0]
    assert [row["satisfaction"] for row in ended.results] == [expected, None, expected]
    assert [row["error"] for row in ended.results][::2] == [None, None]
    (reject,) = ended.rejects
    assert (reject["row"], reject["line"], reject["reason"]) == (1, 3, ended.results[1]["error"])
    assert reject["reason"].startswith(reason)
    is_quarantined = "value" in reason.split()
    assert reject["kind"] == ("quarantined" if is_quarantined else "unreadable")
    if not is_quarantined:
        assert reject["content"] == line.decode("utf-8", "backslashreplace")
    counts = ended.scored
    assert (counts.rows, counts.predicted) == (3, 2)
    assert (counts.unreadable, counts.quarantined) == ((0, 1) if is_quarantined else (1, 0))


def test_a_bad_row_still_says_whose_it_is(done):
    ended = done(csv_of([GOOD, {**GOOD, "customer_id": "c9", "amount": "a lot"}]), "csv")
    assert (ended.results[1]["customer_id"], ended.rejects[0]["customer_id"]) == ("c9", "c9")


def test_an_empty_text_is_missing_in_csv_and_a_category_elsewhere(settings, sealed, done):
    rows = [{**GOOD, "kind": ""}]
    (in_csv,), (in_json,) = done(csv_of(rows), "csv").results, done(jsonl_of(rows), "jsonl").results
    assert in_csv["satisfaction"] == expected_of(settings, sealed, [{**GOOD, "kind": None}])[0]
    assert in_json["satisfaction"] == expected_of(settings, sealed, rows)[0]


def test_a_nan_in_a_column_of_numbers_is_missing(settings, sealed, done):
    (row,) = done(parquet_of([{**GOOD, "amount": float("nan")}]), "parquet").results
    assert row["satisfaction"] == expected_of(settings, sealed, [{**GOOD, "amount": None}])[0]


@pytest.mark.parametrize("form", FORMS)
def test_a_file_of_nothing_but_bad_rows_has_an_answer_for_each(done, form):
    ended = done(FORMS[form]([{**GOOD, "amount": -1.0 * n} for n in range(1, 60)]), form)
    assert [row["satisfaction"] for row in ended.results] == [None] * 59
    assert len(ended.rejects) == ended.scored.quarantined == 59


def test_a_file_without_rows_has_no_results(done):
    ended = done(csv_of([GOOD]).split(b"\n")[0], "csv")
    assert (ended.scored.rows, ended.results, ended.rejects) == (0, [], [])


def test_shards_end_where_the_rows_end(done):
    for number in (39, 40, 41, 80):
        assert [row["row"] for row in done(csv_of(some_rows(number)), "csv").results] == list(range(number))


NOT_ABOUT_ROWS_ALONE = [
    ("expect_table_row_count_to_be_between", {"min_value": 99}),
    ("expect_column_values_to_not_be_null", {"column": "kind", "mostly": 0.9}),
    ("expect_compound_columns_to_be_unique", {"column_list": ["customer_id", "events"]}),
    ("expect_column_values_to_be_unique", {"column": "events"}),
    ("expect_column_values_to_not_be_null", {"column": "info_name"}),
    ("expect_column_values_to_not_be_null", {"column": "product_id"}),
    ("expect_column_values_to_be_between", {"column": "events", "max_value": {"$PARAMETER": "recent_subjects"}}),
    ("expect_column_proportion_of_non_null_values_to_be_between", {"column": "amount", "min_value": 1.0}),
]
ABOUT_ROWS = [
    ("expect_column_values_to_be_in_set", {"column": "kind", "value_set": ["a"]}, "warning"),
    ("expect_column_values_to_be_in_set", {"column": "customer_id", "value_set": ["c0", "c1", "c2"]}, "critical"),
    ("expect_column_pair_values_a_to_be_greater_than_b", {"column_A": "events", "column_B": "amount"}, "warning"),
]


def test_the_table_as_a_whole_is_not_held_to_anything(settings, planned, company: Path, tmp_path: Path):
    strict = shutil.copytree(company, tmp_path / "strict")
    suite = [(*expectation, "critical") for expectation in NOT_ABOUT_ROWS_ALONE] + ABOUT_ROWS
    specs = [{"type": kind, "kwargs": kwargs, "severity": severity} for kind, kwargs, severity in suite]
    (strict / "expectations/features.json").write_text(json.dumps({"name": "features", "expectations": specs}))
    rows = [{name: value for name, value in row.items() if name != "product_id"} for row in some_rows(8)]
    ended = through(company_settings(strict, settings.home), planned(csv_of(rows), "csv"))
    kept_out = [row["row"] for row in ended.results if row["error"]]
    assert kept_out == [3, 4, 5, 6]
    assert ended.results[3]["error"] == "expect_column_values_to_be_in_set on customer_id: value c3"
    assert [warning.split(":")[0] for warning in ended.scored.warnings] == [
        "expect_column_values_to_be_in_set on kind",
        "expect_column_pair_values_a_to_be_greater_than_b on events, amount",
    ]


def test_in_an_ab_test_each_row_is_by_its_customer_s_model(settings, sealed, done, tmp_path: Path):
    folder = tmp_path / "challenger"
    challenger = PinnedVersion(
        model_version="9", trained_after_cutoff=False, bundle=folder, bundle_digest=tiny_bundle(folder, EXTRA)
    )
    rows = [{**row, "extra": 1.5} for row in some_rows(60)]
    ended = done(csv_of(rows), "csv", routing=Routing(mode="ab", fraction=0.5, challenger=challenger))
    is_its = is_challengers(pa.array([row["customer_id"] for row in rows]), 0.5, "")
    assert 0 < is_its.sum() < 60
    both = [expected_of(settings, bundle, rows) for bundle in (sealed, (folder, challenger.bundle_digest))]
    assert [(row["satisfaction"], row["role"], row["model_version"]) for row in ended.results] == [
        (both[its][n], ("champion", "challenger")[its], ("3", "9")[its]) for n, its in enumerate(is_its.astype(int))
    ]


NOT_OF_ROWS = {
    "a column is absent": (b"events,amount,is_busy\n1,2,true\n", "csv", "has no column 'kind'"),
    "a column is there twice": (b"events,amount,is_busy,kind,kind\n", "csv", "has the column 'kind' twice"),
    "empty": (b"", "csv", "The file is empty"),
    "a key twice": (b"events,amount,is_busy,kind,customer_id,customer_id\n", "csv", "'customer_id' twice"),
    "an open quote": (b'events,amount,is_busy,kind\n1,2,true,"a\n' * 3, "csv", "never closed"),
    "no gzip": (b"events", "csv.gz", "cannot be read to its end"),
    "cut short": (gzipped(csv_of(some_rows(5_000)))[:-100], "csv.gz", "cannot be read to its end"),
    "no Parquet": (b"PAR1 and more", "parquet", "cannot be read as Parquet"),
    "a workbook": (b"PK\x03\x04 and more", "csv", "looks like a ZIP archive"),
    "no record has a feature": (b'{"events": 3}', "jsonl", "no record has 'amount', 'is_busy', 'kind'"),
}


@pytest.mark.parametrize("wrong", NOT_OF_ROWS)
def test_a_file_that_is_none_of_rows_is_refused_as_a_whole(settings, planned, wrong):
    content, suffix, words = NOT_OF_ROWS[wrong]
    with pytest.raises(SourceError, match=re.escape(words)) as refused:
        read_rows(settings, planned(content, suffix))
    assert refused.value.do == "correct the file and hand it in again."
    assert str(settings.home) not in str(refused.value), "who hands in a file need not know where it lies"


def test_a_file_that_is_too_large_or_another_is_refused(settings, planned):
    content = csv_of([GOOD])
    service = settings.service.model_copy(update={"upload_bytes": len(content) - 1})
    with pytest.raises(SourceError, match=r"service\.upload_bytes"):
        read_rows(settings.model_copy(update={"service": service}), planned(content, "csv"))
    with pytest.raises(ConservationError, match="not the one that was handed in"):
        read_rows(settings, planned(content, "csv", digest="0" * 64))


def test_a_row_that_is_lost_or_comes_twice_is_noticed(settings, planned):
    plan = planned(csv_of(some_rows(90)), "csv")
    rows = read_rows(settings, plan)
    validated = validate_rows(settings, plan, rows)
    scored = [score_shard(settings, plan, rows, validated, shard) for shard in range(rows.shards)]

    def with_part(change: Callable[[pa.Table], pa.Table]) -> list[Scored]:
        path = plan.folder / "changed.parquet"
        pq.write_table(change(pq.read_table(scored[1].file)), path)
        changed = scored[1].model_copy(update={"file": path, "digest": sha256_of_file(path)})
        return [scored[0], changed, *scored[2:]]

    faults = {
        "neither": lambda part: part.slice(1),
        "not all present once": lambda part: pa.concat_tables([part, part.slice(0, 1)]),
        "not between 0 and 1": lambda part: part.set_column(1, "satisfaction", pa.array([1.5] * len(part))),
    }
    for words, change in faults.items():
        with pytest.raises(BarometerError, match=words):
            complete_job(settings, plan, rows, validated, with_part(change))
    with pytest.raises(ConservationError, match="exactly once"):
        complete_job(settings, plan, rows, validated, scored[:-1])
    quarantine = pq.read_table(validated.quarantine)
    twice = pa.table([pa.array([0], pa.int32()), pa.array([5]), pa.array([["x"]])], schema=quarantine.schema)
    pq.write_table(pa.concat_tables([quarantine, twice]), validated.quarantine)
    with pytest.raises(ConservationError, match="both predicted and rejected"):
        complete_job(settings, plan, rows, validated, scored)
    assert not (plan.folder / "finished.json").exists()


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_file_of_many_blocks_stays_in_order(settings, planned, form):
    rows = 200_000
    resources = settings.resources.model_copy(update={"threads": 4, "shard_rows": 500_000})
    plan = planned(FORMS[form]([{**GOOD, "events": n} for n in range(rows)]), form)
    read = read_rows(settings.model_copy(update={"resources": resources}), plan)
    (shard,) = read.manifest.parent.glob("*.parquet")
    assert pq.read_table(shard, columns=["events"]).column(0).to_pylist() == list(range(rows))


def test_memory_does_not_grow_with_the_file(settings, planned):
    rows = 1_500_000
    line = b"c1,p1,3,20.5,true,a\n"
    plan = planned(b"customer_id,product_id,events,amount,is_busy,kind\n" + line * rows, "csv")
    resources = settings.resources.model_copy(update={"duckdb_memory": "100MB", "shard_rows": 500_000})
    settings = settings.model_copy(update={"resources": resources})
    read_rows(settings, planned(csv_of([GOOD]), "csv", job_id="before"))
    with measured() as little:
        pass
    with measured() as use:
        read = read_rows(settings, plan)
    assert (read.rows, read.shards) == (rows, 3)
    assert use.peak_mib - little.peak_mib < 250, "of 30 MB of text, 60 MB of values; more rows take no more"


@pytest.mark.parametrize(
    ("uri", "words"),
    [("file:///nowhere/rows.csv", "No such file or directory"), ("nosuch://bucket/rows.csv", "Protocol not known")],
)
def test_a_file_that_is_not_there_is_refused(settings, planned, uri, words):
    with pytest.raises(SourceError, match=f"The file cannot be reached: {words}"):
        read_rows(settings, planned(csv_of([GOOD]), "csv", uri=uri, digest=None))
