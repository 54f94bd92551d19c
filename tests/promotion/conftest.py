"""Three registered versions without training sets, the first one champion, for the steps after the gate."""

from pathlib import Path

import pytest

from pipeline.models import registry, role_history
from pipeline.models.mlflow_client import mlflow_client
from pipeline.models.role_history import Role
from pipeline.promotion.handoffs import Gated
from pipeline.settings import Settings
from pipeline.training.register import register
from pipeline.warehouse import transaction
from pipeline.weeks import Week
from tests.company import company_settings, own_database
from tests.tiny_model import evaluated_as_of, tiny_bundle

MARCH = Week.parse("2026-03-02")


@pytest.fixture(scope="package")
def registered(company: Path, tmp_path_factory: pytest.TempPathFactory, server_url: str) -> Settings:
    home = tmp_path_factory.mktemp("promotion") / "home"
    settings = company_settings(company, home, **own_database(server_url))
    tiny_bundle(home / "unsealed/model")
    for remark in ("first", "second", "third"):
        register(settings, *evaluated_as_of(settings, home / "unsealed/model", MARCH, remark))
    return settings


@pytest.fixture
def three(registered: Settings) -> Settings:
    """Settings of a home with versions 1 (champion from March on), 2 and 3, and nothing else in their history."""
    client = mlflow_client(registered)
    client.set_registered_model_alias("satisfaction", "champion", "1")
    client.delete_registered_model_alias("satisfaction", "challenger")
    with transaction(registered) as connection:
        connection.exec_driver_sql("TRUNCATE model_promotions, withdrawn_versions, published_weeks")
        role_history.ask(
            connection, kind="training", from_week=MARCH, from_version=None, to_version="1", asked_by="training",
            reason="first champion", state="completed",
        )  # fmt: skip
    return registered


def passed(settings: Settings, version: str, role: Role = "champion", week: Week = MARCH) -> Gated:
    """A promotion that has passed the gate."""
    with transaction(settings) as connection:
        asked = role_history.ask(
            connection, kind="promotion", from_week=week, from_version=registry.with_alias(settings, role),
            to_version=version, asked_by="asker", reason="a test", role=role,
        )  # fmt: skip
    return gated_as(asked)


def gated_as(asked: role_history.Entry) -> Gated:
    return Gated(
        promotion_id=asked.promotion_id, version=str(asked.to_version), role=asked.role,
        from_week=str(Week(asked.from_week)), asked_by="asker", reason="a test", checks=[],
    )  # fmt: skip


def entries(settings: Settings) -> list[role_history.Entry]:
    with transaction(settings) as connection:
        return role_history.entries(connection)


def in_force(settings: Settings, week: Week) -> str | None:
    with transaction(settings) as connection:
        return registry.in_force(connection, week)
