"""Loading many rows into the warehouse: `adbc_ingest` takes ten times as many rows a second as INSERT.

The service needs the rest of `pipeline.warehouse` without this driver, so it stands apart. The one entry point is
`loading`.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from adbc_driver_postgresql import dbapi

from pipeline.settings import Settings
from pipeline.warehouse import engine, unavailable

JSONB_VERSION = b"\x01"
"""What jsonb's binary form starts with."""


@contextmanager
def loading(settings: Settings) -> Iterator[dbapi.Cursor]:
    """Yield an ADBC cursor in a transaction of its own, committed when the block ends well, else rolled back.

    A string goes into a column of type jsonb as bytes: `JSONB_VERSION`, then the JSON.

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
