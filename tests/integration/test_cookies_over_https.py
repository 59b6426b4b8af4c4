"""Cookies of a login over real HTTPS, kept by a client that enforces their prefixes (curl)."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.certificates import make_certificate
from tests.support.command import run_beside
from tests.support.programs import find_program
from tests.support.server import RunningServer, start_server
from tests.support.waiting import until_now

PASSWORD = "correct horse battery staple"
CREATE = {"Tus-Resumable": "1.0.0", "Upload-Length": "4"}
APPEND = {"Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}


@dataclass
class Answer:
    """What curl has received; headers by name in lower case, each may come several times."""

    status: int
    headers: dict[str, list[str]]
    body: str


@dataclass
class Browser:
    """curl with a jar of cookies. It takes ``__Host-`` and ``__Secure-`` cookies only as browsers do."""

    server: RunningServer
    directory: Path

    @property
    def jar(self) -> dict[str, str]:
        """The cookies by name."""
        lines = (self.directory / "jar").read_text().splitlines()
        rows = [line.removeprefix("#HttpOnly_").split("\t") for line in lines if "\t" in line]
        return {row[5]: row[6] for row in rows}

    def request(
        self, method: str, path: str, body: str = "", headers: dict[str, str] | None = None, *, has_jar: bool = True
    ) -> Answer:
        jar, head, content = (str(self.directory / name) for name in ("jar", "head", "content"))
        command = ["curl", "-sk", "--max-time", "20", "-X", method, "-D", head, "-o", content, "--data-binary", body]
        command += ["-b", jar, "-c", jar] if has_jar else []
        command += [part for name, value in (headers or {}).items() for part in ("-H", f"{name}: {value}")]
        subprocess.run([*command, f"{self.server.root}{path}"], check=True)
        found: dict[str, list[str]] = {}
        status, *lines = Path(head).read_text().strip().splitlines()
        for line in lines:
            name, _, value = line.partition(":")
            found.setdefault(name.lower(), []).append(value.strip())
        return Answer(int(status.split()[1]), found, Path(content).read_text())

    def post_json(self, path: str, content: object, **headers: str) -> Answer:
        return self.request("POST", path, json.dumps(content), {"Content-Type": "application/json", **headers})


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    find_program("curl", "curl is not installed (Debian: apt-get install curl)")
    certificate, key = make_certificate(tmp_path)
    settings = {
        "SERVER__TLS_CERTIFICATE": str(certificate),
        "SERVER__TLS_KEY": str(key),
        "ACCESS__ANONYMOUS": "none",
        "ACCOUNTS__ENABLED": "true",
    }
    server = start_server(tmp_path / "data", settings=settings)
    assert server.root.startswith("https://")
    try:
        run_beside(server, "user", "add", "alice", "--password-stdin", stdin=f"{PASSWORD}\n")
        yield Browser(server, tmp_path)
    finally:
        server.stop()


def test_a_login_over_https(browser: Browser) -> None:
    """Its cookies have the prefixes and are kept by the client; uploads, renewal and logout work with them alone."""
    login = browser.post_json("/api/auth/login", {"name": "alice", "password": PASSWORD, "cookies": True})
    assert login.status == 200, login
    names = {"__Host-tusd_session", "__Secure-tusd_refresh", "__Host-tusd_csrf"}
    assert set(browser.jar) == names
    for text in login.headers["set-cookie"]:
        name, attributes = text.partition("=")[0], {part.strip().lower() for part in text.split(";")[1:]}
        assert "secure" in attributes, text
        assert ("httponly" in attributes) == (name != "__Host-tusd_csrf"), text
        assert ("path=/" in attributes) == name.startswith("__Host-"), text
        assert not [each for each in attributes if each.startswith("domain")], text
    assert "access_token" not in json.loads(login.body)
    csrf = {"X-CSRF-Token": json.loads(login.body)["csrf_token"]}
    assert csrf["X-CSRF-Token"] == browser.jar["__Host-tusd_csrf"]
    assert browser.request("POST", "/files/", headers=CREATE).status == 403
    assert browser.request("POST", "/files/", headers={**CREATE, "X-CSRF-Token": "0" * 64}).status == 403
    created = browser.request("POST", "/files/", headers=CREATE | csrf)
    assert created.status == 201, created
    path = "/files/" + created.headers["location"][0].rpartition("/")[2]
    before = dict(browser.jar)
    assert browser.post_json("/api/auth/refresh", {}, **csrf).status == 200
    assert set(browser.jar) == names
    assert browser.jar["__Secure-tusd_refresh"] != before["__Secure-tusd_refresh"]
    assert browser.request("PATCH", path, "four", APPEND | csrf).status == 204
    assert browser.request("GET", path).body == "four"
    # Without the prefixes they count for nothing: a page on plain HTTP or a subdomain could have set them.
    planted = "; ".join(f"{name.split('-')[1]}={value}" for name, value in browser.jar.items())
    assert browser.request("GET", path, headers={"Cookie": planted}, has_jar=False).status == 401
    session = {"Cookie": f"__Host-tusd_session={browser.jar['__Host-tusd_session']}"}
    assert browser.request("GET", path, headers=session, has_jar=False).status == 200
    assert browser.post_json("/api/auth/logout", {}).status == 403
    logout = browser.post_json("/api/auth/logout", {}, **csrf)
    assert logout.status == 204
    deleted = {text.partition("=")[0]: text.lower() for text in logout.headers["set-cookie"]}
    # With the same attributes: browsers ignore a deletion that has not the prefix's.
    assert set(deleted) == names
    assert all("max-age=0" in text and "; secure" in text for text in deleted.values())
    assert "path=/api/auth;" in deleted["__Secure-tusd_refresh"]
    # The session itself has ended, in every process within two seconds.
    headers = CREATE | csrf | session
    until_now(
        lambda: browser.request("POST", "/files/", headers=headers, has_jar=False).status == 401,
        "the session has ended",
    )
