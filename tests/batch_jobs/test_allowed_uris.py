"""Which URIs a file may be read from, and the tricks to read another one."""

from pathlib import Path

import pytest

from pipeline.batch_jobs.allowed_uris import check_uri
from pipeline.errors import RequestError

PREFIXES = ("s3://bucket/in/", "https://files.example.com/daily", "gs://other")


@pytest.mark.parametrize(
    "uri",
    [
        "s3://bucket/in/rows.csv",
        "s3://bucket/in/a/b%20c.csv.gz",
        "https://files.example.com/daily/rows.csv?token=a%2Fb&x=1",
        "https://FILES.example.com/daily/rows.csv",
        "gs://other/rows.parquet",
    ],
)
def test_what_is_below_a_prefix_may_be_read(uri):
    assert check_uri(uri, PREFIXES) == uri


@pytest.mark.parametrize(
    "uri",
    [
        "s3://bucket/in",
        "s3://bucket/inside/rows.csv",
        "s3://bucket/rows.csv",
        "s3://bucket.evil/in/rows.csv",
        "s3://bucket/in/../secret.csv",
        "s3://bucket/in/%2e%2e/secret.csv",
        "s3://bucket/in/%252e%252e/secret.csv",
        "s3://bucket/in/..%2fsecret.csv",
        "s3://bucket/in/./rows.csv",
        "s3://bucket/in/?/../../secret.csv",
        "s3://bucket/in/#/../../secret.csv",
        "https://files.example.com/dailyx/rows.csv",
        "https://files.example.com:8443/daily/rows.csv",
        "https://files.example.com@169.254.169.254/daily/rows.csv",
        "https://files.example.com.evil.example/daily/rows.csv",
        "https://files.example.com\\@evil.example/daily/rows.csv",
        "https://evil.example/?https://files.example.com/daily/rows.csv",
        "https:files.example.com/daily/rows.csv",
        "//files.example.com/daily/rows.csv",
        "http://files.example.com/daily/rows.csv",
        "http://127.0.0.1:8080/daily/rows.csv",
        "http://[::1]/daily/rows.csv",
        "https://files.example.com:port/daily/rows.csv",
        "simplecache::s3://bucket/in/rows.csv",
        "s3://bucket/in/rows.csv::file:///etc/passwd",
        "file:///etc/passwd",
        "/etc/passwd",
        " s3://bucket/in/rows.csv",
        "s3://bucket/in/\nrows.csv",
        "s3://bucket/in/%00rows.csv",
        "",
        "s3://bucket/in/" + "a" * 2000,
        "s3://Bucket/in/rows.csv",
        "https://files.example.com/daily/..;x=1/secret.csv",
        "https://files.example.com/daily/.. /secret.csv",
        "https://files.example.com/daily/.../secret.csv",
        "https://files.example.com/daily/\uff0e\uff0e/secret.csv",
        "https://files.example.com/daily/\u2025/secret.csv",
        "https://files.example.com/daily/..\uff0fsecret.csv",
        "https://files.example.com/daily/%c0%ae%c0%ae/secret.csv",
        "https://files.example.com/daily/%u002e%u002e/secret.csv",
        "https://files.example.com/daily/..%u2215secret.csv",
    ],
)
def test_nothing_else_may(uri):
    with pytest.raises(RequestError) as refused:
        check_uri(uri, PREFIXES)
    assert refused.value.status in {400, 403}
    assert "secret" not in str(refused.value)
    assert "bucket" not in str(refused.value), "which prefixes there are is nobody's business"


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("S3://bucket/in/rows.csv", "s3://bucket/in/rows.csv"),
        ("HTTPS://FILES.example.com/daily/Rows;v=1.csv", "https://FILES.example.com/daily/Rows;v=1.csv"),
        ("s3://bucket/in/100%25.csv", "s3://bucket/in/100%25.csv"),
        ("s3://bucket/in/.hidden..csv", "s3://bucket/in/.hidden..csv"),
    ],
)
def test_a_scheme_is_the_same_in_any_case_and_read_as_fsspec_knows_it(given, read):
    assert check_uri(given, PREFIXES) == read


def test_a_local_file_s_scheme_is_too(tmp_path: Path):
    (tmp_path / "rows.csv").touch()
    assert check_uri(f"FILE://{tmp_path}/rows.csv", [f"FILE://{tmp_path}"]) == f"file://{tmp_path}/rows.csv"


def test_a_bucket_s_name_is_as_it_is():
    with pytest.raises(RequestError):
        check_uri("gs://other/rows.csv", ["gs://Other/"])
    assert check_uri("gs://Other/rows.csv", ["gs://Other/"])


def test_nothing_may_be_read_unless_it_is_configured():
    with pytest.raises(RequestError, match=r"\(none configured\)"):
        check_uri("s3://bucket/in/rows.csv", [])


def test_links_are_followed_before_it_is_decided(tmp_path: Path):
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    (outside / "secret.csv").touch()
    (inside / "rows.csv").touch()
    (inside / "link.csv").symlink_to(outside / "secret.csv")
    (inside / "folder").symlink_to(outside)
    (tmp_path / "alias").symlink_to(inside)
    allowed = [f"file://{inside}"]
    assert check_uri(f"file://{inside}/rows.csv", allowed)
    assert check_uri(f"file://{tmp_path}/alias/rows.csv", allowed)
    assert check_uri(f"file://{inside}/rows.csv", [f"file://{tmp_path}/alias/"])
    for path in (
        "in/link.csv",
        "in/folder/secret.csv",
        "in/../out/secret.csv",
        "out/secret.csv",
        "in/rows.csv?/../../out",
    ):
        with pytest.raises(RequestError):
            check_uri(f"file://{tmp_path}/{path}", allowed)
