"""`barometer init`: drafts a company's configuration, SQL and suites from the files in a folder.

The files are read by the readers of a run, so the drafted declarations fit. Existing files are not replaced. The entry
point is `write_drafts`.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb

from pipeline.errors import ConfigError, SourceError
from pipeline.files import write_text
from pipeline.onboarding.column_roles import times
from pipeline.onboarding.draft_texts import draft_texts
from pipeline.onboarding.feeds import find_feeds, sample
from pipeline.onboarding.guesses import Guess, guess

MOST_TRAINING_WEEKS, FEWEST_TRAINING_WEEKS = 12, 5


@dataclass(frozen=True)
class Drafted:
    """The drafts."""

    files: list[Path]
    sources: dict[str, Guess]
    left_out: dict[Path, str]
    """The files that could not be used, and why."""


def write_drafts(folder: Path, target: Path, on_progress: Callable[[str], None]) -> Drafted:
    """Write drafts into `target` from the files in `folder`.

    Raises
    ------
    ConfigError
        If no file can be read, or a draft would replace a file.
    """
    feeds, others = find_feeds(folder)
    left_out = dict.fromkeys(others, "neither CSV, JSON Lines nor Parquet by its name")
    guesses: dict[str, Guess] = {}
    with duckdb.connect() as con:
        con.execute("SET enable_progress_bar = false")
        for feed in feeds:
            on_progress(f"Looking at {feed.path}")
            try:
                guesses[feed.name] = guess(con, sample(con, feed))
            except SourceError as error:
                left_out[feed.files[-1]] = f"{error.found} {error.do}"
        if not guesses:
            reasons = "; ".join(f"{path.name}: {reason}" for path, reason in left_out.items())
            raise ConfigError(
                f"{folder} has no file that can be read{f' ({reasons})' if reasons else ''}.",
                "CSV, JSON Lines or Parquet files (.csv, .jsonl, .parquet, each also with .gz).",
                "put the company's files there, or give their folder with --from.",
            )
        landing = os.path.relpath(folder.absolute(), target.absolute())
        texts = draft_texts(guesses, landing=landing, training_weeks=_training_weeks(guesses))
    if present := [path for path in texts if (target / path).exists()]:
        raise ConfigError(
            f"{target} already has {', '.join(present)}.",
            "a folder without the files that would be drafted.",
            "give another folder with --to, or move the files away.",
        )
    for path, text in texts.items():
        write_text(target / path, text)
    return Drafted([target / path for path in texts], guesses, left_out)


def _training_weeks(guesses: dict[str, Guess]) -> int:
    """Return how many weeks a training may span: those of the shortest source with times, less three."""
    spans = []
    for each in guesses.values():
        time = next((column for column in each.columns if column.name == times(each)[0]), None)
        if time is not None and time.values:
            spans.append((date.fromisoformat(time.high[:10]) - date.fromisoformat(time.low[:10])).days // 7)
    return max(FEWEST_TRAINING_WEEKS, min([MOST_TRAINING_WEEKS, *(span - 3 for span in spans)]))
