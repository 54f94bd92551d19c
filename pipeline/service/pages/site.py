"""The site of the home, `site/`: weekly reports, Data Docs, training's reports. They hold customers' data.

A file is served only if it lies within its folder once all links are followed. The entry point is `routes`.
"""

import mimetypes
import os
from email.utils import formatdate
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.responses import Response

from pipeline.errors import RequestError
from pipeline.service.calls import Call, Route
from pipeline.service.pages.html import ISOLATED, content_policy, error_page
from pipeline.service.thread_pools import pages
from pipeline.settings import Settings

FOLDERS = ("reports", "data_docs", "training")
"""Of the site. What else may come to lie there is not served."""
POLICY = content_policy("'unsafe-inline'", form="'none'")
"""A report carries its own, stricter policy; this is for those that were written before that."""
HEADERS = {
    "content-security-policy": POLICY,
    "cache-control": "private, no-cache",  # a browser may keep it, and asks each time whether it is still the same
    **ISOLATED,
}


def routes(settings: Settings) -> list[Route]:
    """Return the routes of the site's folders."""
    site, options = settings.site, {"scope": "predict", "error": error_page(settings)}
    return [route for folder in FOLDERS for route in _routes(site, folder, options)]


def _routes(site: Path, folder: str, options: dict[str, Any]) -> list[Route]:
    return [
        Route("GET", f"/{folder}", partial(_to_folder, folder), **options),
        Route("GET", f"/{folder}/{{path:path}}", partial(_serve, site, folder), **options),
    ]


async def _to_folder(folder: str, call: Call) -> Response:  # noqa: ARG001 - a handler takes the call
    return _moved(f"/{folder}/")


async def _serve(site: Path, folder: str, call: Call) -> Response:
    return await pages(_answer, site, folder, call)


def _answer(site: Path, folder: str, call: Call) -> Response:
    """Return the file that is asked for; for a folder its `index.html`."""
    path = call.path_params["path"]
    found = _within(site, folder, path)
    if found.is_dir():
        if path and not path.endswith("/"):  # else the links of its page would lead beside it
            return _moved(f"/{folder}/{quote(path)}/")
        found = _within(site, folder, f"{path}index.html")
    elif path.endswith("/"):
        raise _absent()
    if not found.is_file():
        raise _absent()
    content, facts = _read(found)
    tag = f'"{facts.st_mtime_ns:x}-{facts.st_size:x}"'.encode()
    modified = formatdate(facts.st_mtime, usegmt=True).encode()
    headers = {"etag": tag.decode(), "last-modified": modified.decode(), **HEADERS}
    kind = _media_type(found)
    if _is_known(call, tag, modified):
        return Response(status_code=304, headers=headers)
    return Response(content, 200, headers, kind)


def _within(site: Path, folder: str, path: str) -> Path:
    """Return the file or folder that a path leads to, all links followed, if that lies in the site's folder.

    Raises
    ------
    RequestError
        404, whatever the reason: a stranger learns nothing of what lies elsewhere.
    """
    parts = path.split("/")
    if path.startswith("/") or any(part.startswith(".") or "\\" in part or "\x00" in part for part in parts):
        raise _absent()
    try:
        root = site.resolve(strict=True) / folder
        found = (root / path).resolve(strict=True)
    except (OSError, ValueError, RuntimeError):  # absent, too long a name, links in a circle
        raise _absent() from None
    if not found.is_relative_to(root):
        raise _absent()
    return found


def _read(file: Path) -> tuple[bytes, os.stat_result]:
    """Return a file's content and what is known of that very file: another may take its place meanwhile."""
    try:
        with file.open("rb") as opened:
            return opened.read(), os.fstat(opened.fileno())
    except OSError:
        raise _absent() from None


def _is_known(call: Call, tag: bytes, modified: bytes) -> bool:
    """Return whether the browser has this very file; its tag counts before its time."""
    tags = call.fields.get(b"if-none-match")
    if tags is not None:
        return tags.strip() == b"*" or tag in [known.strip().removeprefix(b"W/") for known in tags.split(b",")]
    return call.fields.get(b"if-modified-since") == modified


def _media_type(file: Path) -> str:
    kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") or kind == "application/json" else kind


def _moved(where: str) -> Response:
    return Response(status_code=307, headers={"location": where})


def _absent() -> RequestError:
    return RequestError(
        404,
        "There is no such page.",
        "a page of the site: a weekly report, Data Docs, a training report.",
        "begin at /reports/; a page appears there once its run has ended.",
    )
