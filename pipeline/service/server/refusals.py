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
        error = RequestError(status, error.found, error.expected, error.do, headers=headers)
    if files_path and error.status in TOO_MUCH and route and not route.streams:
        error.do = f"{error.do.removesuffix('.')}, or a file: POST {files_path}."
    return (route.error if route else problem)(error, call.request_id)


def no_route(match: Match, call: Call) -> RequestError:
    """Return that there is no such path, or none with this method."""
    if match.methods:
        allowed = ", ".join(match.methods)
        return RequestError(
            405,
            f"This path does not know the method {call.method[:20]}.",
            allowed + ".",
            "see /docs.",
            headers=((b"allow", allowed.encode()),),
        )
    return RequestError(404, "There is no such path.", "one of those in /docs.", "see /docs.")


def two_hosts() -> RequestError:
    """Return that it is not clear whom the request is for."""
    return RequestError(400, "The header Host comes more than once.", "it once.", "mend the client.")


def another_host() -> RequestError:
    """Return that the request is for another host than this machine."""
    return RequestError(
        421,
        "The header Host names another host.",
        "127.0.0.1 or localhost, the only ones this service listens for.",
        "use that address; to be reached from elsewhere set service.host and service.auth.",
    )


def another_site() -> RequestError:
    """Return that the request comes from a page that is not ours."""
    return RequestError(
        403,
        "The request comes from another site's page.",
        "none, or a page of this service.",
        "call the API from a server, not from a page.",
    )


def busy(most: int, what: str, retry_seconds: int) -> RequestError:
    """Return that as much is at work as may be; `what` says it of more than so many."""
    return RequestError(
        UNAVAILABLE,
        f"{most} {what}.",
        "fewer at once.",
        f"try again in {retry_seconds} s.",
        headers=_retry_after(retry_seconds),
    )


def compressed() -> RequestError:
    """Return that the body would have to be inflated."""
    return RequestError(415, "The body is compressed.", "a plain body.", "send it as it is.")


def too_large(most_bytes: int) -> RequestError:
    """Return that the body is too large."""
    return RequestError(413, "The body is too large.", f"at most {most_bytes:,} bytes.", "send several requests.")


def too_slow(seconds: float) -> RequestError:
    """Return that the request and its answer took too long."""
    return RequestError(
        408,
        f"The request took more than {seconds:g} s.",
        "to have it whole, and its answer, by then.",
        "send fewer rows at once.",
    )


def own_fault(request_id: str) -> RequestError:
    """Return that it is ours, and nothing of the reason."""
    return RequestError(
        500,
        "The service failed.",
        "an answer.",
        f"tell its operators the request's id, {request_id}; the log has the reason.",
    )


def _retry_after(seconds: int) -> tuple[tuple[bytes, bytes], ...]:
    return ((b"retry-after", b"%d" % seconds),)
