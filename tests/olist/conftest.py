"""The second company's files, where there are any: `OLIST_DATA` names their folder."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "examples/olist/pipeline.toml"


@pytest.fixture(scope="session")
def olist() -> Path:
    """Folder of the files; shared, so copy it before changing it."""
    folder = Path(os.environ.get("OLIST_DATA", ""))
    if not (folder / "olist_orders_dataset.csv").exists():
        pytest.skip("OLIST_DATA names no folder with the files of the Olist data set; see examples/olist/README.md")
    return folder
