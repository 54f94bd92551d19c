"""The file on this machine: where it was handed in, or a copy of what lies at its address.

Stands before `read`. The entry point is `fetch_file`.
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
    """Yield the file with its digest; a copy is removed afterwards.

    Raises
    ------
    SourceError
        If it cannot be reached, is larger than `service.upload_bytes`, or nobody can say how large; or if it changes
        before the block ends.
    ConservationError
        If it is not the file that was handed in.
    """
    is_on_the_web = plan.uri.startswith(("http://", "https://"))
    with download_file(settings, plan.uri) if is_on_the_web else fetched(settings, _located(settings, plan)) as file:
        if plan.digest not in {None, file.digest}:
            raise ConservationError(
                f"The file is not the one that was handed in (its sha256 is {file.digest[:12]}…).",
                f"sha256 {(plan.digest or '')[:12]}….",
                "hand the file in again.",
            )
        yield file


def _located(settings: Settings, plan: FilePlan) -> Located:
    """Return where the file is, once it is known to be there and not too large."""
    from fsspec.core import url_to_fs

    try:
        filesystem, path = url_to_fs(plan.uri)
        size = filesystem.info(path).get("size")
    except (OSError, ValueError, ImportError) as error:
        said = getattr(error, "strerror", None) or str(error).replace(plan.uri, "it")
        raise SourceError(
            f"The file cannot be reached: {said}.",
            "a file that is there and may be read.",
            "check the address and the access rights.",
        ) from None
    if size is None or size > settings.service.upload_bytes:
        raise SourceError(
            f"The file {'does not say how large it is' if size is None else f'has {size:,} bytes'}.",
            f"at most {settings.service.upload_bytes:,} bytes (service.upload_bytes).",
            "split the file.",
        )
    return Located(NAME, plan.uri, filesystem, path)
