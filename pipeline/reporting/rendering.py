"""Rendering of the templates in `pipeline/templates`, for the reports, training's report and card, and the service.

The entry point is `render`.
"""

from datetime import UTC, datetime
from functools import lru_cache, partial
from zoneinfo import ZoneInfo

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipeline.reporting import filters
from pipeline.settings import Settings


def render(settings: Settings, template: str, **facts: object) -> str:
    """Return a page of `pipeline/templates`, with all text of `facts` escaped."""
    return (
        _environment(settings.zone)
        .get_template(template)
        .render(company=settings.company, zone=settings.timezone, made_at=datetime.now(UTC), **facts)
    )


@lru_cache
def _environment(zone: ZoneInfo) -> Environment:
    """Return the templates with their filters; cached, because the service renders many pages."""
    environment = Environment(
        loader=PackageLoader("pipeline"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {function.__name__: function for function in filters.FILTERS}
    environment.filters["moment"] = partial(filters.moment, zone=zone)
    environment.tests["missing"] = filters.is_missing
    return environment
