"""The report's sentences: the headline, the challenger's part, and the notices before the numbers.

Used by `pipeline.reporting.report_facts`, which puts them on the page.
"""

from typing import Any

from pipeline.reporting.filters import UNCHANGED, Number, count, counted, is_missing, percent


def headline(satisfaction: Number, change: Number) -> str:
    """Return the week's result in one sentence.

    >>> headline(0.6843, -0.012)
    'Satisfaction fell 1.2 points to 68.4%.'
    >>> headline(0.6843, 0.0001)
    'Satisfaction held at 68.4%.'
    >>> headline(0.6843, None)
    'Satisfaction stands at 68.4%.'
    >>> headline(None, None)
    'No subject was scored this week.'
    """
    if is_missing(satisfaction):
        return "No subject was scored this week."
    if is_missing(change):
        return f"Satisfaction stands at {percent(satisfaction)}."
    if abs(change) < UNCHANGED:
        return f"Satisfaction held at {percent(satisfaction)}."
    verb = "rose" if change > 0 else "fell"
    return f"Satisfaction {verb} {abs(change) * 100:.1f} points to {percent(satisfaction)}."


def describe_routing(recorded: dict[str, Any] | None, subjects: dict[str, int]) -> str:
    """Return how the challenger took part in a run.

    `recorded` is the run's `routing` in `prediction_runs`. `subjects` counts the subjects by part: champion,
    challenger, shadow.

    >>> describe_routing({"mode": "off", "challenger": None, "reason": "routing is off"}, {"champion": 5})
    'None: routing is off.'
    """
    if not recorded or not recorded["challenger"]:
        return f"None: {recorded['reason'] if recorded else 'routing is off'}."
    challenger = f"version {recorded['challenger']['model_version']}, the challenger,"
    if recorded["mode"] == "ab":
        of = counted(sum(subjects.get(role, 0) for role in ("champion", "challenger")), "subject")
        served = f"{challenger} served {count(subjects.get('challenger', 0))} of {of}"
        return f"A/B test: {served}; it is assigned {percent(recorded['fraction'])} of the customers."
    if not subjects.get("shadow"):
        return f"Shadow: {challenger} could not score the week; see Sources and checks."
    return f"Shadow: {challenger} also scored every subject. Its scores are not published and not part of this report."


def join_names(names: list[str]) -> str:
    """Return names as a list in a sentence.

    >>> join_names(["a", "b", "c"]), join_names(["a"])
    ('a, b and c', 'a')
    """
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def describe_notices(run: dict[str, Any], sources: list[dict[str, Any]], warnings: int) -> list[str]:
    """Return what a reader should know before using the numbers."""
    notices = []
    is_ab_test = (run["routing"] or {}).get("mode") == "ab"
    if is_ab_test:
        notices.append("This week is part of an A/B test: two model versions made its predictions; see Model.")
    if run["trained_after_cutoff"]:
        version = "one of its versions" if is_ab_test else f"version {run['model_version']}"
        notices.append(
            f"The model has seen later data: {version} was trained on data from after the end of this week. "
            "It is better informed than any model of that time could have been."
        )
    if timeless := [f"“{source['name']}”" for source in sources if source["timeless"]]:
        notices.append(
            f"No times are declared for {join_names(timeless)}. "
            "Changes there after the end of the week cannot be hidden from the model."
        )
    for source in sources:
        if source["undeclared_columns"]:
            columns = ", ".join(source["undeclared_columns"])
            notices.append(f"The source “{source['name']}” has undeclared columns, which are ignored: {columns}.")
    if warnings:
        notices.append(f"{counted(warnings, 'expectation')} gave a warning; see Sources and checks.")
    return notices
