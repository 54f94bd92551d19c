"""Pages as responses: a template rendered, with headers that let a browser load and run nothing else.

Used by `page`, `docs` and `site`. The entry points are `rendered`, `as_page` and `error_page`.
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
"""For every page, beside what `server` adds to every response. Within the site the referrer is sent, since the front
tells our forms from foreign ones by its origin."""


def rendered(settings: Settings, template: str, **facts: object) -> str:
    """Return a page of `pipeline/templates`."""
    return render(settings, template, has_pages=settings.service.contract == "barometer", **facts)


def as_page(text: str, status: int = 200) -> Response:
    """Return a page as a response: it may load nothing, run no script and send its forms to this service alone."""
    style = STYLE.search(text)
    assert style is not None, "every page has its style within"
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    policy = {"content-security-policy": content_policy(f"'sha256-{digest}'"), "cache-control": "no-store"}
    return Response(text, status, policy | ISOLATED, HTML)


def error_page(settings: Settings) -> ErrorForm:
    """Return the form that errors have for people: a page with the error's three parts."""

    def form(error: RequestError, request_id: str) -> Response:
        title = HTTPStatus(error.status).phrase
        text = rendered(settings, "service_error.html", title=title, error=error, request_id=request_id)
        page = as_page(text, error.status)
        page.headers.update(error.headers)
        return page

    return form


def content_policy(style: str, form: str = "'self'") -> str:
    """Return a content security policy with a source of styles, and a place where forms may be sent to."""
    return (
        f"default-src 'none'; style-src {style}; img-src 'self' data:; form-action {form}; frame-ancestors 'none';"
        " base-uri 'none'"
    )
