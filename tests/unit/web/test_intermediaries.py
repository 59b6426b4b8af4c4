"""What a request shows of a proxy, and what is left out then."""

from __future__ import annotations

import pytest

from tests.unit.web.serving import request, serving
from tusd_py.protocol.headers import Headers
from tusd_py.web.intermediaries import PROXY_HEADERS, is_proxied


@pytest.mark.parametrize("name", sorted(PROXY_HEADERS))
def test_each_header_shows_a_proxy(name: bytes) -> None:
    """The value does not matter, and an ordinary request shows none."""
    ordinary = [(b"host", b"u.example"), (b"origin", b"https://u.example"), (b"x-request-id", b"7")]
    assert not is_proxied(Headers(ordinary))
    assert is_proxied(Headers([*ordinary, (name, b"")]))


@pytest.mark.parametrize(
    ("use", "proxy", "is_offered"),
    [
        ("auto", {}, True),
        ("auto", {"Via": "1.1 caddy"}, False),
        ("always", {"Via": "1.1 caddy"}, True),
        ("never", {}, False),
    ],
)
@pytest.mark.anyio
async def test_checksum_trailer_is_offered_where_trailers_arrive(
    use: str, proxy: dict[str, str], is_offered: bool
) -> None:
    """OPTIONS names checksum-trailer unless a proxy shows; ``server.checksum_trailers`` decides otherwise."""
    async with serving(server={"checksum_trailers": use}, trailers=True) as service:
        names = (await request(service, "OPTIONS", "/", proxy)).headers["tus-extension"].split(",")
    assert ("checksum-trailer" in names, "checksum" in names) == (is_offered, True)


@pytest.mark.anyio
async def test_switched_off_trailers_501() -> None:
    """With ``never`` a declared checksum trailer is refused; behind a proxy it is accepted if it arrives."""
    trailing = {"Upload-Length": "3", "Content-Type": "application/offset+octet-stream", "Trailer": "Upload-Checksum"}
    async with serving(server={"checksum_trailers": "never"}, trailers=True) as service:
        assert (await request(service, "POST", "/", trailing, b"abc")).status == 501
    async with serving(trailers=True) as service:
        assert (await request(service, "POST", "/", {**trailing, "Via": "1.1 h2o"}, b"abc")).status == 400
