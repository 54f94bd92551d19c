"""The corpus of hostile feeds: a change of the landing zone, and how the week must end.

Each case is also a row of a table in `docs/feeds.md`, word for word. `…` in a message stands for any text.
"""

from tests.hostile.corpus.files import COLUMNS, WHICH_FILES
from tests.hostile.corpus.formats import GZIP, JSON, PARQUET, TEXT
from tests.hostile.corpus.values import VALUES
from tests.hostile.corpus.volume import VOLUME

GROUPS = {
    "Which files": WHICH_FILES,
    "Columns": COLUMNS,
    "Values": VALUES,
    "Text": TEXT,
    "Gzip": GZIP,
    "Parquet": PARQUET,
    "JSON Lines": JSON,
    "Volume and repetition": VOLUME,
}

CASES = [case for cases in GROUPS.values() for case in cases]
