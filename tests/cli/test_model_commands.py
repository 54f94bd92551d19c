"""The commands for model owners: promote, rollback, models."""

import json
from typing import Any

import pytest

from pipeline.models import registry
from pipeline.settings import Settings
from tests.promotion.candidates import AS_OF, candidate, muddled
from tests.published import publish_week


@pytest.fixture
def here(barometer, home, server_url, warehouse_settings) -> Any:
    """The command on a home with a champion, an equally good candidate, and a worse one."""
    settings = warehouse_settings.model_copy(update={"home": home})
    for name, more in {"first": {}, "good": {"changes": {"max_iter": 20}}, "worse": {"learn": muddled}}.items():
        candidate(settings, name, **more)
    database = {"DATABASE__URL": server_url, "DATABASE__PREFIX": warehouse_settings.database.prefix}

    def call(*arguments: str, **overrides: str) -> Any:
        return barometer(*arguments, **database, **overrides)

    call.settings = settings
    return call


def listed(here) -> dict[str, dict[str, Any]]:
    return {version["version"]: version for version in json.loads(here("models", "list", "--json").stdout)}


def test_the_life_of_a_version_by_command(here) -> None:
    settings: Settings = here.settings
    promoted = here("promote", "2", "--reason", "as good", "--from-week", str(AS_OF))
    assert promoted.exit_code == 0, promoted.stderr
    assert promoted.stdout.startswith("Version 2 is the champion now.\n")
    assert f"in force from  {AS_OF}" in promoted.stdout
    assert "not worse: ROC AUC differs by" in promoted.stderr

    refused = here("promote", "3")
    assert refused.exit_code == 1
    assert refused.stderr.startswith("Error: The gate refuses version 3. not worse: ROC AUC differs by -0.")

    challenger = json.loads(here("promote", "3", "--as", "challenger", "--json").stdout)
    assert (challenger["version"], challenger["role"]) == ("3", "challenger")

    publish_week(settings, AS_OF, [("c1", "p1", 0.5, None)], model_version="2")
    found = listed(here)
    assert {version: facts["state"] for version, facts in found.items()} == {
        "1": "was champion", "2": "champion", "3": "challenger",
    }  # fmt: skip
    assert found["2"]["why"].endswith(": as good")
    assert (found["2"]["from_week"], found["2"]["published_weeks"]) == (str(AS_OF), [str(AS_OF)])
    assert found["1"]["metrics"]["roc_auc"] > 0.6
    header, *lines = here("models").stdout.splitlines()
    assert header.split()[:2] == ["version", "state"]
    assert [line.split()[:2] for line in lines] == [["3", "challenger"], ["2", "champion"], ["1", "was"]]

    rolled_back = here("rollback", "--reason", "too gloomy")
    assert rolled_back.exit_code == 0, rolled_back.stderr
    assert "Version 2 is withdrawn; version 1 is the champion." in rolled_back.stdout
    assert f"barometer backfill --from {AS_OF} --to {AS_OF} --model 1" in rolled_back.stdout
    out = json.loads(here("rollback", "--challenger", "--json").stdout)
    assert (out["promotion"]["from_version"], out["commands"]) == ("3", [])
    assert (registry.champion(settings), registry.challenger(settings)) == ("1", None)
    assert listed(here)["2"]["state"] == "withdrawn"


def test_show_tells_what_a_version_was_made_from_and_why_it_was_refused(here) -> None:
    here("promote", "3")
    shown = here("models", "show", "3")
    assert shown.exit_code == 0
    for words in (
        "state               refused",
        "training cutoff     2026-03-08",
        "FAILED  not worse: ROC AUC",
        "test weeks",
    ):
        assert words in shown.stdout, words
    exported = here("models", "export", "3", "--to", str(here.settings.home / "exported"))
    assert exported.stdout == f"Version 3 of the model satisfaction: {here.settings.home / 'exported'}\n"
    assert (here.settings.home / "exported/version.json").exists()
    folder, _ = registry.bundle_of(here.settings, "3")
    (folder / "scorer.npz").write_bytes(b"other")
    refused = here("models", "export", "3", "--to", str(here.settings.home / "model.tar.gz"))
    assert (refused.exit_code, "scorer.npz is not the registered one" in refused.stderr) == (1, True)
    facts = json.loads(here("models", "show", "3", "--json").stdout)
    assert (facts["state"], facts["files"]["intact"]) == ("refused", False)
    assert "scorer.npz is not the registered one" in facts["files"]["words"]
    assert "has no version '9'" in here("models", "show", "9").stderr


def test_where_approval_is_configured_no_command_passes_it_by(here) -> None:
    refused = here("promote", "2", PROMOTION__APPROVAL="true")
    assert refused.exit_code == 1
    assert "What to do: make up, then barometer promote 2." in refused.stderr
    assert registry.champion(here.settings) == "1"


def test_a_home_without_a_version_says_how_to_make_one(barometer, server_url, warehouse_settings) -> None:
    database = {"DATABASE__URL": server_url, "DATABASE__PREFIX": warehouse_settings.database.prefix}
    assert barometer("models", **database).stdout == "There is no version yet: barometer train makes one.\n"
    refused = barometer("rollback", **database)
    assert refused.exit_code == 1
    assert "No version is the champion" in refused.stderr
