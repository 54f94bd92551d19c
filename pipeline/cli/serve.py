"""`barometer serve`: run the service, which predicts on demand over HTTP."""

import os
from collections.abc import Mapping
from typing import Any

import click

from pipeline.settings import Settings, load_settings


@click.command()
def serve() -> None:
    """Serve predictions on demand over HTTP until Ctrl-C or SIGTERM.

    The model is the registry's current champion, or the one in service.model_folder. The address, the
    contract (barometer, sagemaker, vertex, azure) and the limits are in [service] of pipeline.toml, and each can be set
    by a variable. The log goes to standard error as JSON lines.

    \b
    Examples:
      barometer serve
      BAROMETER__SERVICE__PORT=8000 barometer serve
      BAROMETER__SERVICE__MODEL_FOLDER=/srv/model barometer serve
    """
    from pipeline.service.contracts.platforms import contract_overrides
    from pipeline.service.process import serve as run

    settings = contract_overrides(load_settings(), os.environ)
    run(settings, ready=lambda readiness: click.echo(_describe(settings, readiness)))


def _describe(settings: Settings, readiness: Mapping[str, Any]) -> str:
    return (
        f"Listening on {settings.service.url}: contract {settings.service.contract}, {_describe_access(settings)},"
        f" {_describe_model(readiness)}."
    )


def _describe_access(settings: Settings) -> str:
    if settings.service.auth == "keys":
        return "API keys required"
    return "the gateway in front authenticates" if settings.service.auth == "platform" else "no keys required"


def _describe_model(readiness: Mapping[str, Any]) -> str:
    if readiness["champion"] is None:
        problems = " ".join(problem["error"] for problem in readiness["problems"])
        return f"no model yet ({problems.rstrip('.')})" if problems else "no model yet"
    beside = f" with version {readiness['challenger']} beside it" if readiness["challenger"] else ""
    return f"version {readiness['champion']}{beside} from the {readiness['loaded_from']}"
