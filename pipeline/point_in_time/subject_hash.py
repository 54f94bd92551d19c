"""The hash of a subject's key, which says which shard of a snapshot holds the subject; in SQL and in Python.

It is the first 8 bytes of the md5 of `customer_id`, U+001F and `product_id`, as a big-endian number. Kept free of heavy
imports for the service's sake. Entry points: `hash_of_key`, `shard_of`.
"""

import hashlib


def hash_of_key() -> str:
    """Return DuckDB's expression of the hash."""
    return "CAST('0x' || left(md5(concat(customer_id, chr(31), product_id)), 16) AS UBIGINT)"


def shard_of(customer_id: str, product_id: str, shards: int) -> int:
    """Return the number of the shard that holds a subject in a snapshot of `shards` shards."""
    digest = hashlib.md5(f"{customer_id}\x1f{product_id}".encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[:8]) % shards
