"""The examples in the docstrings of `pipeline/` give the results that they show."""

import doctest
from importlib import import_module

import pytest

from pipeline.settings import ROOT

MODULES = [
    ".".join(file.relative_to(ROOT).with_suffix("").parts)
    for file in sorted((ROOT / "pipeline").rglob("*.py"))
    if "\n    >>> " in file.read_text() or "\n>>> " in file.read_text()
]


@pytest.mark.parametrize("module", MODULES)
def test_examples(module: str):
    results = doctest.testmod(import_module(module))
    assert results.attempted
    assert not results.failed
