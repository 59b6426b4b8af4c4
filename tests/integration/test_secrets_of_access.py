"""Every kind of secret, made, used and misused, is looked for in everything that the server writes or sends on."""

from __future__ import annotations

import asyncio
import json
import re
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import psycopg
import pytest

from tests.support.client import TUS, Answer, Connection, patch_headers, request
from tests.support.command import run
from tests.support.grants import ADMIN, ALICE, SETTINGS, call, made, start
from tests.support.postgres import new_database
from tests.support.receiver import Receiver, receiving
from tests.support.s3 import running_s3
from tests.support.s3_services import SECRET_KEY
from tests.support.server import RunningServer
from tests.support.tokens import SECRET
from tests.support.waiting import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.long]

FILE_NAME = "Vw4-name-of-a-file.bin"
PASSWORD = "Pz3-correct-horse-battery"
#: Secrets of the settings, each of its own kind.
CONFIGURED = {
    "jwt.secret": SECRET,
    "access.secrets": "Ac8-signing-secret-of-this-server-0123456789",
    "audit.seal_key": "Se6-sealing-key-0123456789-0123456789",
    "webhook secret": "whsec_" + b64encode(b"Wh2-webhook-secret-0123456789abcd").decode(),
    "webhook URL": "Wu9-token-in-the-url-of-a-webhook",
    "hook URL": "Hu5-password-in-the-url-of-a-hook",
    "database password": "Db7-password-of-the-database",
    "Redis password": "Re1-password-of-redis",
}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, receiver: Receiver) -> dict[str, str]:
    settings = {
        "ACCESS__SECRETS": f"k1:{CONFIGURED['access.secrets']}",
        "ACCOUNTS__ENABLED": "true",
        "ACCOUNTS__API_KEYS": "true",
        "AUDIT__ENABLED": "true",
        "AUDIT__DOWNLOADS": "true",
        "AUDIT__REFUSALS_PER_MINUTE": "1000",
        "AUDIT__SEAL_KEY": CONFIGURED["audit.seal_key"],
        "QUOTAS__ENABLED": "true",
        "RATES__CREATIONS_PER_MINUTE": "1000",
        "RATES__STORAGE": "redis",
        "REDIS__URL": f"redis://:{CONFIGURED['Redis password']}@127.0.0.1:9/0",
        "EVENTS__RECORD": "true",
        "METRICS__ENABLED": "true",
        "LOG__LEVEL": "debug",
        "HOOKS__HTTP_URLS": receiver.url.replace("//", f"//hook:{CONFIGURED['hook URL']}@"),
        "HOOKS__ENABLED_EVENTS": "post-create,post-receive,post-finish,post-terminate",
        "WEBHOOKS__ENDPOINTS": json.dumps(
            [
                {
                    "name": body,
                    "url": f"{receiver.url}?token={CONFIGURED['webhook URL']}",
                    "allow_private": True,
                    "body": body,
                    "secrets": [CONFIGURED["webhook secret"]],
                }
                for body in ("envelope", "tusd")
            ]
        ),
    }
    if request.param == "postgresql":
        found = re.search(r"@/(\w+)\?.*port=(\d+)", new_database())
        assert found is not None
        password = CONFIGURED["database password"]
        settings["RECORDS__URL"] = f"postgresql://tusd:{password}@127.0.0.1:{found[2]}/{found[1]}"
    return settings


@pytest.fixture
def server(settings: dict[str, str], tmp_path: Path) -> Iterator[RunningServer]:
    running = start(tmp_path / "data", **settings)
    yield running
    running.kill()


