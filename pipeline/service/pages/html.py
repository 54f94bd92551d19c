"""Pages as answers: a template rendered, with the headers that let a browser load and run nothing else.

Used by `page`, `docs` and `site`. The entry points are `answered` and `error_page`.
"""

import base64
import hashlib
import re
from http import HTTPStatus

from starlette.responses import Response

from pipeline.errors import RequestError
from pipeline.reporting.rendering import render
from pipeline.service.calls import HTML, ErrorForm
from pipeline.settings import Settings

STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)
ISOLATED = {
    "referrer-policy": "same-origin",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
"""For every page, beside what `server` adds to every answer. The referrer stays within the site: by its origin the
front tells our form from a foreign one."""


def answered(settings: Settings, template: str, *, status: int = 200, **facts: object) -> Response:
    """Return a page of `pipeline/templates` that may load nothing, run no script and send its forms here only."""
    text = render(settings, template, has_pages=settings.service.contract == "barometer", **facts)
    style = STYLE.search(text)
    assert style is not None, "every page has its style within"
    policy = {"content-security-policy": content_policy(_hash(style[1])), "cache-control": "no-store"}
    return Response(text, status, policy | ISOLATED, HTML)


def error_page(settings: Settings) -> ErrorForm:
    """Return the form that errors have for people: a page with what was found, what was expected and what to do."""

    def form(error: RequestError, request_id: str) -> Response:
        title = HTTPStatus(error.status).phrase
        page = answered(
            settings, "service_error.html", status=error.status, title=title, error=error, request_id=request_id
        )
        page.headers.update(error.headers)
        return page

    return form


def content_policy(style: str, form: str = "'self'") -> str:
    """Return a content security policy.

    Parameters
    ----------
    style
        The source of styles that are allowed.
    form
        Where forms may be sent to.
    """
    parts = {
        "default-src": "'none'",
        "style-src": style,
        "img-src": "'self' data:",
        "form-action": form,
        "frame-ancestors": "'none'",
        "base-uri": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in parts.items())


def _hash(style: str) -> str:
    digest = hashlib.sha256(style.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
