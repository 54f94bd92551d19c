"""Routing: which customers belong to the challenger in an A/B test, and scoring rows by the model they belong to.

A customer's place is a hash of its id and the salt, so it is the same in every week, shard, process
and batch. The weekly run, its check and the service all use these functions. Entry points:
`is_challengers` and `routed_scores`.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.errors import ModelError
from pipeline.models.scoring.columns import inputs
from pipeline.models.scoring.scorer import Scorer

CHAMPION, CHALLENGER = "champion", "challenger"
"""The role of the version that made a prediction."""


def is_challengers(customer_ids: pa.Array, fraction: float, salt: str) -> NDArray[np.bool_]:
    """Return for each customer whether it belongs to the challenger; a null belongs to the champion.

    A customer's place is the first 53 bits of the SHA-256 of the salt followed by the id, both in
    UTF-8, as a number from 0 to below 1. Places below `fraction` belong to the challenger, so a
    larger fraction keeps the challenger's customers and adds others.

    `fraction` is from 0 to 1, and another `salt` draws other customers.

    Examples
    --------
    >>> is_challengers(pa.array(["c1", "c3", "c1", None]), 0.5, "").tolist()
    [False, True, False, False]
    """
    encoded = customer_ids.cast(pa.string()).dictionary_encode()  # each customer is hashed once
    salted = [(salt + customer).encode() for customer in encoded.dictionary.to_pylist()]
    digests = b"".join([hashlib.sha256(text).digest() for text in salted])
    places = (np.frombuffer(digests, dtype=">u8")[::4] >> np.uint64(11)) * 2.0**-53  # exactly what a double can hold
    codes = encoded.indices.fill_null(len(salted)).to_numpy()
    drawn: NDArray[np.bool_] = np.append(places < fraction, False)[codes]  # the last element is for null
    return drawn


def routed_scores(
    batch: pa.RecordBatch, challengers: NDArray[np.bool_], champion: Scorer, challenger: Scorer
) -> pa.RecordBatch:
    """Return the scores of each row, in order, by the model it belongs to; columns as `Scorer.score` returns them.

    `batch` holds the features of both models, and `challengers` is as `is_challengers` returns it.
    """
    satisfaction = np.empty(len(challengers))
    for model, rows in ((champion, ~challengers), (challenger, challengers)):
        satisfaction[rows] = model.satisfaction(inputs(batch.filter(pa.array(rows)), model.features))
    return champion.scores(satisfaction)


@contextmanager
def blaming_challenger(version: str) -> Iterator[None]:
    """Add to a model's error in the block that it is the challenger's, and how to run without it."""
    try:
        yield
    except ModelError as error:
        raise ModelError(
            f"The challenger, version {version}, cannot score. {error.found}",
            error.expected,
            f"{error.do} To run without it, take it out: barometer rollback --challenger. Or name one version as the"
            " run's model, which then scores every customer.",
        ) from None
