"""Sweeps the files of expired jobs every hour; the DAG `score_file` does so at the end of each run too.

The entry point is `Sweeping`.
"""

import logging
import threading

from pipeline.batch_jobs.places import sweep
from pipeline.settings import Settings

PAUSE_SECONDS, STOP_SECONDS = 3600.0, 5.0

log = logging.getLogger(__name__)


class Sweeping:
    """Sweeps at once and then every hour, in its own thread, until it is stopped."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweeping", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; a sweep that is under way has some seconds to finish."""
        self._stopping.set()
        self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        while True:
            try:
                if swept := sweep(self._settings):
                    log.info("Removed the files of %d jobs that have expired", swept)
            except OSError:  # a folder that cannot be read today may be readable tomorrow
                log.exception("The files of jobs cannot be swept")
            if self._stopping.wait(PAUSE_SECONDS):
                return
