"""What the front refuses, and in which words. Stands behind `front`; `refusal` makes an answer of any error."""

import logging
from http import HTTPStatus

from pipeline.errors import BarometerError, RequestError, TransientError
from pipeline.service.server.calls import Answer, Call, Route, problem
from pipeline.service.server.router import Match

RETRY_SECONDS = 1
UNAVAILABLE = HTTPStatus.SERVICE_UNAVAILABLE.value
TOO_MUCH = frozenset({HTTPStatus.REQUEST_TIMEOUT.value, HTTPStatus.REQUEST_ENTITY_TOO_LARGE.value})
"""What a file may hold, where a request may not."""

log = logging.getLogger(__name__)


def refusal(error: BarometerError, route: Route | None, call: Call, files_path: str | None) -> Answer:
    """Return an error in the route's form; what is not the request's fault is ours, 503 when it may pass.

    Parameters
    ----------
    error
        The error.
    route, call
        What was asked.
    files_path
        Where a file may be sent instead of a request that is too much; None: nowhere.
    """
    if not isinstance(error, RequestError):
        status = UNAVAILABLE if isinstance(error, TransientError) else 500
        headers = _retry_after(RETRY_SECONDS) if status == UNAVAILABLE else ()
        log.error("The request %s failed: %s", call.request_id, error)
        error = RequestError(status=status, found=error.found, expected=error.expected, do=error.do, headers=headers)
    if files_path and error.status in TOO_MUCH and route and not route.streams:
        error.do = f"{error.do.removesuffix('.')}, or a file: POST {files_path}."
    return (route.error if route else problem)(error, call.request_id)


def no_route(match: Match, call: Call) -> RequestError:
    """Return that there is no such path, or none with this method."""
    if match.methods:
        allowed = ", ".join(match.methods)
        return RequestError(
            status=405,
            found=f"This path does not know the method {call.method[:20]}.",
            expected=allowed + ".",
            do="see /docs.",
            headers=((b"allow", allowed.encode()),),
        )
    return RequestError(status=404, found="There is no such path.", expected="one of those in /docs.", do="see /docs.")


def two_hosts() -> RequestError:
    """Return that it is not clear whom the request is for."""
    return RequestError(
        status=400, found="The header Host comes more than once.", expected="it once.", do="mend the client."
    )


def another_host() -> RequestError:
    """Return that the request is for another host than this machine."""
    return RequestError(
        status=421,
        found="The header Host names another host.",
        expected="127.0.0.1 or localhost, the only ones this service listens for.",
        do="use that address; to be reached from elsewhere set service.host and service.auth.",
    )


def another_site() -> RequestError:
    """Return that the request comes from a page that is not ours."""
    return RequestError(
        status=403,
        found="The request comes from another site's page.",
        expected="none, or a page of this service.",
        do="call the API from a server, not from a page.",
    )


def busy(most: int, what: str, retry_seconds: int) -> RequestError:
    """Return that as much is at work as may be; `what` says it of more than so many."""
    return RequestError(
        status=UNAVAILABLE,
        found=f"{most} {what}.",
        expected="fewer at once.",
        do=f"try again in {retry_seconds} s.",
        headers=_retry_after(retry_seconds),
    )


def compressed() -> RequestError:
    """Return that the body would have to be inflated."""
    return RequestError(status=415, found="The body is compressed.", expected="a plain body.", do="send it as it is.")


def too_large(most_bytes: int) -> RequestError:
    """Return that the body is too large."""
    return RequestError(
        status=413,
        found="The body is too large.",
        expected=f"at most {most_bytes:,} bytes.",
        do="send several requests.",
    )


def too_slow(seconds: float) -> RequestError:
    """Return that the request and its answer took too long."""
    return RequestError(
        status=408,
        found=f"The request took more than {seconds:g} s.",
        expected="to have it whole, and its answer, by then.",
        do="send fewer rows at once.",
    )


def own_fault(request_id: str) -> RequestError:
    """Return that it is ours, and nothing of the reason."""
    return RequestError(
        status=500,
        found="The service failed.",
        expected="an answer.",
        do=f"tell its operators the request's id, {request_id}; the log has the reason.",
    )


def _retry_after(seconds: int) -> tuple[tuple[bytes, bytes], ...]:
    return ((b"retry-after", b"%d" % seconds),)
