"""`barometer init`: the drafts from files of every shape, which our own readers accept."""

import gzip
import json
import random
import tomllib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import ConfigError
from pipeline.onboarding.drafts import write_drafts
from pipeline.settings import Settings, load_settings
from pipeline.sources.week_sources import read_sources
from pipeline.weeks import Week

WEEK = Week.parse("2026-03-02")


def drafted(folder: Path) -> Settings:
    write_drafts(folder / "files", folder / "drafts", lambda _: None)
    return load_settings({"BAROMETER_CONFIG": str(folder / "drafts/pipeline.toml")})


def write(folder: Path, name: str, text: str) -> None:
    path = folder / "files" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    data = text.encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)


def types(settings: Settings, source: str) -> dict[str, str]:
    return {name: column.type for name, column in settings.sources[source].columns.items()}


def test_a_plain_file(tmp_path):
    lines = [f"u{i:03d},{i},{i}.5,2026-03-0{i % 7 + 1},2026-03-0{i % 7 + 1} 10:00:00,{'yes' if i % 2 else 'no'},x"
             for i in range(1, 60)]  # fmt: skip
    write(tmp_path, "facts.csv", "user_id,count,price,day,at,is_new,note\n" + "\n".join(lines) + "\n")
    settings = drafted(tmp_path)
    assert types(settings, "facts") == {
        "user_id": "text", "count": "integer", "price": "decimal(12,2)", "day": "date", "at": "timestamp",
        "is_new": "boolean", "note": "text",
    }  # fmt: skip
    source = settings.sources["facts"]
    assert (source.path, source.event_time, source.delimiter, source.decimal_separator) == ("facts.csv", "at", ",", ".")


@pytest.mark.parametrize(
    ("number", "day", "time", "separators"),
    [
        ("1.234,50", "02.03.2026", "02.03.2026 10:15", (",", ".")),
        ("1234,50", "2026/03/02", "2026/03/02 10:15:00", (",", "")),
        ("1,234.50", "03/25/2026", "03/25/2026 10:15", (".", ",")),
        ("1 234.50", "25/03/2026", "25/03/2026T10:15:00", (".", " ")),
    ],
)
def test_what_people_write_is_found_and_reads_without_rejects(tmp_path, number, day, time, separators):
    header = "kunde;artikel;preis;tag;zeit;offen\n"
    write(tmp_path, "Käufe 2026.csv", header + f"007;a;{number};{day};{time};-\n" * 3 + f"8;b;n/a;{day};{time};5\n")
    settings = drafted(tmp_path)
    source = settings.sources["kaufe_2026"]
    assert (source.decimal_separator, source.thousands_separator, source.delimiter) == (*separators, ";")
    assert types(settings, "kaufe_2026") == {
        "kunde": "text", "artikel": "text", "preis": "decimal(12,2)", "tag": "date", "zeit": "timestamp",
        "offen": "integer",
    }  # fmt: skip
    read = read_sources(settings, WEEK).sources["kaufe_2026"]
    assert (read.rows, read.rejects) == (4, 0)


def test_one_line_with_a_value_too_few_does_not_hide_the_delimiter(tmp_path):
    write(tmp_path, "facts.csv", "who;n;m\n" + "a;1;2\n" * 20 + "b;1\n" + "c;1;2\n" * 20)
    assert types(drafted(tmp_path), "facts") == {"who": "text", "n": "integer", "m": "integer"}


def test_weekly_files_parts_and_formats(tmp_path):
    for back in range(10):
        write(
            tmp_path, f"log/log-{WEEK.plus(-back)}.jsonl.gz", '{"who": "a", "when": "2026-03-02T10:00:00Z", "x": {}}\n'
        )
    for day in ("2026-03-03", "2026-03-04"):
        write(tmp_path, f"daily-{day}.csv", "who,n\na,1\n")
    table = pa.table({"who": ["a", "b"], "score": [1.5, 2.5], "nested": [[1], [2]]})
    pq.write_table(table, tmp_path / "files/people.parquet")
    settings = drafted(tmp_path)
    places = {name: (source.path, source.lookback_weeks) for name, source in settings.sources.items()}
    assert places == {
        "log": ("log/log-{week}.jsonl.gz", 8),
        "daily": ("daily-[0-9]*.csv", None),
        "people": ("people.parquet", None),
    }
    assert types(settings, "log") == {"who": "text", "when": "timestamp"}
    assert list(types(settings, "people")) == ["who", "score"]
    assert {name: read.rows for name, read in read_sources(settings, WEEK).sources.items()} == {
        "log": 8, "daily": 2, "people": 2,
    }  # fmt: skip


def test_the_event_time_is_the_last_that_every_row_has_and_later_ones_are_hidden(tmp_path):
    rows = [f"a,2026-03-0{day} 09:00:00,2026-03-0{day} 12:00:00,{'' if day % 2 else '2026-04-01 09:00:00'}"
            for day in range(1, 8)]  # fmt: skip
    write(tmp_path, "visits.csv", "who,booked,came,left\n" + "\n".join(rows) + "\n")
    source = drafted(tmp_path).sources["visits"]
    assert source.event_time == "came"
    assert (source.columns["left"].known_at, source.columns["booked"].known_at) == ("left", None)


