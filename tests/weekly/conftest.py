"""A company that a test of a stage may change."""

import shutil
from pathlib import Path

import pytest

from pipeline.settings import Settings
from tests.company import company_settings


@pytest.fixture
def our_settings(company: Path, tmp_path: Path, warehouse_settings: Settings) -> Settings:
    """Settings of a company of the test's own, whose suites and data it may change."""
    database = warehouse_settings.database.model_dump()
    overrides = {f"DATABASE__{key.upper()}": database[key] for key in ("url", "prefix")}
    return company_settings(shutil.copytree(company, tmp_path / "company"), tmp_path / "home", **overrides)
