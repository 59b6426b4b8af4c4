"""Combinations of settings that cannot work are refused, all at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tusd_py.settings import SettingsError, load, loading


def problems(environ: dict[str, str]) -> list[str]:
    """The sentences that these variables are answered with."""
    with pytest.raises(SettingsError) as raised:
        load(None, environ)
    return raised.value.problems


@pytest.mark.parametrize(
    "environ",
    [
        {"SERVER__UNIX_SOCKET": "/run/tus.sock", "SERVER__SYSTEMD_SOCKET": "true"},
        {"SERVER__TLS_CERTIFICATE": "cert.pem"},
        {"SERVER__PROCESSES": "2", "STORAGE__KIND": "memory"},
        {"SERVER__PROCESSES": "2", "RECORDS__URL": "memory"},
        {"CORS__ALLOW_CREDENTIALS": "true"},
        {"METRICS__PATH": "/files/metrics"},
        {"METRICS__PATH": "/healthz"},
        {"SERVER__BASE_PATH": "/readyz"},
        {"SERVER__BASE_PATH": "/metrics/files"},
        {"RECORDS__URL": "sqlite:///"},
        {"RECORDS__LISTEN_URL": "redis://a"},
        {"LOCKING__KIND": "redis"},
        {"LOCKING__KIND": "records"},
        {"LOCKING__KIND": "records", "RECORDS__URL": "postgresql://a/b", "RECORDS__LISTEN_URL": "poll"},
        {"WORKER__BROKER": "redis"},
        {"STORAGE__KIND": "memory", "WEBHOOKS__ENDPOINTS": '[{"name": "a", "url": "http://a/"}]'},
        {"API__ENABLED": "true", "SERVER__BASE_PATH": "/api/files/"},
        {"S3__KMS_KEY_ID": "arn:k"},
        {"S3__ACCESS_KEY": "k"},
        {"PUBLISHING__DIRECTORY": "s3://published"},
        {"S3__BUCKET_KEY": "true", "S3__ENCRYPTION": "AES256"},
        {"S3__PUBLIC_ENDPOINT_URL": "https://s3.example.com"},
    ],
)
def test_inconsistent_settings(environ: dict[str, str]) -> None:
    """Values that are valid alone but not together are refused by one sentence that names the settings."""
    (problem,) = problems({f"TUSD_PY_{name}": value for name, value in environ.items()})
    assert any(name.lower().replace("__", ".") in problem for name in environ), problem


@pytest.mark.parametrize(
    ("target", "is_allowed"),
    [
        ("s3://uploads", False),
        ("s3://uploads/tus", False),
        ("s3://uploads/tus/uploads", False),
        ("s3://uploads/tus/files/in", False),
        ("s3://uploads/tus/tails/", False),
        ("s3://uploads/published", True),
        ("s3://uploads/tus/published", True),
        ("s3://uploads/tus/uploads-2", True),
        ("s3://other", True),
    ],
)
def test_published_objects_are_not_among_uploads(target: str, *, is_allowed: bool) -> None:
    """The maintenance would take them for uploads without a record, and delete them."""
    environ = {
        "TUSD_PY_STORAGE__KIND": "s3",
        "TUSD_PY_S3__BUCKET": "uploads",
        "TUSD_PY_S3__PREFIX": "tus/",
        "TUSD_PY_S3__KEY_PATTERN": "files/{id}",
        "TUSD_PY_PUBLISHING__DIRECTORY": target,
    }
    if is_allowed:
        assert load(None, environ).publishing.bucket is not None
    else:
        (problem,) = problems(environ)
        assert "publishing.directory" in problem


def test_downloads_are_not_redirected_to_the_pages_of_the_server() -> None:
    """Content of users at the origin of the pages could do what the pages can."""
    environ = {
        "TUSD_PY_STORAGE__KIND": "s3",
        "TUSD_PY_S3__BUCKET": "uploads",
        "TUSD_PY_S3__DOWNLOAD": "redirect",
        "TUSD_PY_S3__PUBLIC_ENDPOINT_URL": "https://files.example.com",
        "TUSD_PY_SERVER__PUBLIC_URL": "https://files.example.com/files/",
    }
    (problem,) = problems(environ)
    assert "s3.public_endpoint_url" in problem
    load(None, {**environ, "TUSD_PY_S3__PUBLIC_ENDPOINT_URL": "s3.example.com"})


def test_every_wrong_combination_is_reported_at_once() -> None:
    """Within a section, in several sections, and of settings of several sections."""
    environ = {
        "TUSD_PY_SERVER__UNIX_SOCKET": "/run/tus.sock",
        "TUSD_PY_SERVER__SYSTEMD_SOCKET": "true",
        "TUSD_PY_SERVER__TLS_KEY": "key.pem",
        "TUSD_PY_SERVER__PROCESSES": "2",
        "TUSD_PY_STORAGE__KIND": "memory",
        "TUSD_PY_CORS__ALLOW_CREDENTIALS": "true",
        "TUSD_PY_LOCKING__KIND": "redis",
        "TUSD_PY_WORKER__BROKER": "redis",
        "TUSD_PY_JWT__SECRET": "s" * 32,
        "TUSD_PY_JWT__JWKS_URL": "https://login.example.com/keys",
        "TUSD_PY_JWT__SUBJECT_CLAIM": "",
    }
    beginnings = [
        "server.unix_socket and",
        "server.tls_certificate and",
        "cors.allow_credentials is true",
        "jwt.secret and jwt.jwks_url",
        "jwt.subject_claim is empty",
        'storage.kind is "memory" while server.processes',
        'locking.kind is "redis"',
        'worker.broker is "redis"',
    ]
    found = problems(environ)
    assert len(found) == len(set(found)) == len(beginnings)
    assert [] == [text for text in beginnings if not any(sentence.startswith(text) for sentence in found)], found


def test_combinations_are_checked_in_one_way() -> None:
    """A section yields its problems: an exception of a validator would hide those of the other sections."""
    modules = Path(loading.__file__).parent.glob("*.py")
    assert ["values.py"] == [path.name for path in modules if "model_validator" in path.read_text()]


def test_wrong_combinations_are_reported_beside_invalid_values() -> None:
    """Those within the sections whose values are valid: others may be wrong because of the invalid value."""
    environ = {"TUSD_PY_SERVER__PORT": "x", "TUSD_PY_CORS__ALLOW_CREDENTIALS": "true", "TUSD_PY_LOCKING__KIND": "redis"}
    invalid, combination = problems(environ)
    assert invalid.startswith("server.port is 'x'")
    assert combination.startswith("cors.allow_credentials is true")
