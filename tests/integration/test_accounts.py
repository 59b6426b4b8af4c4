"""Accounts and API keys on the wire: login, renewal, logout, cookies, revocation, and attacks on them."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest

from tests.support.client import TUS, Answer, Connection, patch_headers, request
from tests.support.command import run
from tests.support.server import RunningServer, start_server

pytestmark = pytest.mark.anyio

PASSWORD = "a password of the tests"
APP = "https://app.example"
SETTINGS = {
    "ACCESS__ANONYMOUS": "none",
    "ACCOUNTS__ENABLED": "true",
    "ACCOUNTS__API_KEYS": "true",
    "API__ENABLED": "true",
    "AUDIT__ENABLED": "true",
    "AUDIT__REFUSALS_PER_MINUTE": "1000",
    "EVENTS__RECORD": "true",
    "CORS__ALLOW_ORIGINS": APP,
    "CORS__ALLOW_CREDENTIALS": "true",
    "RATES__FAILED_LOGINS_PER_ADDRESS": "0",
}


def command(data_dir: Path, *words: str, stdin: str = "") -> str:
    """Run ``tusd-py`` beside the server, as an operator does."""
    with ThreadPoolExecutor(1) as executor:  # it runs an event loop of its own
        words = (*words, "--data-dir", str(data_dir))
        result = executor.submit(run, *words, stdin=stdin, AUDIT__ENABLED="true").result()
    assert result.exit_code == 0, result.output
    return result.stdout


def add_account(server: RunningServer, name: str, *roles: str) -> None:
    flags = [word for role in roles or ("uploader",) for word in ("--role", role)]
    command(server.data_dir, "user", "add", name, *flags, "--password-stdin", stdin=PASSWORD + "\n")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    running = start_server(tmp_path_factory.mktemp("accounts") / "data", settings=SETTINGS)
    add_account(running, "alice")
    yield running
    running.stop()


async def post(
    server: RunningServer, path: str, body: Mapping[str, object] | None = None, headers: Mapping[str, str] = {}
) -> Answer:
    content = b"" if body is None else json.dumps(body).encode()
    kind = {} if body is None else {"Content-Type": "application/json"}
    return await request("POST", f"{server.root}/api/auth/{path}", {**kind, **headers}, content)


async def log_in(server: RunningServer, name: str = "alice", password: str = PASSWORD) -> dict[str, Any]:
    answer = await post(server, "login", {"name": name, "password": password})
    assert answer.status == 200, answer
    found: dict[str, Any] = json.loads(answer.body)
    return found


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def create(server: RunningServer, headers: Mapping[str, str], length: int = 4) -> Answer:
    return await request("POST", server.url, {**TUS, **headers, "Upload-Length": str(length)}, b"")


async def become_refused(server: RunningServer, *credentials: Mapping[str, str]) -> None:
    """Wait until none of these credentials is accepted any more: within seconds in every process."""
    async with asyncio.timeout(60):
        for each in credentials:
            while (await create(server, each)).status != 401:  # noqa: ASYNC110  # another process decides
                await asyncio.sleep(0.05)


async def test_login_upload_refresh_logout(server: RunningServer) -> None:
    """Log in, upload as the owner, renew, and log out: afterwards neither token is accepted."""
    tokens = await log_in(server)
    assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", 900)
    created = await create(server, bearer(tokens["access_token"]))
    url = urljoin(server.url, created.headers["location"])
    shown = await request("GET", f"{server.root}/api/uploads/{url.rsplit('/', 1)[1]}", bearer(tokens["access_token"]))
    assert json.loads(shown.body)["owner"] == "alice"
    session = await request("GET", f"{server.root}/api/auth/session", bearer(tokens["access_token"]))
    assert json.loads(session.body)["roles"] == ["uploader"]
    renewed = json.loads((await post(server, "refresh", {"refresh_token": tokens["refresh_token"]})).body)
    assert (await request("HEAD", url, {**TUS, **bearer(renewed["access_token"])})).status == 200
    assert (await post(server, "logout", {"refresh_token": renewed["refresh_token"]})).status == 204
    assert (await post(server, "refresh", {"refresh_token": renewed["refresh_token"]})).status == 401
    await become_refused(server, bearer(renewed["access_token"]))


async def test_wrong_logins_are_alike_401(server: RunningServer) -> None:
    """An unknown name, a wrong password and a disabled account are answered with the same bytes."""
    add_account(server, "disabled")
    command(server.data_dir, "user", "disable", "disabled")
    answers = [
        await post(server, "login", {"name": name, "password": password})
        for name, password in (("nobody", PASSWORD), ("alice", "wrong"), ("disabled", PASSWORD), ("Ω", PASSWORD))
    ]
    assert {(each.status, each.body) for each in answers} == {(401, answers[0].body)}
    assert b"ERR_LOGIN_REFUSED" in answers[0].body


async def test_guesses_are_slowed_down_429(server: RunningServer) -> None:
    """After five failures an account is answered 429 with Retry-After from this address, whatever the password."""
    add_account(server, "guessed")
    statuses = [
        (await post(server, "login", {"name": "guessed", "password": f"guess {number}"})).status for number in range(6)
    ]
    assert statuses == [401] * 5 + [429]
    answer = await post(server, "login", {"name": "guessed", "password": PASSWORD})
    assert (answer.status, int(answer.headers["retry-after"]) > 0) == (429, True)
    assert (await log_in(server, "alice"))["account"] == {"name": "alice", "roles": ["uploader"]}


async def test_replayed_refresh_token_ends_the_session(server: RunningServer) -> None:
    """A refresh token that was replaced twice is a theft: the session of the thief and of its owner ends."""
    first = await log_in(server)
    second = json.loads((await post(server, "refresh", {"refresh_token": first["refresh_token"]})).body)
    third = json.loads((await post(server, "refresh", {"refresh_token": second["refresh_token"]})).body)
    replayed = await post(server, "refresh", {"refresh_token": first["refresh_token"]})
    assert (replayed.status, b"ERR_REFRESH_REFUSED" in replayed.body) == (401, True)
    assert (await post(server, "refresh", {"refresh_token": third["refresh_token"]})).status == 401


async def test_forged_refresh_tokens_401(server: RunningServer) -> None:
    """Tokens that this server has not signed are refused and end no session; access tokens refresh nothing."""
    tokens = await log_in(server)
    genuine = tokens["refresh_token"]
    key_id, payload, signature = genuine.removeprefix("tusd_rt_").split(".")
    access = tokens["access_token"].removeprefix("tusd_at_")
    forged = [
        "",
        "x",
        "tusd_rt_",
        genuine[:-2],
        f"tusd_rt_{key_id}.{payload}.{'A' * len(signature)}",
        f"tusd_rt_other.{payload}.{signature}",
        f"tusd_rt_{access}",
        tokens["access_token"],
        genuine + "\n",
        "tusd_rt_" + "x" * 900,
    ]
    for token in forged:
        answer = await post(server, "refresh", {"refresh_token": token or "-"})
        assert answer.status in (400, 401), (token, answer)
    for token in (genuine, f"tusd_at_{genuine.removeprefix('tusd_rt_')}", tokens["access_token"][:-2]):
        assert (await create(server, bearer(token))).status == 401
    assert (await post(server, "refresh", {"refresh_token": genuine})).status == 200


async def browser_login(server: RunningServer, origin: str | None = None) -> tuple[dict[str, str], str]:
    """The cookies and the CSRF token of a page that has logged in."""
    site = {"Origin": origin, "Sec-Fetch-Site": "cross-site"} if origin else {"Sec-Fetch-Site": "same-origin"}
    answer = await post(server, "login", {"name": "alice", "password": PASSWORD, "cookies": True}, site)
    assert answer.status == 200, answer
    body = json.loads(answer.body)
    assert "access_token" not in body
    assert "refresh_token" not in body
    cookies = [each.split(";")[0] for each in answer.headers["set-cookie"].split("\n")]
    return {"Cookie": "; ".join(cookies), **site}, body["csrf_token"]


async def test_cookies_need_the_csrf_token_403(server: RunningServer) -> None:
    """A page uploads with its cookies and the CSRF token; without it, or from another origin, nothing is changed."""
    cookies, csrf = await browser_login(server)
    refused = await create(server, cookies)
    assert (refused.status, b"ERR_CSRF_TOKEN" in refused.body) == (403, True)
    for wrong in ("x", "0" * 64, csrf[:-2]):
        assert (await create(server, {**cookies, "X-CSRF-Token": wrong})).status == 403
    created = await create(server, {**cookies, "X-CSRF-Token": csrf})
    assert created.status == 201
    url = urljoin(server.url, created.headers["location"])
    for site in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example", "Sec-Fetch-Site": ""}):
        foreign = {**cookies, "X-CSRF-Token": csrf, **site}
        for method in ("HEAD", "DELETE", "PATCH"):
            answer = await request(method, url, {**patch_headers(0), **foreign}, b"" if method == "PATCH" else None)
            assert answer.status == 403, (method, site, answer)
    assert (await request("HEAD", url, {**TUS, **cookies, "X-CSRF-Token": csrf})).status == 200
    another, _ = await browser_login(server)
    assert (await create(server, {**another, "X-CSRF-Token": csrf})).status == 403


async def test_cookies_are_renewed_and_deleted(server: RunningServer) -> None:
    """The refresh token in a cookie needs the CSRF token too; logging out deletes all cookies."""
    cookies, csrf = await browser_login(server)
    assert (await post(server, "refresh", headers=cookies)).status == 403
    assert (await post(server, "refresh", headers={**cookies, "Sec-Fetch-Site": "cross-site"})).status == 403
    renewed = await post(server, "refresh", headers={**cookies, "X-CSRF-Token": csrf})
    assert renewed.status == 200
    parsed: SimpleCookie = SimpleCookie()
    for line in renewed.headers["set-cookie"].split("\n"):
        parsed.load(line)
    assert {name: (each["path"], bool(each["httponly"]), each["samesite"]) for name, each in parsed.items()} == {
        "tusd_session": ("/", True, "lax"),
        "tusd_refresh": ("/api/auth", True, "lax"),
        "tusd_csrf": ("/", False, "lax"),
    }
    now = {"Cookie": "; ".join(f"{name}={each.value}" for name, each in parsed.items()), "X-CSRF-Token": csrf}
    out = await post(server, "logout", headers=now)
    assert out.status == 204
    assert out.headers["set-cookie"].count("Max-Age=0") == 3
    assert (await post(server, "refresh", headers=now)).status == 401


async def test_login_from_a_named_origin(server: RunningServer) -> None:
    """A page of an origin in ``cors.allow_origins`` may log in and read the answer; one of another origin may not."""
    preflight = await request(
        "OPTIONS",
        f"{server.root}/api/auth/login",
        {"Origin": APP, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"},
    )
    assert preflight.status == 204
    assert preflight.headers["access-control-allow-origin"] == APP
    assert "X-CSRF-Token" in preflight.headers["access-control-allow-headers"]
    cookies, csrf = await browser_login(server, APP)
    created = await create(server, {**cookies, "X-CSRF-Token": csrf})
    assert (created.status, created.headers["access-control-allow-origin"]) == (201, APP)
    body = {"name": "alice", "password": PASSWORD}
    for site in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        refused = await post(server, "login", body, site)
        assert (refused.status, refused.headers.get("access-control-allow-origin")) == (403, None)


async def test_disabling_ends_tokens_and_a_running_upload(server: RunningServer) -> None:
    """Disabling an account ends its tokens and keys within seconds, and a running PATCH does not complete."""
    add_account(server, "leaver")
    tokens = bearer((await log_in(server, "leaver"))["access_token"])
    key = bearer(command(server.data_dir, "key", "add", "leaver").strip())
    url = urljoin(server.url, (await create(server, tokens)).headers["location"])
    assert (await create(server, key)).status == 201
    connection = await Connection.open(url)
    try:
        await connection.send_head("PATCH", url, {**patch_headers(0, 4), **tokens})
        await connection.send(b"ab")
        command(server.data_dir, "user", "disable", "leaver")
        await connection.send(b"cd")
        answer = await connection.answer()
    finally:
        connection.close()
    assert answer.status == 401, answer
    await become_refused(server, tokens, key)


async def test_new_password_ends_sessions(server: RunningServer) -> None:
    """After a change of the password neither the refresh token nor, within seconds, the access token is accepted."""
    add_account(server, "changer")
    tokens = await log_in(server, "changer")
    command(server.data_dir, "user", "password", "changer", "--password-stdin", stdin="another password\n")
    assert (await post(server, "refresh", {"refresh_token": tokens["refresh_token"]})).status == 401
    await become_refused(server, bearer(tokens["access_token"]))
    assert (await log_in(server, "changer", "another password"))["account"]["name"] == "changer"


async def test_api_keys(server: RunningServer) -> None:
    """A key acts for its owner within its verbs, its use is noted, and it ends within seconds when it is revoked."""
    text = command(server.data_dir, "key", "add", "ci", "--verb", "create", "--verb", "append", "--label", "nightly")
    key, key_id = bearer(text.strip()), text.split("_")[2]
    url = urljoin(server.url, (await create(server, key)).headers["location"])
    assert (await request("PATCH", url, {**patch_headers(0), **key}, b"abcd")).status == 204
    assert (await request("DELETE", url, {**TUS, **key})).status in (403, 404)
    shown = json.loads(command(server.data_dir, "key", "list", "--owner", "ci", "--json"))
    assert (shown["id"], shown["verbs"], shown["label"]) == (key_id, ["append", "create"], "nightly")
    assert shown["last_used_at"]
    assert text.strip() not in json.dumps(shown)
    for wrong in ("tusd_key_", f"tusd_key_{key_id}", f"tusd_key_{key_id}_x", "tusd_key_0000_" + "x" * 43):
        assert (await create(server, bearer(wrong))).status == 401
    command(server.data_dir, "key", "revoke", key_id)
    await become_refused(server, key)


async def test_limits_of_keys_413_415(server: RunningServer) -> None:
    """A key has limits of its own, made by command or over the API; nothing that it makes is without them."""
    made = command(server.data_dir, "key", "add", "scanner", "--length-max", "1kB", "--type", "image/*")
    add_account(server, "boss", "admin")
    admin = bearer((await log_in(server, "boss"))["access_token"])
    terms = {"owner": "scanner", "roles": ["uploader"], "length_max": 1000, "types": ["image/*"]}
    answer = await call_api(server, "POST", "keys", admin, terms)
    assert answer.status == 201, answer
    view = json.loads(answer.body)
    assert (view["length_max"], view["types"]) == (1000, ["image/*"])
    for key in (bearer(made.strip()), bearer(view["key"])):
        for length, media_type, status in ((1000, "image/png", 201), (1001, "image/png", 413), (10, "text/csv", 415)):
            metadata = f"filetype {base64.b64encode(media_type.encode()).decode()}"
            headers = {**TUS, **key, "Upload-Length": str(length), "Upload-Metadata": metadata}
            assert (await request("POST", server.url, headers, b"")).status == status, (length, media_type)
        assert (await create(server, key)).status == 415
        listed = json.loads((await call_api(server, "GET", "keys", key)).body)["keys"]
        assert len(listed) == 1 and listed[0]["types"] == ["image/*"]
    wrong: Mapping[str, object]
    for wrong in ({"types": []}, {"types": ["image"]}, {"types": "image/*"}, {"length_max": 0}, {"length_max": "1"}):
        assert (await call_api(server, "POST", "keys", admin, wrong)).status == 400, wrong
    shown = command(server.data_dir, "key", "list", "--owner", "scanner")
    assert shown.count("  up to 1kB  only image/*  ") == 2


async def test_secrets_are_kept_nowhere(server: RunningServer) -> None:
    """Neither log nor database has a password, a token or a key in plain text."""
    tokens = await log_in(server)
    key = command(server.data_dir, "key", "add", "alice").strip()
    await create(server, bearer(key))
    await create(server, bearer(tokens["access_token"]))
    await post(server, "refresh", {"refresh_token": tokens["refresh_token"]})
    secrets = [PASSWORD, key.split("_", 3)[3], tokens["access_token"], tokens["refresh_token"].split(".")[2]]
    for path in (server.log, *server.data_dir.glob("tusd.sqlite3*")):
        content = path.read_bytes()
        assert [] == [secret for secret in secrets if secret.encode() in content], path


async def test_security_headers(server: RunningServer) -> None:
    """Responses of the API, health and unknown paths forbid sniffing, framing and scripts; pages have policies."""
    for path in ("/api/auth/session", "/api/jobs", "/healthz", "/no-such-path"):
        headers = (await request("GET", server.root + path, {})).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["x-frame-options"] == "DENY"
    page = (await request("GET", f"{server.root}/", {})).headers
    assert "script-src 'self'" in page["content-security-policy"]
    assert "frame-ancestors 'none'" in page["content-security-policy"]


async def call_api(
    server: RunningServer, method: str, path: str, headers: Mapping[str, str], body: Mapping[str, object] | None = None
) -> Answer:
    content = None if body is None else json.dumps(body).encode()
    kind = {} if body is None else {"Content-Type": "application/json"}
    return await request(method, f"{server.root}/api/{path}", {**kind, **headers}, content)


async def test_accounts_over_the_api(server: RunningServer) -> None:
    """Administrators add, change, list and erase accounts; others may not, and change only their own password."""
    add_account(server, "root", "admin")
    admin = bearer((await log_in(server, "root"))["access_token"])
    new = {"name": "Carol", "password": PASSWORD, "roles": ["viewer"]}
    assert (
        await call_api(server, "POST", "accounts", bearer((await log_in(server))["access_token"]), new)
    ).status == 403
    made = await call_api(server, "POST", "accounts", admin, new)
    assert (made.status, json.loads(made.body)["name"]) == (201, "carol")
    assert (await call_api(server, "POST", "accounts", admin, new)).status == 409
    assert (await call_api(server, "POST", "accounts", admin, {**new, "name": "d", "password": "short"})).status == 400
    for role in ("anonymous", "code", "upload-link"):
        assert (await call_api(server, "POST", "accounts", admin, {**new, "name": "d", "roles": [role]})).status == 400
        assert (await call_api(server, "POST", "keys", admin, {"owner": "d", "roles": [role]})).status == 400
    changed = await call_api(server, "PATCH", "accounts/carol", admin, {"roles": ["uploader"]})
    assert json.loads(changed.body)["roles"] == ["uploader"]
    carol = bearer((await log_in(server, "carol"))["access_token"])
    url = urljoin(server.url, (await create(server, carol)).headers["location"])
    change = {"password": "wrong", "new_password": "another password"}
    assert (await call_api(server, "POST", "auth/password", carol, change)).status == 401
    change["password"] = PASSWORD
    assert (await call_api(server, "POST", "auth/password", carol, change)).status == 204
    await become_refused(server, carol)
    names = [each["name"] for each in json.loads((await call_api(server, "GET", "accounts", admin)).body)["accounts"]]
    assert "carol" in names
    erased = await call_api(server, "DELETE", "accounts/carol", admin)
    # More than one if the old token was accepted for a moment after the change of the password.
    assert (erased.status, json.loads(erased.body)["uploads_deleted"] >= 1) == (200, True)
    assert (await request("HEAD", url, {**TUS, **admin})).status == 404
    assert (await call_api(server, "GET", "accounts/carol", admin)).status == 404


async def test_keys_over_the_api(server: RunningServer) -> None:
    """People make, list and revoke keys of their own with at most their rights; those of others do not exist."""
    add_account(server, "keeper")
    add_account(server, "other")
    keeper, other = [bearer((await log_in(server, name))["access_token"]) for name in ("keeper", "other")]
    made = await call_api(server, "POST", "keys", keeper, {"label": "ci", "verbs": ["create"]})
    assert made.status == 201, made
    key = json.loads(made.body)
    assert (await create(server, bearer(key["key"]))).status == 201
    for wish in ({"roles": ["admin"]}, {"owner": "other"}):
        assert (await call_api(server, "POST", "keys", keeper, wish)).status == 403
    assert (await call_api(server, "POST", "keys", bearer(key["key"]), {})).status == 403
    listed = json.loads((await call_api(server, "GET", "keys", keeper)).body)["keys"]
    assert [each["id"] for each in listed] == [key["id"]]
    assert "key" not in listed[0]
    assert json.loads((await call_api(server, "GET", "keys?owner=keeper", other)).body)["keys"] == []
    unknown = await call_api(server, "DELETE", f"keys/{'0' * 16}", other)
    foreign = await call_api(server, "DELETE", f"keys/{key['id']}", other)
    assert (foreign.status, foreign.body) == (404, unknown.body)
    assert (await call_api(server, "DELETE", f"keys/{key['id']}", keeper)).status == 204
    await become_refused(server, bearer(key["key"]))


async def test_restricted_keys_see_and_revoke_only_themselves_404(server: RunningServer) -> None:
    """A key for some verbs that leaks cannot end the other keys of its owner, nor learn of them."""
    add_account(server, "owner")
    owner = bearer((await log_in(server, "owner"))["access_token"])
    whole, part = [
        json.loads((await call_api(server, "POST", "keys", owner, body)).body)
        for body in ({}, {"verbs": ["create", "terminate"]})
    ]
    restricted = bearer(part["key"])
    listed = json.loads((await call_api(server, "GET", "keys", restricted)).body)
    assert [each["id"] for each in listed["keys"]] == [part["id"]]
    assert (await call_api(server, "DELETE", f"keys/{whole['id']}", restricted)).status == 404
    assert (await call_api(server, "DELETE", f"keys/{part['id']}", restricted)).status == 204
    assert (await call_api(server, "GET", "keys", bearer(whole["key"]))).status == 200


async def test_names_inject_nothing_into_headers_and_log(server: RunningServer) -> None:
    """Line breaks and control characters of names, tokens and headers start no line in the log and no header."""
    forged = 'alice\r\nX-Forged: 1\n{"level": "error"}'
    answers = [
        await post(server, "login", {"name": forged, "password": forged}),
        await post(server, "refresh", {"refresh_token": f"tusd_rt_{forged}"}),
        await call_api(server, "GET", "accounts?cursor=%0d%0aX-Forged:%201", {}),
        await create(server, {"Authorization": "Bearer tusd_at_a.b.c%0d%0aX-Forged: 1"}),
        await create(server, {"Cookie": 'tusd_session="x%0d%0aX-Forged: 1"', "X-CSRF-Token": "\x1b[31m"}),
    ]
    # The last one is no valid request for the HTTP server already.
    assert [each.status for each in answers] == [401, 401, 401, 401, 400], answers
    assert not [each for each in answers if "x-forged" in each.headers]
    log = server.log.read_text()
    assert "X-Forged: 1" not in log
    assert "\x1b[31m" not in log


async def test_audit_of_logins_and_changes(server: RunningServer) -> None:
    """Logins, refused ones, changes of accounts and keys are audited, without what was typed as an unknown name."""
    add_account(server, "auditor", "admin")
    await post(server, "login", {"name": "typed into the wrong field", "password": "x"})
    await post(server, "login", {"name": "auditor", "password": "wrong"})
    tokens = await log_in(server, "auditor")
    admin = bearer(tokens["access_token"])
    await call_api(server, "POST", "keys", admin, {"label": "x"})

    async def seen() -> set[tuple[str, str, str, str]]:
        answer = await call_api(server, "GET", "audit?limit=1000", admin)
        entries = json.loads(answer.body)["entries"]
        assert "wrong field" not in answer.body.decode()
        return {(each["verb"], each["kind"], each["subject"], each["outcome"]) for each in entries}

    expected = {
        ("login", "session", "auditor", "done"),
        ("login", "account", "", "refused"),
        ("create", "key", "auditor", "done"),
    }
    async with asyncio.timeout(60):
        while not expected <= (found := await seen()):  # noqa: ASYNC110  # refusals are written within a second
            await asyncio.sleep(0.2)
    assert ("create", "account") in {each[:2] for each in found}
    answer = await call_api(server, "GET", "audit?limit=1000&outcome=refused", admin)
    refused = [each for each in json.loads(answer.body)["entries"] if "ERR_LOGIN_REFUSED" in each["reason"]]
    assert "/api/auth/login" not in {each["id"] for each in refused}, "a refused login has no second entry as a request"


async def test_disabling_an_account_ends_its_links_and_codes(tmp_path: Path) -> None:
    """Its links and the tokens of its codes are 403 at once, and a token that is still known makes no more: 401."""
    settings = {**SETTINGS, "LINKS__ENABLED": "true", "CODES__ENABLED": "true"}
    server = start_server(tmp_path / "data", settings=settings)
    try:
        add_account(server, "carol")
        login = await post(server, "login", {"name": "carol", "password": PASSWORD})
        headers = {**bearer(json.loads(login.body)["access_token"]), "Content-Type": "application/json"}

        async def make(kind: str) -> Answer:
            terms = b"{}" if kind == "codes" else b'{"length_max": 10}'
            return await request("POST", f"{server.root}/api/{kind}", headers, terms)

        link = json.loads((await make("upload-links")).body)["url"]
        code = json.loads((await make("codes")).body)["code"]
        entry = json.dumps({"code": code}).encode()
        plain = {"Content-Type": "application/json"}
        redeemed = await request("POST", f"{server.root}/api/codes/redeem", plain, entry)
        guest = {**TUS, **bearer(json.loads(redeemed.body)["token"])}
        assert (await request("HEAD", link, TUS)).status == 200
        command(server.data_dir, "user", "disable", "carol")
        made = [(await make(kind)).status for kind in ("upload-links", "codes")]
        assert made == [401, 401]
        assert (await request("HEAD", link, TUS)).status == 403
        assert (await request("POST", server.url, {**guest, "Upload-Length": "1"})).status == 403
        assert (await request("POST", f"{server.root}/api/codes/redeem", plain, entry)).status == 404
        command(server.data_dir, "user", "enable", "carol")
        assert (await request("HEAD", link, TUS)).status == 403
    finally:
        server.stop()
