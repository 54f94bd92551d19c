"""API keys: nothing but a good key opens, keys change under a running service, and a broken file locks nobody out."""

import json
import re
import subprocess
import sys
import threading
from base64 import b64encode
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.errors import ConfigError, RequestError
from pipeline.service.access import admission, key_file
from pipeline.service.access.admission import Keyring, admit
from pipeline.service.calls import Call, Route
from tests.cli.conftest import barometer, home  # noqa: F401 - fixtures
from tests.service.calls import call_of


async def endpoint(_call: Call) -> None: ...


KEY = re.compile(r"bm_([0-9a-f]{8})_([A-Za-z0-9_-]{43})")


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of keys that does not exist yet; a keyring looks at it at every check."""
    monkeypatch.setattr(admission, "LOOK_SECONDS", 0)
    return tmp_path / "service" / "keys.json"


def refused(keyring: Keyring, authorization: bytes | None = None, api_key: bytes | None = None) -> RequestError:
    with pytest.raises(RequestError) as caught:
        keyring.check(authorization, api_key)
    assert caught.value.status == 401
    assert caught.value.headers == {"www-authenticate": 'Basic realm="Barometer", Bearer'}
    return caught.value


def test_a_key_opens_in_each_of_its_three_ways(path):
    _, key = key_file.create(path, "shop", ["predict"])
    keyring, token = Keyring(path), key.encode()
    basic = b"Basic " + b64encode(b"anyone:" + token)
    ways = [(b"Bearer " + token, None), (b"bearer  " + token, None), (basic, None), (None, token), (b"Digest x", token)]
    assert {keyring.check(*way).name for way in ways} == {"shop"}


def test_nothing_else_opens(path):
    _, key = key_file.create(path, "shop", ["predict"])
    keyring, token = Keyring(path), key.encode()
    _, secret = KEY.fullmatch(key).groups()
    wrong = [
        b"",
        b"bm_",
        b"_",
        token[:-1],
        token + b"x",
        token.replace(b"bm_", b"BM_"),
        b"bm_00000000_" + secret.encode(),
        token[:12] + b"A" * 43,
        json.loads(path.read_text())["keys"][0]["sha256"].encode(),
        b"bm_" + token[3:11] + b"_" + json.loads(path.read_text())["keys"][0]["sha256"].encode(),
        "bm_é_ü".encode("latin-1"),
        b"\xff" * 10_000,
    ]
    for given in wrong:
        refused(keyring, api_key=given)
        refused(keyring, b"Bearer " + given)
        refused(keyring, b"Basic " + b64encode(b"anyone:" + given))
    for header in (b"", b"Basic", b"Basic !!!", b"Basic " + b64encode(token), token, b"Bearer", b"Digest " + token):
        refused(keyring, header)
    assert "carries no API key" in refused(keyring).found
    refused(keyring, b"Bearer " + token, b"bm_00000000_x")  # X-API-Key counts, whatever is beside it
    assert KEY.search(str(refused(keyring, api_key=token + b"!"))) is None, "no refusal quotes what was given"


def test_an_expired_key_says_so_only_to_its_holder(path):
    _, key = key_file.create(path, "shop", ["predict"], timedelta(microseconds=1))
    keyring = Keyring(path)
    assert "has expired" in refused(keyring, api_key=key.encode()).found
    assert "has expired" not in refused(keyring, api_key=key.encode()[:-1]).found
    _, key = key_file.create(path, "shop", ["predict"], timedelta(days=1))
    assert keyring.check(None, key.encode()).name == "shop"


@pytest.mark.parametrize(
    ("scopes", "allowed"),
    [(["predict"], {"predict"}), (["batch"], {"batch"}), (["admin"], {"predict", "batch", "admin"})],
)
def test_scopes(path, scopes, allowed):
    _, token = key_file.create(path, "shop", scopes)
    keyring, sent = Keyring(path), {"host": "localhost", "x-api-key": token}
    for scope in ("predict", "batch", "admin"):
        call, route = call_of(headers=sent), Route("POST", "/predict", endpoint, scope)
        if scope in allowed:
            admit(call, route, keyring, only_loopback=True)
            assert (call.key_name, call.key_scopes) == ("shop", allowed)
            continue
        with pytest.raises(RequestError, match=f"scope {scope}") as caught:
            admit(call, route, keyring, only_loopback=True)
        assert caught.value.status == 403


def test_keys_are_rotated_under_a_running_keyring(path):
    old, old_key = key_file.create(path, "shop", ["predict"])
    keyring = Keyring(path)
    _, new_key = key_file.create(path, "shop", ["predict"])
    assert keyring.check(None, old_key.encode()).name == keyring.check(None, new_key.encode()).name
    key_file.revoke(path, old.id)
    assert "unknown or was revoked" in refused(keyring, api_key=old_key.encode()).found
    assert keyring.check(None, new_key.encode()).name == "shop"
    path.unlink()
    refused(keyring, api_key=new_key.encode())
    assert "no API keys" in keyring.problem


def test_it_is_looked_at_most_once_a_second(path, monkeypatch):
    monkeypatch.setattr(admission, "LOOK_SECONDS", 60)
    _, first = key_file.create(path, "shop", ["predict"])
    keyring = Keyring(path)
    _, second = key_file.create(path, "shop", ["predict"])
    refused(keyring, api_key=second.encode())
    assert keyring.check(None, first.encode())


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_text("{"),
        lambda path: path.write_text('{"keys": [{"id": "x"}]}'),
        lambda path: path.write_bytes(b"\xff\xfe"),
        lambda path: path.write_text(""),
        lambda path: path.chmod(0o644),
        lambda path: path.write_text(json.dumps({"keys": json.loads(path.read_text())["keys"] * 2})),
        lambda path: (path.unlink(), path.mkdir()),
    ],
)
def test_a_broken_file_leaves_the_last_good_keys_and_says_so(path, damage, caplog):
    _, key = key_file.create(path, "shop", ["predict"])
    good, keyring = path.read_text(), Keyring(path)
    assert keyring.problem is None
    damage(path)
    for _ in range(3):
        assert keyring.check(None, key.encode()).name == "shop"
    assert str(path) in keyring.problem
    assert [record.levelname for record in caplog.records] == ["ERROR"], "told once, not with every look"
    assert KEY.search(caplog.text) is None
    assert json.loads(good)["keys"][0]["sha256"] not in caplog.text
    with pytest.raises(ConfigError):
        Keyring(path)  # at the start nothing good was read
    with pytest.raises(ConfigError):
        key_file.create(path, "another", ["predict"])
    if path.is_dir():
        path.rmdir()
    path.write_text(good)
    path.chmod(0o600)
    assert keyring.check(None, key.encode()).name == "shop"
    assert keyring.problem is None


def test_a_service_without_keys_opens_to_nobody_and_says_how_to_make_one(path):
    keyring = Keyring(path)
    refused(keyring, api_key=b"bm__")
    refused(keyring)
    assert "barometer keys create" in keyring.problem
    _, key = key_file.create(path, "shop", ["predict"])
    assert keyring.check(None, key.encode())
    assert keyring.problem is None


def test_the_file_holds_no_key_and_only_its_owner_reads_it(path):
    _, key = key_file.create(path, "shop", ["predict"])
    _, secret = KEY.fullmatch(key).groups()
    assert secret not in path.read_text()
    assert {file.stat().st_mode & 0o077 for file in path.parent.iterdir()} == {0}


def test_no_key_is_lost_when_many_are_made_at_once(path):
    """By threads and by other processes, while some are revoked."""
    script = (
        "import sys; from pathlib import Path; from pipeline.service.access import key_file\n"
        "for n in range(10): print(key_file.create(Path(sys.argv[1]), 'p', ['predict'])[0].id)"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    made, lock = [], threading.Lock()

    def make() -> None:
        for number in range(10):
            entry, _ = key_file.create(path, "t", ["batch"])
            if number % 2:
                key_file.revoke(path, entry.id)
            else:
                with lock:
                    made.append(entry.id)

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for process in processes:
        made += process.communicate()[0].split()
        assert process.returncode == 0
    kept = key_file.read(path)
    assert len(made) == 40
    assert sorted(entry.id for entry in kept) == sorted(made)


def test_the_command_makes_lists_and_revokes(barometer):  # noqa: F811 - the fixture
    assert "There is no key yet" in barometer("keys", "list").stdout
    created = barometer("keys", "create", "shop", "--scope", "predict", "--scope", "batch", "--expires-in-days", "30")
    key_id, secret = KEY.fullmatch(created.stdout.strip()).groups()
    assert secret not in created.stderr
    (shown,) = json.loads(barometer("keys", "list", "--json").stdout)
    assert (shown["id"], shown["name"], shown["scopes"]) == (key_id, "shop", ["predict", "batch"])
    assert set(shown) == {"id", "name", "scopes", "created_at", "expires_at"}
    listed = barometer("keys", "list").stdout
    assert key_id in listed
    assert "predict,batch" in listed
    assert secret not in listed
    assert barometer("keys", "revoke", key_id).exit_code == 0
    made = json.loads(barometer("keys", "create", "till", "--scope", "batch", "--json").stdout)
    assert KEY.fullmatch(made.pop("key")).group(1) == made["id"]
    assert json.loads(barometer("keys", "revoke", made["id"], "--json").stdout) == made
    assert json.loads(barometer("keys", "list", "--json").stdout) == []


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["create", "shop"], 2, "--scope"),
        (["create", "shop", "--scope", "everything"], 2, "everything"),
        (["create", "shop", "--scope", "predict", "--expires-in-days", "0"], 2, "expires-in-days"),
        (["create", "shop", "--scope", "predict", "--expires-in-days", "nan"], 2, "expires-in-days"),
        (["create", "a\nb", "--scope", "predict"], 1, "choose another name"),
        (["create", "", "--scope", "predict"], 1, "choose another name"),
        (["create", "x" * 65, "--scope", "predict"], 1, "choose another name"),
        (["revoke", "12345678"], 1, "barometer keys list"),
    ],
)
def test_wrong_uses_are_refused(barometer, arguments, code, says):  # noqa: F811 - the fixture
    result = barometer("keys", *arguments)
    assert result.exit_code == code
    assert says in result.stderr
    assert result.stdout == ""
