"""Routing: which customers are the challenger's in an A/B test, and their rows scored by it. Nothing here knows a week.

A customer's place is drawn from a hash of its id and the salt, so it is the same in every week, shard, process and
batch. The weekly run (`pipeline.weekly.score`, and `pipeline.weekly.check` after it) and the sidecar use these very
functions. Entry
points: `is_challengers`, `routed_scores` and `routed_satisfaction`.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.errors import ModelError
from pipeline.models.scorer import Scorer, inputs

CHAMPION, CHALLENGER = "champion", "challenger"
"""The roles of a model version: who made a prediction."""


def is_challengers(customer_ids: pa.Array, fraction: float, salt: str) -> NDArray[np.bool_]:
    """Return for each customer whether it is the challenger's; a null is nobody, so the champion's.

    A customer's place is the first 53 bits of the SHA-256 of the salt followed by the id, both in UTF-8, as a number
    from 0 to below 1: below `fraction` it is the challenger's. So a larger fraction keeps those it has and adds others.

    Parameters
    ----------
    customer_ids
        Text; a customer may be there many times.
    fraction
        0 to 1, of the customers.
    salt
        Another salt draws other customers.

    Examples
    --------
    >>> is_challengers(pa.array(["c1", "c3", "c1", None]), 0.5, "").tolist()
    [False, True, False, False]
    """
    encoded = customer_ids.cast(pa.string()).dictionary_encode()  # each customer is hashed once
    salted = [(salt + customer).encode() for customer in encoded.dictionary.to_pylist()]
    digests = b"".join([hashlib.sha256(text).digest() for text in salted])
    places = (np.frombuffer(digests, dtype=">u8")[::4] >> np.uint64(11)) * 2.0**-53  # exactly what a double can hold
    of_nobody = len(salted)
    codes = encoded.indices.fill_null(of_nobody).to_numpy()
    drawn: NDArray[np.bool_] = np.append(places < fraction, False)[codes]
    return drawn


def routed_scores(
    batch: pa.RecordBatch, challengers: NDArray[np.bool_], champion: Scorer, challenger: Scorer
) -> pa.RecordBatch:
    """Return the scores of each row, in order, by the model whose row it is; columns as `Scorer.score` gives them.

    Parameters
    ----------
    batch
        The features of both models.
    challengers
        Which rows are the challenger's, as `is_challengers` says.
    champion, challenger
        The two models.
    """
    features = {feature.name: feature for feature in (*champion.features, *challenger.features)}
    columns = inputs(batch, list(features.values()))
    return champion.scores(routed_satisfaction(columns, challengers, champion, challenger))


def routed_satisfaction(
    columns: Mapping[str, NDArray[Any]], challengers: NDArray[np.bool_], champion: Scorer, challenger: Scorer
) -> NDArray[np.float64]:
    """Return the satisfaction of each row, in order, by the model whose row it is; `columns` as `inputs` gives them."""
    satisfaction = np.empty(len(challengers))
    for model, rows in ((champion, ~challengers), (challenger, challengers)):
        satisfaction[rows] = model.satisfaction({name: column[rows] for name, column in columns.items()})
    return satisfaction


@contextmanager
def blaming_challenger(version: str) -> Iterator[None]:
    """Say of a model's error in the block that it is the challenger's, and how to do without it."""
    try:
        yield
    except ModelError as error:
        raise ModelError(
            f"The challenger, version {version}, cannot score. {error.found}",
            error.expected,
            f"{error.do} Or do without it: barometer rollback --challenger takes it out; a version's number as the"
            " run's model has that version score everybody.",
        ) from None
