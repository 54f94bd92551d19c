"""Templates to text: the one way that pages for people are made, from `pipeline/templates`.

Whatever text the facts hold is escaped. Used by the reports, training's report and card, and the service's pages. The
entry point is `render`.
"""

from datetime import UTC, datetime
from functools import lru_cache, partial
from zoneinfo import ZoneInfo

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipeline.reporting import filters
from pipeline.settings import Settings


def render(settings: Settings, template: str, **facts: object) -> str:
    """Return a page of `pipeline/templates`; whatever text the facts hold is escaped."""
    return (
        _environment(settings.zone)
        .get_template(template)
        .render(company=settings.company, zone=settings.timezone, made_at=datetime.now(UTC), **facts)
    )


@lru_cache
def _environment(zone: ZoneInfo) -> Environment:
    """Return the templates with their filters; kept, since a service renders them many times."""
    environment = Environment(
        loader=PackageLoader("pipeline"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "cell": filters.cell,
        "change": filters.change,
        "count": filters.count,
        "counted": filters.counted,
        "day": filters.day,
        "figure": filters.figure,
        "label": filters.label,
        "measure": filters.measure,
        "moment": partial(filters.moment, zone=zone),
        "more_or_fewer": filters.more_or_fewer,
        "percent": filters.percent,
        "seconds": filters.seconds,
    }
    environment.tests["missing"] = filters.is_missing
    return environment
