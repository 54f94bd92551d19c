"""Report, the last stage: the page about the published week (`pipeline.reporting.week_report`).

The report always shows the week's published run, also if a newer run has superseded this one. The
entry point is `report`.
"""

import logging

from pipeline.handoff import Reported
from pipeline.reporting.week_report import write_report
from pipeline.settings import Settings
from pipeline.weekly.handoffs import Plan, Published
from pipeline.weeks import Week

log = logging.getLogger(__name__)


def report(settings: Settings, plan: Plan, published: Published) -> Reported:
    """Write the report of the run's week and the list of weeks."""
    path, run_id = write_report(settings, Week.parse(published.week))
    if run_id != plan.run_id:
        log.info("Run %s was superseded by %s; the report shows the newer run.", plan.run_id, run_id)
    return Reported(report=path)
