"""Comparison: how champion and challenger did in the weeks they shared, by the labels known since.

In an A/B test each is measured on its own customers. In the shadow both are measured on the same
rows, so the same number of labels shows smaller differences. Nothing is stored: the same weeks and
labels give the same numbers. The entry point is `compare`.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import text

from pipeline import warehouse
from pipeline.duck import literal
from pipeline.errors import ModelError
from pipeline.handoff import Facts
from pipeline.models.evaluation_metrics import Estimate, Rows, differences, estimates, unpaired_differences
from pipeline.models.routing import CHALLENGER, CHAMPION
from pipeline.point_in_time.labels import known_labels
from pipeline.reporting.filters import MEASURES
from pipeline.settings import Settings
from pipeline.sources.week_sources import is_delivered, read_past_sources, together
from pipeline.training.training_set import FEWEST_OF_A_CLASS
from pipeline.warehouse.loading import loading
from pipeline.weeks import Week

JUDGED = {"roc_auc": 1, "pr_auc": 1, "log_loss": -1, "brier": -1}
"""The metrics compared, and whether more (1) or less (-1) is better. The calibration error is not
among them, because it is higher with fewer rows."""
TOO_FEW = (
    f"Too few labels yet: a side has {{}} of one answer, and at least {FEWEST_OF_A_CLASS} are needed to measure"
    " anything. Compare again when more are known, or route more customers."
)
Mode = Literal["ab", "shadow"]
OTHERS: dict[Mode, str] = {"ab": CHALLENGER, "shadow": "shadow"}
"""The role under which the challenger's scores are counted."""


class Side(Facts):
    """One version in the weeks of a trial."""

    model_version: str
    predictions: int
    """Subjects it scored."""
    labels: int
    """How many of them have a known label."""
    satisfied: int
    metrics: dict[str, Estimate]
    """Empty while there are too few labels."""


class Trial(Facts):
    """The weeks that the two shared in one mode."""

    mode: Mode
    weeks: list[str]
    champion: Side
    challenger: Side
    differences: dict[str, Estimate]
    """The challenger's metrics minus the champion's; empty while there are too few labels."""
    verdict: str
    """Whether the differences are more than chance, in words."""


class Comparison(Facts):
    """A champion and a challenger, by the labels known at `cutoff`."""

    champion: str
    challenger: str
    cutoff: datetime
    """Only labels observed before it count."""
    matured: list[str]
    """The weeks whose labels had the company's `maturity_weeks` to arrive."""
    trials: list[Trial]


def compare(
    settings: Settings, *, challenger: str | None = None, as_of: Week | None = None, now: datetime | None = None
) -> Comparison:
    """Compare a challenger, by default the latest one, with the champion beside which it was last published.

    It uses what was known at the end of the week `as_of`, by default of the last complete week whose sources are there.

    Raises
    ------
    ModelError
        If there is no published week of an A/B test or with shadow scores.
    SourceError, FeatureError
        If the labels cannot be read.
    """
    last = as_of or Week.last_complete(now or datetime.now(UTC), settings.zone)
    champion, challenger, modes = _shared_weeks(settings, challenger, last)
    weeks = sorted(modes)
    while not as_of and last > weeks[-1] and not is_delivered(settings, last):
        last = last.plus(-1)
    sources = read_past_sources(settings, weeks[0], last)
    labels, _ = known_labels(settings, together(list(sources.values())), last.cutoff(settings.zone))
    scores, counts = _scores(settings, weeks, labels)
    trials = [
        _trial(settings, mode, its_weeks, (champion, challenger), scores=scores, counts=counts)
        for mode in OTHERS
        if (its_weeks := [week for week in weeks if modes[week] == mode])
    ]
    return Comparison(
        champion=champion,
        challenger=challenger,
        cutoff=last.cutoff(settings.zone),
        matured=[str(week) for week in weeks if week.plus(settings.model.maturity_weeks) <= last],
        trials=trials,
    )


def _shared_weeks(settings: Settings, challenger: str | None, last: Week) -> tuple[str, str, dict[Week, Mode]]:
    """Return the champion, the challenger, and the published weeks that they shared, with the mode of each."""
    query = text(
        """
        SELECT
            run.week, run.model_version AS champion, run.routing ->> 'mode' AS mode,
            run.routing -> 'challenger' ->> 'model_version' AS challenger
        FROM published_weeks AS published
        JOIN prediction_runs AS run ON run.run_id = published.run_id
        WHERE published.week <= :last AND (
            run.routing ->> 'mode' = 'ab'
            OR EXISTS (SELECT FROM shadow_predictions AS shadow WHERE shadow.week = published.week)
        )
        ORDER BY run.week
        """
    )
    with warehouse.transaction(settings) as connection:
        found = connection.execute(query, {"last": last.monday}).all()
    found = [row for row in found if challenger in {None, row.challenger}]
    if not found:
        raise ModelError(
            f"No published week up to {last} has {f'version {challenger} as' if challenger else 'a'} challenger.",
            "at least one published week of an A/B test, or with shadow scores.",
            "name the challenger, barometer promote VERSION --as challenger; set mode in [routing] of pipeline.toml;"
            " run the current week, and compare when its labels are known.",
        )
    pair = (found[-1].champion, found[-1].challenger)
    return *pair, {Week(row.week): row.mode for row in found if (row.champion, row.challenger) == pair}


