"""Export: a published week as Parquet, for any other warehouse; part of publish.

`exports/predictions/<week>/manifest.json` names the run and its files, which lie beside it in a folder of the run. The
manifest is replaced whole and last, so who starts from it reads one run. The one entry point is `export`.
"""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq

from pipeline.files import sha256_of_file, write_text, written_atomically
from pipeline.handoffs import Checked, Plan
from pipeline.settings import Settings


def export(settings: Settings, plan: Plan, checked: Checked) -> Path:
    """Export the run's predictions unless they are, and return the week's manifest."""
    manifest = settings.home / "exports" / "predictions" / plan.week / "manifest.json"
    if manifest.exists() and json.loads(manifest.read_text(encoding="utf-8"))["run_id"] == plan.run_id:
        return manifest
    parts = []
    for number, file in enumerate(checked.files):
        part = manifest.parent / plan.run_id / f"part-{number:04d}.parquet"
        with written_atomically(part) as temporary:
            shutil.copyfile(file, temporary)
        rows = pq.read_metadata(part).num_rows
        parts.append({"file": f"{plan.run_id}/{part.name}", "rows": rows, "digest": sha256_of_file(part)})
    content = {"week": plan.week, "run_id": plan.run_id, "rows": checked.predicted, "files": parts}
    write_text(manifest, json.dumps(content, indent=1))
    return manifest
