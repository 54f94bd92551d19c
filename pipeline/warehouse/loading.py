"""Load many rows into the warehouse. `adbc_ingest` loads ten times as many rows a second as INSERT.

This is a module of its own because the service uses `pipeline.warehouse` without the ADBC driver.
The entry point is `loading`.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from adbc_driver_postgresql import dbapi

from pipeline.settings import Settings
from pipeline.warehouse import engine, unavailable

JSONB_VERSION = b"\x01"
"""The first byte of jsonb's binary form."""


@contextmanager
def loading(settings: Settings) -> Iterator[dbapi.Cursor]:
    """Yield an ADBC cursor in a transaction, which commits if the block succeeds, else rolls back.

    For a column of type jsonb, pass bytes: `JSONB_VERSION` followed by the JSON text.

    Raises
    ------
    DatabaseUnavailableError
        If the server does not answer or goes away.
    """
    url = engine(settings).url.set(drivername="postgresql").render_as_string(hide_password=False)
    try:
        with dbapi.connect(url) as connection, connection.cursor() as cursor:
            yield cursor
            connection.commit()
    except dbapi.OperationalError as error:
        raise unavailable(error, error.sqlstate) from None
