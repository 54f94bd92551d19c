"""What every side starts from: the raw feed, and a home whose registry has a version of each family.

The feed is the sample company's (`examples/sample`). At most `SIMULATED_SUBJECTS` are simulated; a
larger feed has their lines several times, each time with other customer numbers, so that subjects
are unique and values keep their distribution. Entry points: `make_feed` and `train_champions`.
"""

import gzip
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pyarrow as pa

from examples.sample import generate
from pipeline.duck import literal
from pipeline.settings import Settings
from pipeline.settings.model import Tuning
from pipeline.weeks import Week

SIMULATED_SUBJECTS, SUBJECTS_PER_CUSTOMER = 250_000, 1.248
WEEKS = 8
"""The longest look-back of a source."""
TRAINING_CUSTOMERS, TRAINING_WEEKS = 6_000, 26
CHAMPIONS = "champions.json"
FAMILIES = {
    "trees": {"hist_gradient_boosting": {"max_iter": [200], "max_leaf_nodes": [31], "learning_rate": [0.05]}},
    "logistic": {"logistic_regression": {"C": [1.0]}},
}
CHAMPION = "trees"
"""The family of the version that every side scores with; (b) and (c) then score with the others too."""


def make_feed(folder: Path, subjects: int, end: Week) -> None:
    """Write the landing zone of a week `end` with about this many subjects, unless it is there."""
    if folder.exists():
        return
    copies = -(-subjects // SIMULATED_SUBJECTS)
    customers = round(subjects / SUBJECTS_PER_CUSTOMER / copies)
    simulated, part = folder.with_suffix(".simulated"), folder.with_suffix(".part")
    generate(simulated, customers, WEEKS, 7, end)
    shutil.copytree(simulated, part, ignore=shutil.ignore_patterns("*.gz", "*.parquet"), dirs_exist_ok=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        files = [*simulated.rglob("*.gz"), *simulated.rglob("*.parquet")]
        list(pool.map(lambda file: _copy(file, part / file.relative_to(simulated), copies, customers), files))
    shutil.rmtree(simulated)
    part.rename(folder)


def _copy(source: Path, target: Path, copies: int, customers: int) -> None:
    with duckdb.connect(config={"threads": 1}) as con:
        if source.suffix == ".parquet":
            customer = _renumbered("customer_id", f"copy * {customers}")
            rows = f"SELECT * EXCLUDE (copy) REPLACE ({customer} AS customer_id) FROM range({copies}) AS copies(copy), "
            con.execute(f"COPY ({rows} {literal(source)}) TO {literal(target)} (COMPRESSION zstd)")
            return
        lines = gzip.decompress(source.read_bytes()).decode().splitlines(keepends=True)
        header = [lines.pop(0)] if ".csv" in source.suffixes else []
        con.register("lines", pa.table({"line": lines}))
        # Both formats begin a line with the customer: C00000001,… and {"customer_id": "C00000001", …
        before = lines[0].index("C0")
        customer = _renumbered(f"substr(line, {before + 1})", "$offset")
        line = f"left(line, {before}) || {customer} || substr(line, {before + 10})"
        with gzip.open(target, "wt", compresslevel=1) as file:
            file.writelines(header)
            for copy in range(copies):
                found = con.execute(f"SELECT string_agg({line}, '') FROM lines", {"offset": copy * customers})
                file.write(found.fetchall()[0][0])


def _renumbered(customer: str, offset: str) -> str:
    return f"format('C{{:08d}}', substr({customer}, 2, 8)::INT + {offset})"


def train_champions(settings: Settings, as_of: Week) -> None:
    """Train a version of each family on a small sample of the same company, and register it.

    The home is then as `barometer train` leaves it. Its file `CHAMPIONS` names each family's
    version and folder.
    """
    from pipeline.orchestration.airflow_environment import airflow_environment
    from pipeline.training.collect import collect
    from pipeline.training.evaluate import evaluate
    from pipeline.training.fit import fit
    from pipeline.training.register import register
    from pipeline.training.training_plan import plan_training
    from pipeline.training.tune import tune

    os.environ.update(airflow_environment(settings))
    from pipeline.orchestration.airflow_in_process import migrate

    migrate()
    generate(settings.landing, TRAINING_CUSTOMERS, TRAINING_WEEKS, 7, as_of)
    plan = plan_training(settings, as_of=as_of, airflow_run_id="benchmark")
    training_set = collect(settings, plan)
    champions = {}
    for name, space in FAMILIES.items():
        tuning = Tuning.model_validate({"candidates": 1, "space": space})
        narrowed = settings.model_copy(update={"tuning": tuning})
        own = plan.model_copy(update={"training_id": name, "folder": plan.folder.with_name(name)})
        fitted = fit(narrowed, own, training_set, tune(narrowed, own, training_set))
        evaluated = evaluate(narrowed, own, training_set, fitted)
        folder = str(evaluated.bundle.relative_to(settings.home))
        champions[name] = {"version": register(narrowed, own, evaluated).version, "folder": folder}
    (settings.home / CHAMPIONS).write_text(json.dumps(champions))
