"""A small server for the pages that people read: the reports and Great Expectations' Data Docs.

Run as `python -m pipeline.up.pages`.
"""

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from pipeline.settings import Settings, load_settings


def main() -> None:
    """Serve the pages until the process is told to stop."""
    settings = load_settings()
    uvicorn.run(app(settings), host="127.0.0.1", port=settings.services.pages_port, log_level="warning")


def app(settings: Settings) -> Starlette:
    """Return the application: the site's files, a check of its health, and the list of reports at the root."""
    settings.site.mkdir(parents=True, exist_ok=True)
    return Starlette(
        routes=[
            Route("/health", _health),
            Route("/", _to_reports),
            Mount("/", StaticFiles(directory=settings.site, html=True)),
        ],
        # A page of a foreign site must not read this one through a name that resolves to 127.0.0.1.
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])],
    )


async def _health(_request: Request) -> Response:
    return PlainTextResponse("ok")


async def _to_reports(_request: Request) -> Response:
    return RedirectResponse("/reports/")


if __name__ == "__main__":
    main()
