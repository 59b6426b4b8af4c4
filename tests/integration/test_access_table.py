"""The whole table of access on the wire: every role, verb and resource, in tus and the draft, downloads and the API."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from urllib.parse import urljoin

import pytest

from tests.support.client import TUS, Answer, patch_headers, request
from tests.support.server import RunningServer, start_server
from tests.support.tokens import SECRET, bearer

pytestmark = pytest.mark.anyio

DRAFT = {"Upload-Draft-Interop-Version": "8"}
PARTIAL = {"Content-Type": "application/partial-upload", "Upload-Offset": "2", "Upload-Complete": "?0"}
BODY = {"Content-Type": "application/offset+octet-stream"}
#: Roles, and who owns the uploads that are their own. An uploader without roles has only a token.
ROLES = ("admin", "moderator", "uploader", "viewer", "roleless", "anonymous")
RESOURCES = ("own", "other", "public")
VERBS = ("HEAD", "PATCH", "GET", "API", "DELETE")

#: For own uploads, those of others and public ones: what each verb is answered. 2 is success, for whatever protocol.
EXPECTED: Mapping[str, tuple[str, str, str]] = {
    # HEAD PATCH GET API DELETE
    "admin": ("2 2 2 2 2", "2 2 2 2 2", "2 2 2 2 2"),
    "moderator": ("2 2 2 2 2", "2 403 2 2 2", "2 403 2 2 2"),
    "uploader": ("2 2 2 2 2", "404 404 404 404 404", "404 404 404 404 404"),
    "viewer": ("2 403 2 2 403", "2 403 2 2 403", "2 403 2 2 403"),
    "roleless": ("404 404 404 404 404", "404 404 404 404 404", "404 404 404 404 404"),
    "anonymous": ("", "401 401 401 401 401", "401 401 401 401 401"),
}


#: What the API does with one upload, and the verb of the table above that it is answered like.
API_VERBS = {
    "show": ("GET", ""),
    "metadata": ("GET", "/metadata"),
    "parts": ("GET", "/parts"),
    "events": ("GET", "/events"),
    "content": ("GET", "/content"),
    "delete": ("DELETE", ""),
}
LIKE = {"content": "GET", "delete": "DELETE"}


def credentials(role: str) -> dict[str, str]:
    if role == "anonymous":
        return {}
    return bearer(f"a {role}", roles=[] if role == "roleless" else [role])


def settings(anonymous: str) -> dict[str, str]:
    return {
        "JWT__SECRET": SECRET,
        "ACCESS__ANONYMOUS": anonymous,
        "ACCESS__CLAIM_SECONDS": "0",
        "API__ENABLED": "true",
        "UPLOADS__PARTIAL_DOWNLOADS": "true",
    }


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningServer, list[str]]]:
    """A server that refuses anonymous clients, and uploads from before that, which have no owner."""
    data_dir = tmp_path_factory.mktemp("table") / "data"
    before = start_server(data_dir, settings=settings("all"))
    count = len(ROLES) * 3
    public = [asyncio.run(create(before, {})).rsplit("/", 1)[1] for _ in range(count)]
    before.stop()
    running = start_server(data_dir, settings=settings("none"))
    yield running, public
    running.stop()


async def create(server: RunningServer, headers: Mapping[str, str]) -> str:
    answer = await request("POST", server.url, {**TUS, **headers, **BODY, "Upload-Length": "8"}, b"ab")
    assert answer.status == 201, answer
    return urljoin(server.url, answer.headers["location"])


async def ask(server: RunningServer, verb: str, url: str, headers: Mapping[str, str], protocol: str) -> Answer:
    api = f"{server.root}/api/uploads/{url.rsplit('/', 1)[1]}"
    if verb == "API":
        return await request("GET", api, headers)
    if protocol == "api":
        method, path = API_VERBS[verb]
        return await request(method, api + path, headers)
    if verb == "GET":
        return await request("GET", url, headers)
    base = TUS if protocol == "tus" else DRAFT
    if verb == "PATCH":
        patch = patch_headers(2) if protocol == "tus" else {**base, **PARTIAL}
        return await request("PATCH", url, {**patch, **headers}, b"")
    return await request(verb, url, {**base, **headers})


async def prepared(running: RunningServer, public: list[str], resource: str, role: str) -> str:
    """The URL of an upload that belongs to the role, to another owner, or to none."""
    if resource == "public":
        return running.url + public.pop()
    # A viewer or a client without a role has uploads from when it was an uploader.
    return await create(running, bearer(f"a {role}" if resource == "own" else "somebody else", roles=["uploader"]))


@pytest.mark.parametrize("role", ROLES)
async def test_table_of_the_api(server: tuple[RunningServer, list[str]], role: str) -> None:
    """What the API shows of an upload, and its deletion, are permitted as in tus."""
    running, public = server
    for resource, expected in zip(RESOURCES, EXPECTED[role], strict=True):
        if not expected:
            continue
        url = await prepared(running, public, resource, role)
        by_verb = dict(zip(VERBS, expected.split(), strict=True))
        for verb in API_VERBS:
            answer = await ask(running, verb, url, credentials(role), "api")
            seen = "2" if answer.status < 300 else str(answer.status)
            assert seen == by_verb[LIKE.get(verb, "API")], (resource, verb, answer)


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        ("admin", "201 201 201"),
        ("moderator", "201 201 201"),
        ("uploader", "201 201 201"),
        ("viewer", "403 403 403"),
        ("roleless", "403 403 403"),
        ("anonymous", "401 401 401"),
    ],
)
async def test_table_of_creations(server: tuple[RunningServer, list[str]], role: str, expected: str) -> None:
    """Who may create an upload: in tus, in the draft, and as a session in chunks."""
    running, _ = server
    session = b'{"file_name": "a", "file_size": 1, "chunk_count": 1}'
    answers = [
        await request("POST", running.url, {**TUS, **credentials(role), "Upload-Length": "1"}),
        await request("POST", running.url, {**DRAFT, **credentials(role), "Upload-Complete": "?0"}, b"a"),
        await request(
            "POST", f"{running.root}/api/sessions", {"Content-Type": "application/json", **credentials(role)}, session
        ),
    ]
    assert [str(each.status) for each in answers] == expected.split()


@pytest.mark.parametrize("protocol", ["tus", "draft", "api"])
async def test_foreign_is_answered_as_unknown_404(server: tuple[RunningServer, list[str]], protocol: str) -> None:
    """Every request of an uploader for an upload of another owner has the same status, headers and body."""
    running, _ = server
    foreign = await create(running, bearer("somebody else", roles=["uploader"]))
    unknown = f"{running.url}{'0' * 32}"
    for verb in API_VERBS if protocol == "api" else ("HEAD", "PATCH", "GET", "DELETE"):
        first, second = [await ask(running, verb, url, bearer("eve"), protocol) for url in (foreign, unknown)]
        assert (first.status, first.body) == (second.status, second.body), verb
        assert first.status == 404
        differing = {name for name in first.headers if first.headers[name] != second.headers.get(name)}
        assert differing <= {"date", "x-request-id"}, verb


@pytest.mark.parametrize("protocol", ["tus", "draft"])
@pytest.mark.parametrize("role", ROLES)
async def test_table(server: tuple[RunningServer, list[str]], role: str, protocol: str) -> None:
    """Each verb on an own upload, on that of another owner, and on one without an owner."""
    running, public = server
    for resource, expected in zip(RESOURCES, EXPECTED[role], strict=True):
        if not expected:
            continue  # anonymous clients have nothing of their own
        url = await prepared(running, public, resource, role)
        seen = []
        for verb in VERBS:
            answer = await ask(running, verb, url, credentials(role), protocol)
            seen.append("2" if answer.status < 300 else str(answer.status))
        if role == "roleless" and resource == "own":
            # Nothing is permitted, so not even that the upload exists is shown.
            assert seen == expected.split(), resource
            continue
        assert seen == expected.split(), (resource, dict(zip(VERBS, seen, strict=True)))


@pytest.mark.parametrize("path", ["api/accounts", "api/keys", "api/audit", "api/jobs", "api/schedules", "metrics"])
async def test_nothing_is_open_to_anonymous_clients_401(server: tuple[RunningServer, list[str]], path: str) -> None:
    """Once any access control is on, every list and the metrics need credentials, whatever else is switched off."""
    answer = await request("GET", f"{server[0].root}/{path}", {})
    assert answer.status == 401, answer
