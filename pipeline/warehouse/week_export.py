"""A published week as Parquet, for any other warehouse; part of publish.

`exports/predictions/<week>/manifest.json` names the run and its files, which lie beside it in a
folder of the run. The manifest is replaced last and in one piece, so a reader that starts from it
sees one run. The entry point is `export_week`.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq

from pipeline.files import sha256_of_file, write_text, written_atomically


def export_week(home: Path, week: str, run_id: str, files: Sequence[Path]) -> Path:
    """Export the run's predictions, unless they are exported; return the week's manifest."""
    manifest = home / "exports" / "predictions" / week / "manifest.json"
    if manifest.exists() and json.loads(manifest.read_text(encoding="utf-8"))["run_id"] == run_id:
        return manifest
    parts, rows = [], 0
    for number, file in enumerate(files):
        part = manifest.parent / run_id / f"part-{number:04d}.parquet"
        with written_atomically(part) as temporary:
            shutil.copyfile(file, temporary)
        part_rows = pq.read_metadata(part).num_rows
        parts.append({"file": f"{run_id}/{part.name}", "rows": part_rows, "digest": sha256_of_file(part)})
        rows += part_rows
    content = {"week": week, "run_id": run_id, "rows": rows, "files": parts}
    write_text(manifest, json.dumps(content, indent=1))
    return manifest
