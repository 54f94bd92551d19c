"""What a challenger adds to the time of scoring a shard: little in an A/B test, a second scoring in the shadow.

    python -m benchmarks.routing [--rows 500000]

Each row has its own customer, which is the worst case for drawing customers. The challenger is a
copy of the champion, so only routing makes a difference.
"""

import argparse
import tempfile
import time
from pathlib import Path

import pyarrow as pa

from benchmarks.scoring import prepare, with_pipeline
from pipeline.models.pinned import PinnedVersion, Routing
from pipeline.models.routing import is_challengers


def main() -> None:
    """Print the CPU seconds of each mode, and of drawing customers alone."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=500_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        prepare(folder, rows)
        digest = (folder / "model.digest").read_text()
        copy = PinnedVersion(
            model_version="2", trained_after_cutoff=False, bundle=folder / "model", bundle_digest=digest
        )
        with_pipeline(folder)  # reads the libraries and the shard once
        for mode in ("off", "ab", "shadow"):
            challenger = None if mode == "off" else copy
            routing = Routing.model_validate({"mode": mode, "fraction": 0.5, "challenger": challenger})
            _, seconds = with_pipeline(folder, routing)
            print(f"{mode:12}{seconds:8.2f} CPU seconds, {seconds / rows * 1e6:5.2f} microseconds a row")
    customers = pa.array(f"c{number:09d}" for number in range(rows))
    started = time.process_time()
    is_challengers(customers, 0.5, "salt")
    seconds = time.process_time() - started
    print(f"{'drawing only':12}{seconds:8.2f} CPU seconds, {seconds / rows * 1e6:5.2f} microseconds a customer")


if __name__ == "__main__":
    main()
