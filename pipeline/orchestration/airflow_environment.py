"""The environment variables of Airflow's processes, to which `airflow.cfg` at the root refers.

Nothing here imports Airflow, because the variables must be set before its first import. The entry
point is `airflow_environment`.
"""

import json
from pathlib import Path

from pipeline.files import written_atomically
from pipeline.local.credentials import credentials
from pipeline.local.postgres.databases import databases
from pipeline.settings import ROOT, Settings

DAGS = ROOT / "dags"


def airflow_environment(settings: Settings) -> dict[str, str]:
    """Return the variables that make Airflow use this home, this configuration and these databases.

    Starts the database server if it is embedded, and writes Airflow's password file.
    """
    secrets = credentials(settings.home)
    folder = settings.home / "airflow"
    return {
        "BAROMETER_CONFIG": str(settings.config_file),
        "BAROMETER_PROFILE": settings.profile or "",
        "BAROMETER_HOME": str(settings.home),
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW_CONFIG": str(ROOT / "airflow.cfg"),
        "BAROMETER_AIRFLOW_DAGS": str(DAGS),
        "BAROMETER_AIRFLOW_LOGS": str(folder / "logs"),
        "BAROMETER_AIRFLOW_DATABASE_URL": databases(settings).airflow,
        "BAROMETER_AIRFLOW_URL": airflow_url(settings),
        "BAROMETER_AIRFLOW_PORT": str(settings.services.airflow_port),
        "BAROMETER_AIRFLOW_FERNET_KEY": secrets.fernet_key,
        "BAROMETER_AIRFLOW_SECRET_KEY": secrets.secret_key,
        "BAROMETER_AIRFLOW_JWT_SECRET": secrets.jwt_secret,
        "BAROMETER_AIRFLOW_PASSWORDS": str(_write_passwords(folder, secrets.airflow_passwords)),
        "GX_ANALYTICS_ENABLED": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


def airflow_url(settings: Settings) -> str:
    """Return the address of Airflow's UI and REST API."""
    return f"http://127.0.0.1:{settings.services.airflow_port}"


def _write_passwords(folder: Path, passwords: dict[str, str]) -> Path:
    path = folder / "passwords.json"
    with written_atomically(path) as temporary:
        temporary.touch(mode=0o600)
        temporary.write_text(json.dumps(passwords), encoding="utf-8")
    return path
