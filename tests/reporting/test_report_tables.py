from datetime import date

import pandas as pd
import pytest

from pipeline.reporting import charts, report_tables

WEEKS = [date(2026, 1, 5), date(2026, 1, 12)]


def by_product(now: dict[str, tuple[int, float | None]], before: dict[str, tuple[int, float | None]]) -> pd.DataFrame:
    rows = [
        (week, product, subjects, satisfaction, round(subjects * (1 - (satisfaction or 1))), 0)
        for week, products in zip(WEEKS, (before, now), strict=True)
        for product, (subjects, satisfaction) in products.items()
    ]
    columns = ["week", "product_id", "subjects", "satisfaction", "likely_dissatisfied", "quarantined"]
    return pd.DataFrame(rows, columns=columns).astype({"satisfaction": float})


def test_products_come_lowest_first_and_those_wholly_kept_out_last():
    frame = by_product(now={"a": (5, 0.9), "b": (5, 0.2), "none": (0, None)}, before={"a": (5, 0.8)})

    lines = report_tables.product_lines(frame, WEEKS)

    assert [line["name"] for line in lines] == ["b", "a", "none"]
    assert lines[1]["change"] == pytest.approx(0.1)
    assert pd.isna(lines[0]["change"])


def test_of_many_products_the_extremes_are_listed_and_the_rest_add_up():
    now = {f"p{i:04d}": (10, i / 1000) for i in range(1000)} | {"big": (100_000, 0.4), "none": (0, None)}

    lines = report_tables.product_lines(by_product(now, before=now), WEEKS)

    assert len(lines) == 2 * report_tables.LISTED_PRODUCTS + 1
    names = [line["name"] for line in lines]
    assert "big" in names, "a little below the mean of all, but with most of the subjects"
    assert {"p0000", "p0999"} < set(names)
    assert names[-1] is None
    assert lines[-1]["products"] == 1002 - 20
    assert sum(line["subjects"] for line in lines) == sum(subjects for subjects, _ in now.values())
    assert lines[-1]["change"] == pytest.approx(0)


def test_moves_of_large_products_come_first_and_stillness_is_no_move():
    frame = by_product(
        now={"large": (10_000, 0.55), "tiny": (1, 0.3), "still": (50, 0.5), "up": (9, 0.9), "new": (9, 0.9)},
        before={"large": (10_000, 0.6), "tiny": (1, 0.5), "still": (50, 0.5), "up": (9, 0.8), "gone": (9, 0.9)},
    )

    fell, rose = report_tables.largest_moves(frame, WEEKS[1], WEEKS[0])

    assert [row["product_id"] for row in fell] == ["large", "tiny"]
    assert [row["product_id"] for row in rose] == ["up"]


def test_tenths_are_shares_of_all_and_know_no_week_before_where_there_was_none():
    answer = pd.DataFrame(
        {"tenth": range(10), "subjects": [0] * 4 + [3, 1] + [0] * 4, "likely_dissatisfied": [0] * 4 + [3, 0] + [0] * 4}
    ).assign(subjects_before=0)

    rows = report_tables.tenths(answer)

    assert [rows[4]["share"], rows[4]["dissatisfied"], rows[5]["dissatisfied"]] == [0.75, 0.75, 0]
    assert pd.isna(rows[4]["before"])


def test_a_week_without_satisfaction_breaks_the_line():
    weeks = [date(2026, 1, day) for day in (5, 12, 19, 26)]

    drawing = charts.sparkline(pd.Series([0.5, None, 0.7, 0.6], index=weeks), span=0.2)

    assert drawing.path == "M0.00 100.00 M66.67 0.00 L100.00 50.00"
    assert drawing.dot == "M100.00 50.00h0"
    assert "3 weeks" in drawing.text


@pytest.mark.parametrize("values", [[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [0.683, 0.684], [None, None], [0.5]])
def test_the_axis_spans_the_line_within_0_and_100_percent(values: list[float | None]):
    line = pd.Series(values, index=WEEKS[-len(values) :], dtype=float)

    _, axis = charts.trend(line)

    assert 0 <= axis.low < axis.high <= 1.0001
    assert axis.low - 1e-9 <= line.fillna(0.5).min()
    assert line.fillna(0.5).max() <= axis.high + 1e-9
    assert 3 <= len(axis.ticks) <= 6
