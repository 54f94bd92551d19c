"""Completes what instances leave out from the latest snapshot.

The body is read twice. The first reading notes which subjects to look up, the second fills in what was found. So the
threads in which bodies are read never wait for the warehouse, and a request costs one query. The entry point is
`completed`.
"""

from collections.abc import Awaitable, Callable, Sequence

from pipeline.errors import RequestError
from pipeline.service.instances.signature import Complete, Features, Instances
from pipeline.service.instances.wording import bad
from pipeline.service.published.lookup import FeatureQuery, Lookup
from pipeline.service.thread_pools import warehouse

MOST_COMPLETED = 100
"""Most subjects of a request that may leave features out: each costs the reading of a file, even if it is not found."""


async def completed(lookup: Lookup, read: Callable[[Complete], Awaitable[Instances]]) -> Instances:
    """Return the instances that `read` makes of a body, with what they leave out.

    Raises what `read` raises; 503 while the warehouse is away, even where bad rows do not refuse the request.
    """
    known: dict[FeatureQuery, Features | RequestError] = {}

    def complete(customer_id: str, product_id: str, names: Sequence[str]) -> Features:
        query = FeatureQuery(customer_id, product_id, tuple(names))
        if query not in known and len(known) >= MOST_COMPLETED:
            raise bad(
                f"it is one of more than {MOST_COMPLETED} subjects that leave features to the latest snapshot",
                f"at most {MOST_COMPLETED} in a request",
            )
        found = known.setdefault(query, ("", (None,) * len(names)))  # nothing is known at the first reading
        if isinstance(found, RequestError):
            raise found
        return found

    instances = await read(complete)
    if not known:
        return instances
    found = await warehouse(lookup.features, [*known])
    known = {query: features or _unknown() for query, features in zip(known, found, strict=True)}
    return await read(complete)


def _unknown() -> RequestError:
    expected = "a customer_id and product_id that were predicted, or a value for each feature."
    do = "send all features, null where one is not known."
    return RequestError(404, "The subject of an instance is in no published week.", expected, do)
