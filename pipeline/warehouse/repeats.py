"""Repeated deliveries: another week's file under this week's name, or the same part twice.

Called by `pipeline.weekly.ingest`, which has read the files. Only sources whose rows have times are
checked, because a list of products may well be the same next week. The entry point is
`refuse_repeats`.
"""

from itertools import product

from sqlalchemy import text

from pipeline.errors import SourceError
from pipeline.manifests import SourceFile, SourcesManifest
from pipeline.settings import Settings
from pipeline.warehouse import transaction


def refuse_repeats(settings: Settings, manifest: SourcesManifest) -> None:
    """Refuse a file of the week that is, byte for byte, another file of its source.

    It is compared with the other files that were read, and with the files of earlier weeks'
    published runs.

    Raises
    ------
    SourceError
        If a file with at least one line came before.
    """
    for name, read in manifest.sources.items():
        own = [file for file in read.files if file.week in {None, manifest.week} and file.rows + file.rejects]
        if read.timeless or settings.sources[name].path is None or not own:
            continue
        others = [(file.uri, file.digest) for file in read.files] + _published(settings, name, own, manifest.week)
        for file, (uri, digest) in product(own, others):
            if file.digest == digest and file.uri != uri:
                raise SourceError(
                    f"Source {name}: {file.uri} is, byte for byte, {uri}.",
                    "a different file for each week, and each part once.",
                    "deliver the week's own file (a header alone, if nothing happened) and run the week again.",
                )


def _published(settings: Settings, name: str, own: list[SourceFile], week: str) -> list[tuple[str, str]]:
    """Return URI and digest of the earlier weeks' files that equal one of these."""
    query = text(
        "SELECT DISTINCT file ->> 'uri', file ->> 'digest'"
        " FROM prediction_runs, jsonb_array_elements(sources -> CAST(:source AS text) -> 'files') AS file"
        " WHERE state = 'published' AND file ->> 'week' < :week AND file ->> 'digest' = ANY(:digests)"
    )
    with transaction(settings) as warehouse:
        found = warehouse.execute(query, {"source": name, "week": week, "digests": [file.digest for file in own]})
        return [(uri, digest) for uri, digest in found]
