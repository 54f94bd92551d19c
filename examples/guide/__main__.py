"""Northgate's files, as its till and its app would write them: `python -m examples.guide FOLDER`.

They cover twenty weeks from 2025-01-06 and are the same at every call: members, a file of visits for each week, and
ratings. Members who wait long or whose class is cancelled are less satisfied. The entry point is `write`.
"""

import csv
import sys
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

FIRST_WEEK = datetime(2025, 1, 6)  # noqa: DTZ001 - local time, as the files have it
WEEKS = 20
MEMBERS = 160
CLASSES = ("Boxing", "Cycling", "Pilates", "Yoga")
TARIFFS = ("flex", "year", "student")


def write(folder: Path) -> None:
    """Write the files into `folder`."""
    random = Random(11)  # noqa: S311 - made-up data
    members = [f"M{number:04d}" for number in range(1, MEMBERS + 1)]
    joined = [FIRST_WEEK - timedelta(days=random.randrange(900)) for _ in members]
    people = [(name, random.choice(TARIFFS), day.date()) for name, day in zip(members, joined, strict=True)]
    _write(folder / "members.csv", ("member", "tariff", "joined_on"), people)
    subjects = [(member, taken) for member in members for taken in random.sample(CLASSES, random.choice((1, 1, 2, 3)))]
    ratings: list[list[str]] = []
    for number in range(WEEKS):
        week = FIRST_WEEK + timedelta(weeks=number)
        visits, answers = _week(random, week, subjects)
        header = ("member", "class", "booked_at", "started_at", "waited_minutes", "cancelled")
        _write(folder / f"visits-{week:%Y-%m-%d}.csv", header, visits)
        ratings += answers
    ratings.sort(key=lambda row: row[2])
    _write(folder / "ratings.csv", ("member", "class", "rated_at", "stars"), ratings)


def _week(
    random: Random, week: datetime, subjects: list[tuple[str, str]]
) -> tuple[list[list[object]], list[list[str]]]:
    visits: list[list[object]] = []
    ratings = []
    for member, taken in subjects:
        mood = 0.0
        for _ in range(random.choice((0, 1, 1, 2, 3))):
            started = week + timedelta(days=random.randrange(7), hours=random.randrange(8, 20))
            booked = started - timedelta(hours=random.randrange(1, 72))
            waited, cancelled = int(random.expovariate(1 / 8)), random.random() < 0.1
            visits.append([member, taken, booked, started, waited, "yes" if cancelled else "no"])
            mood -= waited / 10 + 2 * cancelled - 1
        if random.random() < 0.4:
            rated = week + timedelta(days=7 + random.randrange(5), hours=random.randrange(24))
            ratings.append([member, taken, str(rated), str(min(5, max(1, round(3.6 + mood + random.gauss(0, 0.8)))))])
    return visits, ratings


def _write(path: Path, header: tuple[str, ...], rows: Iterable[Iterable[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
