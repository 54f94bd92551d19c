"""The corpus of hostile feeds: what is done to the landing zone, and how the week must end.

Each case stands in a table of `docs/feeds.md` too, word for word. `…` in what is said stands for anything.
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
