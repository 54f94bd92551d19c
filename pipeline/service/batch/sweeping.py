"""The files of jobs that have expired, swept once an hour; the DAG `score_file` sweeps at the end of each run too.

The entry point is `Sweeping`.
"""

import logging
import threading

from pipeline.batch_jobs.places import sweep
from pipeline.settings import Settings

SECONDS, STOP_SECONDS = 3600.0, 5.0

log = logging.getLogger(__name__)


class Sweeping:
    """Sweeps at once and then every hour, in a thread of its own, until it is stopped."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweeping", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; a sweep that goes on has some seconds to."""
        self._stopping.set()
        self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        while True:
            try:
                if swept := sweep(self._settings):
                    log.info("Removed the files of %d jobs that have expired", swept)
            except OSError:  # a folder that cannot be read today may be tomorrow
                log.exception("The files of jobs cannot be swept")
            if self._stopping.wait(SECONDS):
                return
