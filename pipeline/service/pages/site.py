"""The folders of `site/` with weekly reports, Data Docs and training's reports, which hold customers' data.

Starlette's `StaticFiles` finds a file, follows its links and refuses what lies outside of its folder. It is called in
the threads for pages, so that a slow disk holds up no prediction. The entry point is `routes`.
"""

from functools import partial
from pathlib import Path
from stat import S_ISDIR, S_ISREG

from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.staticfiles import NotModifiedResponse, StaticFiles

from pipeline.errors import RequestError
from pipeline.service.calls import Call, Route
from pipeline.service.pages.html import ISOLATED, content_policy, error_page
from pipeline.service.thread_pools import pages
from pipeline.settings import Settings

FOLDERS = ("reports", "data_docs", "training")
"""All others are not served."""
HEADERS = {
    # Reports carry a stricter policy of their own; this is for those that were written before they did.
    "content-security-policy": content_policy("'unsafe-inline'", form="'none'"),
    "cache-control": "private, no-cache",  # a browser keeps the file, and asks each time whether it has changed
    **ISOLATED,
}


def routes(settings: Settings) -> list[Route]:
    """Return the routes of the folders."""
    error = error_page(settings)
    found = []
    for folder in FOLDERS:
        serve = partial(_serve, StaticFiles(directory=settings.site / folder, check_dir=False))
        found.append(Route("GET", f"/{folder}", _add_slash, "predict", error=error))
        found.append(Route("GET", f"/{folder}/{{path:path}}", serve, "predict", error=error))
    return found


async def _add_slash(call: Call) -> Response:
    """Redirect to the folder's own address: the links of its page are relative to that."""
    return RedirectResponse(f"{call.scope['raw_path'].decode('latin-1')}/")


async def _serve(files: StaticFiles, call: Call) -> Response:
    """Answer with a file, or with a folder's `index.html`; 404 for everything else, without the reason."""
    path: str = call.path_params["path"]
    if any(part.startswith(".") for part in path.split("/")):
        raise _absent()
    try:
        response = await pages(_file, files, path, call)
    except (OSError, ValueError):  # too long a name, links in a circle, a file that was removed just now
        raise _absent() from None
    if response is None:
        return await _add_slash(call)
    response.headers.update(HEADERS)
    return response


def _file(files: StaticFiles, path: str, call: Call) -> Response | None:
    """Return the response with a file; None for a folder whose path does not end in a slash."""
    found, facts = files.lookup_path(path)
    if facts and S_ISDIR(facts.st_mode):
        if path and not path.endswith("/"):
            return None
        found, facts = files.lookup_path(f"{path}index.html")
    elif path.endswith("/"):
        raise _absent()
    if facts is None or not S_ISREG(facts.st_mode):
        raise _absent()
    headers = FileResponse(found, stat_result=facts).headers
    if files.is_not_modified(headers, call.headers):
        return NotModifiedResponse(headers)
    content = Path(found).read_bytes()  # whole, since another file may take its place while it is sent
    return Response(content, headers={name: headers[name] for name in ("etag", "last-modified", "content-type")})


def _absent() -> RequestError:
    do = "start at /reports/. A page appears there when its run has ended."
    return RequestError(404, "There is no such page.", "a weekly report, Data Docs or a training report.", do)
