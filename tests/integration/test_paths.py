"""The paths of the tus endpoint: at ``/``, and with more slashes than it needs."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urljoin

import pytest

from tests.support.client import TUS, request
from tests.support.server import RunningServer, start_server

NEW = {**TUS, "Upload-Length": "3"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server whose endpoint is at ``/``."""
    settings = {"SERVER__BASE_PATH": "/", "API__ENABLED": "true"}
    running = start_server(tmp_path_factory.mktemp("root") / "data", settings=settings)
    yield running
    running.stop()


@pytest.mark.parametrize("path", ["/files", "/files/", "/files//", "//files", "//files/", "///files///"])
@pytest.mark.anyio
async def test_collection_with_any_number_of_slashes_201(server: RunningServer, path: str) -> None:
    """Slashes that follow each other count as one, without a redirect; Location has the plain path."""
    created = await request("POST", server.root + path, NEW, b"")
    assert created.status == 201
    assert created.headers["location"].startswith(server.url)


@pytest.mark.parametrize("form", ["/files/{}", "//files/{}", "/files//{}", "/files/{}/", "/files/{}//"])
@pytest.mark.anyio
async def test_upload_with_any_number_of_slashes_200(server: RunningServer, form: str) -> None:
    """An upload is found under every spelling of its path, and tusd redirects all of these to it."""
    created = await request("POST", server.url, NEW, b"")
    upload_id = created.headers["location"].rpartition("/")[2]
    assert (await request("HEAD", server.root + form.format(upload_id))).status == 200


@pytest.mark.parametrize("path", ["/filesystem", "//filesystem", "/files/a/b", "/files/..%2fhealthz"])
@pytest.mark.anyio
async def test_other_paths_404(server: RunningServer, path: str) -> None:
    """A path that only begins like the collection's, or has another segment, is no upload's."""
    assert (await request("HEAD", server.root + path)).status == 404


@pytest.mark.parametrize("path", ["/", "//"])
@pytest.mark.anyio
async def test_endpoint_at_the_root(root: RunningServer, path: str) -> None:
    """Uploads are created at ``/``, and their URLs follow it directly, in parts of a final upload as well."""
    part = {"Upload-Concat": "partial", "Content-Type": "application/offset+octet-stream"}
    created = await request("POST", root.root + path, {**NEW, **part}, b"abc")
    assert (created.status, created.offset) == (201, 3)
    location = urljoin(root.root + "/", created.headers["location"])
    assert location.rpartition("/")[0] == root.root
    for concat in (location, "/" + location.rpartition("/")[2]):
        final = await request("POST", root.root + path, {**TUS, "Upload-Concat": f"final;{concat} {concat}"}, b"")
        assert final.status == 201
        assert (await request("GET", urljoin(location, final.headers["location"]), {})).body == b"abcabc"


@pytest.mark.anyio
async def test_other_paths_come_before_an_endpoint_at_the_root(root: RunningServer) -> None:
    """Health, metrics and the API answer under their paths; there is no page, and an unknown upload is 404."""
    for path, status in (("/healthz", 200), ("/readyz", 200), ("/metrics", 200), ("/api/jobs", 200), ("/u1", 404)):
        assert (await request("GET", root.root + path, {})).status == status, path
    assert (await request("POST", root.root + "/healthz", NEW, b"")).status == 405
    assert (await request("GET", root.root + "/", {})).status == 405
