"""The stages of the trial DAG: they go as the param `model` says."""

from pydantic import BaseModel

from pipeline.errors import BudgetError, DatabaseUnavailableError
from pipeline.settings import Settings
from pipeline.sources.week_sources import read_sources
from pipeline.weeks import Week


class Started(BaseModel):
    how: str
    week: str
    shards: int
    run: str


class Counted(BaseModel):
    shard: int


class Ended(BaseModel):
    week: str
    shards: list[int]


def first(settings: Settings, week: Week, model: str, airflow_run_id: str) -> Started:
    return Started(how=model, week=str(week), shards=0 if model == "no shards" else 3, run=airflow_run_id)


def second(settings: Settings, started: Started, shard: int) -> Counted:
    if shard == 1:
        _go(settings, started)
    return Counted(shard=shard)


def third(settings: Settings, started: Started, counted: list[Counted]) -> Ended:
    return Ended(week=started.week, shards=[one.shard for one in counted])


def _go(settings: Settings, started: Started) -> None:
    settings.home.mkdir(exist_ok=True)
    marker = settings.home / f"tried-{started.run}"
    is_first_try = not marker.exists()
    marker.touch()
    words = {"found": "It went wrong.", "expected": "that it goes well.", "do": "the right thing."}
    if started.how == "refused":
        raise BudgetError(**words)
    if started.how == "unavailable once" and is_first_try:
        raise DatabaseUnavailableError(**words)
    if started.how == "unavailable":
        raise DatabaseUnavailableError(**words)
    if started.how == "defect":
        raise ZeroDivisionError("a defect")
    if started.how == "reads answers":
        read_sources(
            settings.model_copy(update={"sources": {"answers": settings.sources["answers"]}}), Week.parse(started.week)
        )
    if started.how == "interrupted":
        raise KeyboardInterrupt
