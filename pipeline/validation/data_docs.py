"""Data Docs: for each run a page with all expectations, and a page for each suite.

The pages are in `site/data_docs/<run_id>/`. Each is written atomically, so a reader never sees half
a page. Great Expectations' sections are placed in a page of ours, because its own page loads
styles, scripts and a logo from a dozen other hosts. Entry points: `write_pages` and `run_page`;
`rendered` is for `pipeline.validation.gx`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import jinja2

from pipeline.files import write_text
from pipeline.settings import Settings

# The sections come from Great Expectations' templates, which escape the texts of suites and data.
_PAGES = jinja2.Environment(loader=jinja2.PackageLoader("pipeline"), autoescape=True, undefined=jinja2.StrictUndefined)


def run_page(run_id: str) -> str:
    """Return the address of a run's page, relative to the site."""
    return f"data_docs/{run_id}/index.html"


def write_pages(
    settings: Settings, run_id: str, results: Sequence[Mapping[str, Any]], sections: Mapping[str, str]
) -> None:
    """Write the run's page and one page for each suite that was just evaluated.

    `results` are all of the run so far, as `pipeline.validation.gx.Result` dumps them. `sections` has Great
    Expectations' sections, as HTML, by suite.
    """
    folder = (settings.site / run_page(run_id)).parent
    common = {"company": settings.company, "run_id": run_id}
    template = _PAGES.get_template("data_docs.html")
    for suite, content in sections.items():
        page = template.render(common, title=suite, eyebrow="Expectations", content=content)
        write_text(folder / _page_name(suite), page)
    pages = {row["suite"]: name for row in results if (folder / (name := _page_name(row["suite"]))).exists()}
    page = template.render(
        common, title="What was expected, and what was found", eyebrow="", results=results, pages=pages
    )
    write_text(folder / "index.html", page)


def _page_name(suite: str) -> str:
    return f"{suite.replace('/', '-')}.html"


def rendered(outcome: Any) -> str:
    """Return the sections of Great Expectations' page for a validation result, as HTML."""
    from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
    from great_expectations.render.view.view import DefaultJinjaSectionView

    document = ValidationResultsPageRenderer().render(outcome)
    render = cast(Callable[[Any], str], DefaultJinjaSectionView().render)
    numbered = enumerate(document.sections, 1)
    return "\n".join(render({"section": part.to_json_dict(), "section_loop": {"index": at}}) for at, part in numbered)