async def use_secrets(server: RunningServer) -> dict[str, str]:
    """Make each kind of secret, and use it; return them all."""
    secrets = dict(CONFIGURED) | {"JWT": ALICE["Authorization"].split(" ")[1], "password": PASSWORD}
    secrets["JWT of an admin"] = ADMIN["Authorization"].split(" ")[1]
    account = {"name": "carol", "password": PASSWORD, "roles": ["uploader"]}
    assert (await call(server, "POST", "accounts", account, ADMIN)).status == 201
    login = await call(server, "POST", "auth/login", {"name": "carol", "password": PASSWORD}, {})
    found = json.loads(login.body)
    secrets |= {"access token": found["access_token"], "refresh token": found["refresh_token"]}
    renewed = json.loads(
        (await call(server, "POST", "auth/refresh", {"refresh_token": found["refresh_token"]}, {})).body
    )
    secrets |= {"second access token": renewed["access_token"], "second refresh token": renewed["refresh_token"]}
    with_cookies = {"name": "carol", "password": PASSWORD, "cookies": True}
    browser = await call(server, "POST", "auth/login", with_cookies, {"Origin": server.root})
    secrets["CSRF token"] = json.loads(browser.body)["csrf_token"]
    secrets |= {f"cookie {name}": value for name, value in _cookies(browser).items()}
    key = await made(server, "keys", label="nightly")
    secrets["API key"] = next(value for value in key.values() if str(value).startswith("tusd_key_"))
    link = await made(server, "upload-links", length=5, metadata={"filename": FILE_NAME})
    secrets["upload link"] = link["url"].partition("?")[2]
    assert (await request("PATCH", link["url"], patch_headers(0), b"12345")).status == 204
    download = await made(server, "download-links", upload_id=link["upload_id"])
    secrets["download link"] = download["url"].partition("?")[2]
    assert (await request("GET", download["url"], {})).status == 200
    code = await made(server, "codes", seconds=600, bytes_max=100, files_max=5)
    secrets["code"] = code["code"]
    token = json.loads((await call(server, "POST", "codes/redeem", {"code": code["code"]}, {})).body)["token"]
    secrets["code token"] = token
    for bearer in (secrets["API key"], renewed["access_token"], token):
        headers = {**TUS, "Authorization": f"Bearer {bearer}"}
        metadata = {"Upload-Length": "1", "Upload-Metadata": f"filename {b64encode(FILE_NAME.encode()).decode()}"}
        created = await request("POST", server.url, {**headers, **metadata}, b"")
        assert created.status == 201, created
        url = urljoin(server.url, created.headers["location"])
        assert (await request("PATCH", url, {**patch_headers(0), **headers}, b"x")).status == 204
    changed = {"password": PASSWORD, "new_password": f"{PASSWORD}-new"}
    assert (await call(server, "POST", "auth/password", changed, _bearer(renewed["access_token"]))).status < 300
    return secrets


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _cookies(answer: Answer) -> dict[str, str]:
    return dict(re.findall(r"([\w-]*tusd_\w+)=([^;\s]{16,})", answer.headers.get("set-cookie", "")))


async def misuse(server: RunningServer, secret: str) -> None:
    """Send a secret to where it does not belong: other headers, queries, fields of bodies, and paths."""
    spoilt = secret[:-1] + ("A" if secret[-1] != "A" else "B")
    unknown = "0" * 32
    for value in (secret, spoilt):
        for headers in (_bearer(value), {"Cookie": f"tusd_session={value}"}, {"X-CSRF-Token": value}):
            await request("HEAD", f"{server.url}{unknown}", {**TUS, **headers})
            await call(server, "GET", "accounts", None, headers)
        await request("GET", f"{server.url}{unknown}?link={value}&token={value}", {})
        await call(server, "POST", "auth/login", {"name": value, "password": value}, {})
        await call(server, "POST", "auth/refresh", {"refresh_token": value}, {})
        await call(server, "POST", "codes/redeem", {"code": value}, {})
        await call(server, "POST", "codes/renew", {"token": value, value: value}, {})
        await call(server, "POST", "download-links", {"upload_id": value})
    if re.search(r"[^\w.~:=-]", secret):
        return
    for path in ("keys", "uploads", "accounts", "upload-links", "sessions", "jobs", "endpoints", "quotas/user:alice"):
        for headers in (ALICE, {}):
            await call(server, "DELETE", f"{path}/{secret}", None, headers)
    await call(server, "POST", f"codes/{secret}/terminate", None, {})
    await call(server, "GET", f"audit/{secret}", None, {})
    for method in ("HEAD", "PATCH", "DELETE", "GET"):
        await request(method, f"{server.url}{secret}", {**TUS, **ALICE})
        await request(method, f"{server.url}{secret}", TUS)


