"""What instances leave out, completed from the latest snapshot: noted first, then looked up together.

The body is read twice then: the first reading notes who is to be looked up, the second one fills in what was found. So
the threads in which bodies are read never wait for the warehouse, and a request costs one query. The entry point is
`completed`.
"""

from collections.abc import Awaitable, Callable, Sequence

from pipeline.errors import RequestError
from pipeline.service.instances.signature import Complete, Instances, Values
from pipeline.service.instances.wording import bad
from pipeline.service.published.lookup import Lookup, Wanted
from pipeline.service.thread_pools import warehouse

MOST_COMPLETED = 100
"""So many subjects of a request may leave features to the latest snapshot: each has a file read, found or not."""


async def completed(lookup: Lookup, read: Callable[[Complete], Awaitable[Instances]]) -> Instances:
    """Return the instances that `read` makes of a body, with what they leave out.

    Raises
    ------
    RequestError
        What `read` raises; 503 while the warehouse is away, whatever is to become of bad rows.
    """
    known: dict[Wanted, tuple[str, Values] | RequestError] = {}

    def complete(customer_id: str, product_id: str, names: Sequence[str]) -> tuple[str, Values]:
        wanted = Wanted(customer_id, product_id, tuple(names))
        if wanted not in known and len(known) >= MOST_COMPLETED:
            raise bad(
                f"it is one of more than {MOST_COMPLETED} subjects that leave features to the latest snapshot",
                f"at most {MOST_COMPLETED} in a request",
            )
        found = known.setdefault(wanted, ("", (None,) * len(names)))  # at first nothing is known
        if isinstance(found, RequestError):
            raise found
        return found

    instances = await read(complete)
    if not known:
        return instances
    found = await warehouse(lookup.features_of, [*known])
    known.update((wanted, of or _unknown()) for wanted, of in zip(list(known), found, strict=True))
    return await read(complete)


def _unknown() -> RequestError:
    return RequestError(
        404,
        "The subject of an instance is in no published week.",
        "a customer_id and product_id that were predicted, or a value for each feature.",
        "send all features, null where one is not known.",
    )
