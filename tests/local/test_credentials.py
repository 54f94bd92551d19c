"""Credentials are generated once, completely, and only their owner can read them."""

import base64
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.local.credentials import credentials


def test_only_the_owner_can_read_them(tmp_path: Path):
    made = credentials(tmp_path / "home")
    assert (tmp_path / "home/credentials.json").stat().st_mode & 0o777 == 0o600
    assert credentials(tmp_path / "home") == made
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["credentials.json"]


def test_they_are_what_airflow_asks_for(tmp_path: Path):
    made = credentials(tmp_path)
    assert len(made.jwt_secret.encode()) >= 64
    assert len(base64.urlsafe_b64decode(made.fernet_key)) == 32
    assert set(made.airflow_passwords) == {"viewer", "operator", "admin"}
    secrets = [*made.airflow_passwords.values(), *made.model_dump(exclude={"airflow_passwords"}).values()]
    assert len(set(secrets)) == len(secrets) == 8


def test_who_comes_at_once_gets_the_same(tmp_path: Path):
    with ThreadPoolExecutor(16) as pool:
        made = list(pool.map(credentials, [tmp_path] * 16))
    assert all(each == made[0] for each in made)


def test_a_file_that_others_can_read_is_refused(tmp_path: Path):
    credentials(tmp_path)
    (tmp_path / "credentials.json").chmod(0o640)
    with pytest.raises(ConfigError, match="mode 640, so other users can read it"):
        credentials(tmp_path)


@pytest.mark.parametrize("content", ["", "{}x", '{"postgres_password": 1, "other": "hidden"}'])
def test_a_broken_file_is_refused_without_showing_it(tmp_path: Path, content: str):
    path = tmp_path / "credentials.json"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="cannot be read: its content is invalid") as refused:
        credentials(tmp_path)
    assert "hidden" not in str(refused.value)