async def test_secrets_are_nowhere(server: RunningServer, receiver: Receiver, settings: dict[str, str]) -> None:
    """Not in logs, rows, events, webhooks, hooks, metrics, the API, server-sent events, nor output of commands."""
    code = await made(server, "codes", seconds=600)
    token = json.loads((await call(server, "POST", "codes/redeem", {"code": code["code"]}, {})).body)["token"]
    events = await Connection.open(server.root)
    await events.send_head("GET", f"{server.root}/api/codes/{code['id']}/events", _bearer(token))
    secrets = await use_secrets(server) | {"first code": code["code"], "first code token": token}
    misused = {name: secret for name, secret in secrets.items() if name not in CONFIGURED}
    for secret in misused.values():
        await misuse(server, secret)
    await eventually(lambda: len(receiver.of("post-finish")) >= 12)
    assert (await call(server, "POST", f"codes/{code['id']}/terminate", {})).status < 300
    told = (await asyncio.wait_for(events.answer(), 20)).body
    events.close()
    assert b"event:" in told
    places = {"server-sent events": told, **(await what_is_written(server, receiver, settings))}
    found = {
        (name, place)
        for name, secret in secrets.items()
        for place, content in places.items()
        if any(each.encode() in content for each in _spellings(secret))
    }
    # A secret that a client has put into a path by mistake is in the lines of the log about this request.
    in_lines = {(name, "log") for name in misused if not re.search(r"[^\w.~:=-]", misused[name])}
    assert found - in_lines == set()
    lines = [line for line in places["log"].splitlines() if any(each.encode() in line for each in misused.values())]
    assert not [line for line in lines if b'"path": "/files/' not in line]
    assert not [line for line in places["log"].splitlines() if b"?link=" in line or b"token=" in line]
    assert not [place for place, content in places.items() if "audit" in place and FILE_NAME.encode() in content]


async def test_s3_secrets_are_nowhere(receiver: Receiver, tmp_path: Path) -> None:
    """Neither the secret key nor a signature, of requests or of URLs for clients, also while S3 refuses or is down."""
    with running_s3() as s3:
        s3.client().create_bucket(Bucket="secrets")
        settings = s3.settings(
            "secrets",
            S3__DOWNLOAD="redirect",
            LOG__LEVEL="debug",
            METRICS__ENABLED="true",
            EVENTS__RECORD="true",
            HOOKS__HTTP_URLS=receiver.url,
            HOOKS__ENABLED_EVENTS="post-create,post-finish",
        )
        server = start(tmp_path / "data", **settings)
        try:
            whole = await request("POST", server.url, {**TUS, **ALICE, **_WHOLE}, b"12345")
            assert whole.status == 201, whole
            url = urljoin(server.url, whole.headers["location"])
            await eventually(lambda: bool(receiver.of("post-finish")))
            redirected = await request("GET", url, ALICE)
            assert redirected.status == 307, redirected
            signatures = re.findall(r"Signature=([\w%/+-]{16,})", redirected.headers["location"])
            assert signatures
            lists = [await call(server, "GET", path, None, ADMIN) for path in ("uploads", "events", "jobs", "health")]
            lists.append(await request("GET", f"{server.root}/metrics", ADMIN))
            s3.stop()
            refused = await request("POST", server.url, {**TUS, **ALICE, **_WHOLE}, b"12345")
            assert refused.status >= 500
            lists += [refused, await request("GET", f"{server.root}/readyz", {})]
        finally:
            server.stop()
        data = ("--data-dir", str(server.data_dir))
        down = run("check", *data, **{**SETTINGS, **settings})
        s3.start()
        wrong = run("check", *data, **{**SETTINGS, **settings, "S3__SECRET_KEY": f"{SECRET_KEY}-but-wrong"})
        assert (down.exit_code, wrong.exit_code) == (2, 2), (down.output, wrong.output)
    places = {f"answer {number}": answer.body for number, answer in enumerate(lists)}
    places |= {"check of S3 that is down": down.output.encode(), "check with a wrong key": wrong.output.encode()}
    places |= {f"hook {number}": sent.raw for number, sent in enumerate(receiver.calls)}
    places |= {str(file): file.read_bytes() for file in server.data_dir.rglob("*") if file.is_file()}
    places["log"] = server.log.read_bytes()
    secrets = [SECRET_KEY, *signatures, "Signature=", "AWS4-HMAC-SHA256"]
    found = [(secret, place) for place, content in places.items() for secret in secrets if secret.encode() in content]
    assert found == []


