"""Which customers belong to the challenger: the right fraction, and the same ones in every batch."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import binomtest

from pipeline.errors import ModelError
from pipeline.models.routing import blaming_challenger, is_challengers, routed_scores
from pipeline.models.scoring.scorer import Scorer
from tests.tiny_model import COMPANY_COLUMNS, tiny_bundle
from tests.weekly.test_score import features_table

CUSTOMERS = 20_000
NAMES = pa.array([f"customer {number}" for number in range(CUSTOMERS)])


@pytest.mark.parametrize("fraction", [0.001, 0.1, 0.5, 0.93])
@pytest.mark.parametrize("salt", ["", "spring", "ünï ✓"])
def test_the_split_is_the_fraction_asked_for(fraction: float, salt: str) -> None:
    drawn = int(is_challengers(NAMES, fraction, salt).sum())
    assert binomtest(drawn, CUSTOMERS, fraction).pvalue > 0.001


def test_nobody_or_everybody() -> None:
    assert not is_challengers(NAMES, 0.0, "").any()
    assert is_challengers(NAMES, 1.0, "").all()


def test_the_split_never_changes() -> None:
    """Reruns of published weeks depend on it: another hash, or another order of salt and id, would draw others."""
    drawn = is_challengers(NAMES.slice(0, 32), 0.5, "spring")
    assert "".join("01"[int(each)] for each in drawn) == "11001010100101010111001000100000"


def test_another_salt_draws_independently() -> None:
    first, second = (is_challengers(NAMES, 0.5, salt) for salt in ("spring", "summer"))
    assert binomtest(int((first & second).sum()), CUSTOMERS, 0.25).pvalue > 0.001


def test_a_larger_fraction_keeps_those_it_has() -> None:
    smaller, larger = (is_challengers(NAMES, fraction, "spring") for fraction in (0.1, 0.3))
    assert (larger[smaller]).all()


@pytest.mark.parametrize("kind", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())])
def test_the_type_of_the_column_does_not_matter(kind: pa.DataType) -> None:
    some = NAMES.slice(7, 500)
    assert (is_challengers(some.cast(kind), 0.4, "") == is_challengers(NAMES, 0.4, "")[7:507]).all()


def test_a_customer_is_there_many_times_or_is_nobody() -> None:
    mixed = pa.array(["customer 3", None, "customer 4", "customer 3", ""] * 3)
    alone = {name: bool(is_challengers(pa.array([name]), 0.5, "x")[0]) for name in ("customer 3", "customer 4", "")}
    expected = [False if name is None else alone[name] for name in mixed.to_pylist()]
    assert is_challengers(mixed, 0.5, "x").tolist() == expected
    assert not is_challengers(pa.array([None], pa.string()), 1.0, "").any()
    assert len(is_challengers(pa.array([], pa.string()), 0.5, "")) == 0


def test_another_process_splits_alike() -> None:
    program = (
        "import pyarrow as pa; from pipeline.models.routing import is_challengers;"
        f"names = pa.array([f'customer {{n}}' for n in range({CUSTOMERS})]);"
        "print(''.join('01'[int(each)] for each in is_challengers(names, 0.1, 'spring')))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "123"}
    other = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, env=environment)
    assert other.stdout.strip() == "".join("01"[int(each)] for each in is_challengers(NAMES, 0.1, "spring"))


@pytest.fixture(scope="module")
def scorers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Scorer, Scorer]:
    """Two versions that want different features."""
    folder = tmp_path_factory.mktemp("bundles")
    columns = (COMPANY_COLUMNS, COMPANY_COLUMNS[1:])
    first, second = (
        Scorer.load(folder / name, tiny_bundle(folder / name, wanted), threshold=0.5)
        for name, wanted in zip("ab", columns, strict=True)
    )
    return first, second


@pytest.mark.parametrize("fraction", [0.0, 0.3, 1.0])
def test_each_row_has_its_own_models_scores_in_order(scorers: tuple[Scorer, Scorer], fraction: float) -> None:
    batch = features_table(200).combine_chunks().to_batches()[0]
    challengers = is_challengers(batch.column("customer_id"), fraction, "")
    found = routed_scores(batch, challengers, *scorers)
    both = [scorer.score(batch).column("satisfaction").to_numpy() for scorer in scorers]
    assert not np.allclose(*both)
    assert (found.column("satisfaction").to_numpy() == np.where(challengers, both[1], both[0])).all()


def test_no_rows_are_no_scores(scorers: tuple[Scorer, Scorer]) -> None:
    batch = features_table(3).combine_chunks().to_batches()[0].slice(0, 0)
    assert routed_scores(batch, np.zeros(0, dtype=bool), *scorers).num_rows == 0


def test_an_error_of_the_challenger_names_it_and_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="The challenger, version 7, cannot score") as caught, blaming_challenger("7"):
        Scorer.load(tmp_path, "", threshold=0.5)
    assert "barometer rollback --challenger" in caught.value.do
