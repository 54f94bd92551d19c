"""The file on this machine: the one that was handed in, or a copy of the one at its address.

Used by `file_rows`. The entry point is `fetch_file`.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.batch_jobs.download import download_file
from pipeline.batch_jobs.file_source import NAME
from pipeline.batch_jobs.job_handoffs import FilePlan
from pipeline.errors import ConservationError, SourceError
from pipeline.settings import Settings
from pipeline.sources.landing import Fetched, Located, fetched


@contextmanager
def fetch_file(settings: Settings, plan: FilePlan) -> Iterator[Fetched]:
    """Yield the file with its digest; remove a copy afterwards.

    Raises
    ------
    SourceError
        If it cannot be reached, is larger than `service.upload_bytes`, has no known size, or changes before the block
        ends.
    ConservationError
        If it is not the file that was handed in.
    """
    most_bytes = settings.service.upload_bytes
    if plan.uri.startswith(("http://", "https://")):
        opened = download_file(plan.uri, settings.home / "tmp", most_bytes)
    else:
        opened = fetched(settings, _locate(plan, most_bytes))
    with opened as file:
        if plan.digest not in {None, file.digest}:
            raise ConservationError(
                f"The file is not the one that was handed in: its sha256 is {file.digest[:12]}….",
                f"sha256 {(plan.digest or '')[:12]}….",
                "hand the file in again.",
            )
        yield file


def _locate(plan: FilePlan, most_bytes: int) -> Located:
    """Return where the file is; refuse one that is absent or too large."""
    from fsspec.core import url_to_fs

    try:
        filesystem, path = url_to_fs(plan.uri)
        size = filesystem.info(path).get("size")
    except (OSError, ValueError, ImportError) as error:
        said = getattr(error, "strerror", None) or str(error).replace(plan.uri, "it")
        raise SourceError(
            f"The file cannot be reached: {said}.",
            "a file that exists and may be read.",
            "check the address and the access rights.",
        ) from None
    if size is None or size > most_bytes:
        raise SourceError(
            "The file has no known size." if size is None else f"The file has {size:,} bytes.",
            f"at most {most_bytes:,} bytes (service.upload_bytes).",
            "split the file.",
        )
    return Located(NAME, plan.uri, filesystem, path)
