"""A model for the page's tests: features of every kind, named as a company would, hostile categories among them."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.models.bundle import Feature, seal
from pipeline.models.histograms import profile
from pipeline.models.profile import PROFILE_FILE
from pipeline.models.scoring.columns import MISSING
from pipeline.models.scoring.scorer import Scorer, engine_in
from pipeline.settings import Settings
from tests.service.server import as_exported
from tests.tiny_model import fit_and_export, made_up_rows, open_facts, tiny_bundle

EVIL = "<script>alert(1)</script><img src=http://example.org/x onerror=alert(1)>"
CITIES = [f"city {number}" for number in range(80)]
FEATURES = [
    Feature(name="days_since_last_order", kind="number"),
    Feature(name="spent_a_month", kind="number"),
    Feature(name="is_subscriber", kind="number"),
    Feature(name="plan", kind="category", categories=["basic", "gold", EVIL, 'a "quoted" & long ' + "x" * 90]),
    Feature(name="city", kind="category", categories=CITIES),
    Feature(name="a_feature_whose_name_is_so_long_that_it_needs_two_lines", kind="number"),
    Feature(name="<b>bold</b>", kind="number"),
]


def page_bundle(settings: Settings, folder: Path) -> str:
    """Make a bundle with a profile in `folder`, which must not exist; return its digest."""
    tiny_bundle(folder.with_name(f"{folder.name} of facts"))
    facts = open_facts(folder.with_name(f"{folder.name} of facts"))
    rows, labels = made_up_rows(FEATURES, 900)
    rows["is_subscriber"] = (rows["is_subscriber"] > 10).astype("float32")
    rows["days_since_last_order"] = rows["days_since_last_order"].abs().round()
    fit_and_export(folder, FEATURES, rows, labels)
    table = pa.table({name: pa.array(rows[name].replace(MISSING, None), from_pandas=True) for name in rows})
    scorer = Scorer(engine_in(folder, FEATURES), 0.5)
    scored = np.concatenate([scorer.score(b).column("satisfaction").to_numpy() for b in table[600:].to_batches()])
    made = profile(settings, table, FEATURES, scored)
    (folder / PROFILE_FILE).write_text(made.model_dump_json())
    changed = {"features": [feature.model_dump() for feature in FEATURES], "metrics": {"roc_auc": 0.7412}}
    return seal(folder, **{**facts, **changed})


def page_export(settings: Settings, folder: Path) -> Path:
    """Make an exported version in `folder`, for `service.model_folder`."""
    page_bundle(settings, folder)
    return as_exported(folder)
