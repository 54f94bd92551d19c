"""The weekly run and what else could do its work, from the same raw feed.

    python -m benchmarks.weekly_run --rows 2000000 [--repeats 3] [--only a,b,c,d,e] [--folder FOLDER] [--keep]

(a) `barometer run`; (b) the stages by themselves; (c) `predict_proba` on features in memory; (d) a
script with pandas and Great Expectations; (e) bare DuckDB and a bare load into PostgreSQL. Each
side has a process of its own, a feed that is not in the page cache, and a fresh home, which has read
and published nothing yet. Costs are printed as they come. If a side is stopped or fails, the others
go on. All files are in `weekly-run` below FOLDER, by default the system's folder for temporary files.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from math import nan
from pathlib import Path
from statistics import median
from zoneinfo import ZoneInfo

from benchmarks.weekly_run.costs import Cost, Meter, evict, watch
from benchmarks.weekly_run.feed import CHAMPION, FAMILIES, make_feed, train_champions
from benchmarks.weekly_run.sides import SIDES, Work
from pipeline.local.postgres import embedded
from pipeline.settings import ROOT, load_settings
from pipeline.weeks import Week

Stages = dict[str, Cost]


def main() -> None:
    """Measure every side at every size, in turn, and print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[2_000_000], help="Subjects in the week, about.")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--only", default=",".join(SIDES), help="The sides to run, in this order.")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="Work in weekly-run below it.")
    parser.add_argument("--keep", action="store_true", help="Keep the feed and the trained home for the next call.")
    parser.add_argument("--week", type=Week.parse, default=Week.last_complete(datetime.now(UTC), ZoneInfo("UTC")))
    parser.add_argument("--side", choices=[*SIDES, "train"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    folder = arguments.folder.absolute() / "weekly-run"
    os.environ |= {"BAROMETER_CONFIG": str(ROOT / "pipeline.toml"), "BAROMETER_HOME": str(folder / "home")}
    if arguments.side:
        run_side(arguments.side, arguments.week, folder)
        return
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)  # the server's user works in it
    command = ["--folder", str(arguments.folder), "--week", str(arguments.week), "--side"]
    try:
        comparisons = [Comparison(folder, arguments.week, command, rows) for rows in arguments.rows]
        seconds = [each.run(arguments.only.split(",") * arguments.repeats) for each in comparisons]
        if len(seconds) > 1:
            print(f"raw feed to published, last size / first size, wall: {seconds[-1] / seconds[0]:.1f}")
    finally:
        if not arguments.keep:
            shutil.rmtree(folder)


def run_side(side: str, week: Week, folder: Path) -> None:
    """Run one side in this process, with the server of its home."""
    settings = load_settings()
    if side == "train":
        train_champions(settings, week)
        return
    server = embedded.attach(settings.home, run_as=settings.database.run_as)
    assert server.postmaster
    SIDES[side](Work(settings, week, folder, Meter(server.postmaster)))
    embedded.detach(settings.home, run_as=settings.database.run_as)


class Comparison:
    """The sides at one size."""

    def __init__(self, folder: Path, week: Week, command: list[str], rows: int) -> None:
        self._folder, self._rows = folder, rows
        self._trained, self._feed = folder / f"trained-{week}", folder / f"feed-{rows}-{week}"
        self._command = [sys.executable, "-m", "benchmarks.weekly_run", *command]
        self._runs: dict[str, list[Stages]] = defaultdict(list)
        self._peaks: dict[str, Cost] = defaultdict(dict)
        make_feed(self._feed, rows, week)
        if not self._trained.exists():
            subprocess.run([*self._command, "train"], check=True, stdout=subprocess.DEVNULL)
            (folder / "home").rename(self._trained)

    def run(self, sides: list[str]) -> float:
        """Run the sides in turn; print medians; return the seconds from the raw feed to published, if known."""
        for result in ("features.parquet", "script.parquet", "ours"):
            subprocess.run(["/bin/rm", "-rf", self._folder / result], check=True)
        with suppress(KeyboardInterrupt):  # then print what was measured
            for side in sides:
                self._measure(side)
        print(f"\n{self._rows:,} subjects, medians:")
        self._compare_predictions()
        return self._print_medians()

    def _measure(self, side: str) -> None:
        home = self._folder / "home"
        shutil.rmtree(home, ignore_errors=True)
        subprocess.run(["/bin/cp", "-a", self._trained, home], check=True)
        evict(self._feed)
        os.environ["BAROMETER__PATHS__LANDING"] = str(self._feed)
        log = self._folder / "log"
        try:
            exit_code, stages, peaks = watch([*self._command, side], log, lambda *stage: self._show(side, *stage))
        finally:
            embedded.remove(home)  # a side that was killed has left its server running
        if exit_code:
            print(f"{side}  ended with exit code {exit_code}; see {log} (--keep)")
            return
        self._runs[side].append(stages)
        for name, peak in peaks.items():
            self._peaks[side][name] = max(peak, self._peaks[side].get(name, 0))

    def _show(self, side: str, stage: str, cost: Cost) -> None:
        line = f"{side}  {stage:28}{cost['wall']:9.2f} s {self._rows / max(cost['wall'], 1e-3):12,.0f} rows/s"
        if "cpu" in cost:
            line += f" {cost['cpu']:9.2f} s CPU  read {cost['read']:6,.0f} MiB, written {cost['written']:6,.0f} MiB"
        print(line, flush=True)

    def _print_medians(self) -> float:
        sides = {side: _medians(runs) for side, runs in self._runs.items()}
        for side, stages in sides.items():
            for stage, cost in stages.items():
                self._show(side, stage, cost)
            self._show(side, "all of it", _total(stages, stages))
            largest = ", ".join(f"{name} {peak:,.0f}" for name, peak in sorted(self._peaks[side].items()))
            print(f"{side}  peak MiB of each program's largest process: {largest}")
        for family, suffix in [(name, "" if name == CHAMPION else f" ({name})") for name in FAMILIES]:
            if "b" in sides and "c" in sides:
                bare, score = sides["c"][f"predict_proba ({family})"], sides["b"][f"score{suffix}"]
                after = _total(sides["b"], [stage + suffix for stage in ("score", "check", "publish")])
                print(f"{family}: score / (c), CPU: {score['cpu'] / bare['cpu']:.2f}")
                print(f"{family}: feature rows to published / (c), wall: {after['wall'] / bare['wall']:.2f}")
        published = {
            side: _total(stages, [stage for stage in stages if stage != "report" and "(" not in stage])
            for side, stages in sides.items()
            if side != "c"
        }
        for own in sorted(published.keys() & {"a", "b"}):
            for other in sorted(published.keys() & {"d", "e"}):
                wall, cpu = (published[own][name] / published[other][name] for name in ("wall", "cpu"))
                print(f"raw feed to published, ({own}) / ({other}): wall {wall:.2f}, CPU {cpu:.2f}")
        return published.get("a", published.get("b", {"wall": nan}))["wall"]

    def _compare_predictions(self) -> None:
        """Print whether the script of (d) predicts what the stages of (b) predict."""
        ours, script = self._folder / "ours", self._folder / "script.parquet"
        if not (ours.exists() and script.exists()):
            return
        import duckdb

        counts = duckdb.execute(
            """
            SELECT
                count(o.satisfaction), count(s.satisfaction), count(o.satisfaction + s.satisfaction),
                max(abs(o.satisfaction - s.satisfaction))
            FROM read_parquet($ours) AS o FULL JOIN read_parquet($script) AS s USING (customer_id, product_id)
            """,
            {"ours": f"{ours}/*.parquet", "script": str(script)},
        ).fetchall()[0]
        print("predicted by (b) {:,}, by (d) {:,}, by both {:,}; the largest difference is {:.1g}".format(*counts))


def _medians(runs: list[Stages]) -> Stages:
    return {stage: {name: median(run[stage][name] for run in runs) for name in cost} for stage, cost in runs[0].items()}


def _total(stages: Stages, names: Iterable[str]) -> Cost:
    costs = [stages[name] for name in names]
    return {name: sum(cost.get(name, 0) for cost in costs) for name in costs[-1]}


if __name__ == "__main__":
    main()