def test_values_that_are_no_numbers_become_a_budget_that_says_so(tmp_path):
    write(tmp_path, "facts.csv", "who,n\n" + "a,1\n" * 99 + "b,many\n")
    settings = drafted(tmp_path)
    assert types(settings, "facts")["n"] == "integer"
    assert settings.sources["facts"].reject_fraction == 0.02
    assert "1 row would be rejects" in settings.config_file.read_text()


def test_suites_hold_what_was_observed_as_warnings(tmp_path):
    write(tmp_path, "facts.csv", "member,product,n,at\n" + "".join(f"m{i},p,{i},2026-03-02\n" for i in range(5, 20)))
    settings = drafted(tmp_path)
    suite = json.loads((settings.expectations / "sources/facts.json").read_text())["expectations"]
    (between,) = [each for each in suite if each["type"] == "expect_column_values_to_be_between"]
    assert between["kwargs"] == {"column": "n", "min_value": 5.0, "max_value": 19.0, "mostly": 0.99}
    assert between["severity"] == "warning"
    assert {each["kwargs"].get("column") for each in suite} == {None, "member", "product", "n"}
    assert all("DRAFT" in each["notes"] for each in suite)


def test_files_that_are_not_understood_are_named_and_the_others_drafted(tmp_path):
    write(tmp_path, "good.csv", "who,n\na,1\n")
    write(tmp_path, "bare.csv", "1,2\n3,4\n")
    write(tmp_path, "empty.csv", "")
    write(tmp_path, "long.csv", "who,n\n" + "x" * 9_000_000 + ",1\n")
    numbers = random.Random(1)
    write(tmp_path, "cut.csv.gz", "who,n\n" + "".join(f"a,{numbers.random()}{' ' * 400}\n" for _ in range(40_000)))
    cut = tmp_path / "files/cut.csv.gz"
    cut.write_bytes(cut.read_bytes()[:-100])
    (tmp_path / "files/latin.csv").write_bytes("who,n\nJosé,1\n".encode("latin-1"))
    (tmp_path / "files/book.xlsx").write_bytes(b"PK\x03\x04")
    made = write_drafts(tmp_path / "files", tmp_path / "drafts", lambda _: None)
    assert list(made.sources) == ["good"]
    reasons = {path.name: reason for path, reason in made.left_out.items()}
    assert reasons.keys() == {"bare.csv", "empty.csv", "long.csv", "cut.csv.gz", "latin.csv", "book.xlsx"}
    assert "has no header" in reasons["bare.csv"]
    assert "not in UTF-8" in reasons["latin.csv"]
    assert "a record is longer than 4 MiB" in reasons["long.csv"]
    assert "cannot be read to its end" in reasons["cut.csv.gz"]


def test_nothing_is_replaced(tmp_path):
    write(tmp_path, "facts.csv", "who,n\na,1\n")
    (tmp_path / "drafts/sql").mkdir(parents=True)
    (tmp_path / "drafts/sql/labels.sql").write_text("mine")
    with pytest.raises(ConfigError, match=r"sql/labels\.sql"):
        write_drafts(tmp_path / "files", tmp_path / "drafts", lambda _: None)
    assert (tmp_path / "drafts/sql/labels.sql").read_text() == "mine"
    assert not (tmp_path / "drafts/pipeline.toml").exists()


def test_a_folder_without_files_is_refused(tmp_path):
    (tmp_path / "files").mkdir()
    with pytest.raises(ConfigError, match="no file that can be read"):
        write_drafts(tmp_path / "files", tmp_path / "drafts", lambda _: None)


def test_drafts_of_a_whole_company_say_so_and_pass_the_check(company, tmp_path):
    from pipeline.onboarding.check_config import check_config

    write_drafts(company / "landing", tmp_path / "drafts", lambda _: None)
    environ = {"BAROMETER_CONFIG": str(tmp_path / "drafts/pipeline.toml"), "BAROMETER_HOME": str(tmp_path / "home")}
    findings = check_config(load_settings(environ), None, environ, lambda _: None)
    assert [finding for finding in findings if finding.severity == "problem"] == []
    for file in ("pipeline.toml", "sql/features.sql", "sql/labels.sql"):
        assert "DRAFT" in (tmp_path / "drafts" / file).read_text()
    assert tomllib.loads((tmp_path / "drafts/pipeline.toml").read_text())["sources"]["events"]["lookback_weeks"] == 8


def test_numbers_that_look_like_a_day_are_no_week(tmp_path):
    for day in ("2026-13-45", "2026-13-46"):
        write(tmp_path, f"daily-{day}.csv", "who,n\na,1\n")
    (source,) = drafted(tmp_path).sources.values()
    assert (source.path, source.lookback_weeks) == ("daily-[0-9]*.csv", None)


def test_a_line_that_is_not_json_is_passed_over(tmp_path):
    write(tmp_path, "log.jsonl", "nonsense\n" + '{"who": "a", "n": 1}\n' * 3)
    assert types(drafted(tmp_path), "log") == {"who": "text", "n": "integer"}