def _scores(settings: Settings, weeks: Sequence[Week], labels: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Return the scores of these weeks that have a label, with the label, and the number of all scores.

    The join is in the warehouse, because there are few labels and many scores.
    """
    mondays = ", ".join(literal(str(week)) for week in weeks)
    wanted = labels.filter(pc.is_in(labels.column("week"), pa.array([week.monday for week in weeks])))
    with loading(settings) as cursor:
        cursor.adbc_ingest("known_labels", wanted, mode="create", temporary=True)
        cursor.execute(
            f"""
            SELECT served.week, customer_id, product_id, role, served.satisfaction,
                shadow.satisfaction AS in_shadow, satisfied
            FROM predictions AS served
            JOIN known_labels USING (week, customer_id, product_id)
            LEFT JOIN (SELECT * FROM shadow_predictions WHERE week IN ({mondays})) AS shadow
                USING (week, customer_id, product_id)
            WHERE served.week IN ({mondays})
            ORDER BY week, customer_id, product_id
            """
        )
        scores = cursor.fetch_arrow_table()
        cursor.execute(
            f"""
            SELECT week, role, count(*) AS predictions FROM predictions WHERE week IN ({mondays}) GROUP BY week, role
            UNION ALL
            SELECT week, 'shadow', count(*) FROM shadow_predictions WHERE week IN ({mondays}) GROUP BY week
            """
        )
        return scores, cursor.fetch_arrow_table()


def _trial(
    settings: Settings, mode: Mode, weeks: list[Week], versions: tuple[str, str], *, scores: pa.Table, counts: pa.Table
) -> Trial:
    mondays = pa.array([week.monday for week in weeks])
    scores, counts = (table.filter(pc.is_in(table.column("week"), mondays)) for table in (scores, counts))
    if mode == "ab":
        first, second = (_measurable(_of(scores, role), "satisfaction") for role in (CHAMPION, CHALLENGER))
    else:
        first, second = _measurable(scores, "satisfaction"), _measurable(scores, "in_shadow")
    fewest = min(int((labels == answer).sum()) for labels, *_ in (first, second) for answer in (0, 1))
    is_enough, seed = fewest >= FEWEST_OF_A_CLASS, settings.model.seed
    champion, challenger = (
        Side(
            model_version=version,
            predictions=pc.sum(_of(counts, role).column("predictions")).as_py() or 0,
            labels=len(rows[0]),
            satisfied=int(rows[0].sum()),
            metrics=estimates(*rows, seed=seed) if is_enough else {},
        )
        for version, role, rows in zip(versions, (CHAMPION, OTHERS[mode]), (first, second), strict=True)
    )
    found: dict[str, Estimate] = {}
    if is_enough and mode == "ab":
        found = unpaired_differences(first, second, seed=seed)
    elif is_enough:
        found = differences(first[0], first[1], second[1], first[2], seed=seed)
    found = {name: found[name] for name in JUDGED if name in found}
    return Trial(
        mode=mode,
        weeks=[str(week) for week in weeks],
        champion=champion,
        challenger=challenger,
        differences=found,
        verdict=_verdict(versions, found) if is_enough else TOO_FEW.format(fewest),
    )


def _of(table: pa.Table, role: str) -> pa.Table:
    return table.filter(pc.equal(table.column("role"), role))


def _measurable(scores: pa.Table, column: str) -> Rows:
    """Return labels, satisfaction and codes of the customers, whose answers about several products are alike."""
    customers = scores.column("customer_id").combine_chunks().dictionary_encode().indices
    labels = scores.column("satisfied").cast(pa.int8())
    return labels.to_numpy(), scores.column(column).to_numpy(), customers.to_numpy()


def _verdict(versions: tuple[str, str], found: dict[str, Estimate]) -> str:
    gains = {MEASURES[name]: sorted((JUDGED[name] * d.low, JUDGED[name] * d.high)) for name, d in found.items()}
    better = [name for name, (low, _) in gains.items() if low > 0]
    worse = [name for name, (_, high) in gains.items() if high < 0]
    champion, challenger = versions
    if not better and not worse:
        return f"No difference is more than chance: by these labels version {challenger} is as good as {champion}."
    words = [f"{word} in {', '.join(names)}" for word, names in (("better", better), ("worse", worse)) if names]
    return f"Version {challenger} is {' and '.join(words)} than version {champion}, by more than chance."