_WHOLE = {"Upload-Length": "5", "Content-Type": "application/offset+octet-stream"}


def _spellings(secret: str) -> set[str]:
    """The secret, its secret part without a prefix that says its kind, and what HTTP makes of it."""
    parts = {secret, secret.removeprefix("link="), b64encode(secret.encode()).decode()}
    if len(signed := secret.rpartition(".")[2]) >= 16:
        parts.add(signed)
    return parts


async def what_is_written(server: RunningServer, receiver: Receiver, settings: dict[str, str]) -> dict[str, bytes]:
    """By place everything that can be read of the server."""
    places = {}
    for path in (*_LISTS, "schedules", "health", "endpoints", "sessions"):
        answer = await call(server, "GET", path, None, ADMIN)
        assert answer.status == 200, (path, answer)
        places[f"/api/{path}"] = answer.body
    places["/metrics"] = (await request("GET", f"{server.root}/metrics", ADMIN)).body
    for number, sent in enumerate(receiver.calls):
        fields = [field for field in sent.headers if field[0].lower() != "authorization"]  # that of the hook's own URL
        places[f"{sent.hook} {number}"] = sent.raw + repr(fields).encode()
    server.stop()  # it writes the entries of refused requests
    places |= await asyncio.to_thread(_printed, server, {**SETTINGS, **settings})
    places["log"] = server.log.read_bytes()
    for file in server.data_dir.rglob("*"):
        if file.is_file() and file.parent.name != "uploads":
            places[str(file)] = file.read_bytes()
    return places


_LISTS = ("uploads", "events", "jobs", "audit?limit=500", "accounts", "keys", "upload-links", "download-links", "codes")


def _printed(server: RunningServer, environ: dict[str, str]) -> dict[str, bytes]:
    """What commands print, and the rows of every table of PostgreSQL."""
    places = {}
    for arguments in (
        ("check",),
        ("audit", "list", "--limit", "1000"),
        ("audit", "verify"),
        ("key", "list", "--json"),
        ("user", "list"),
        ("events", "tail", "--json"),
        ("jobs", "list"),
        ("uploads", "list", "--json"),
        ("schedules",),
    ):
        printed = run(*arguments, "--data-dir", str(server.data_dir), **environ)
        assert printed.exit_code == 0 or arguments == ("check",), (arguments, printed.output)
        places[f"tusd-py {' '.join(arguments)}"] = printed.output.encode()
    if url := environ.get("RECORDS__URL"):
        with psycopg.connect(url) as connection:
            names = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
            for (name,) in names:
                places[f"table {name}"] = repr(connection.execute(f"SELECT * FROM {name}".encode()).fetchall()).encode()
    return places
