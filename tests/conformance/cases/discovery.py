"""OPTIONS, unsupported methods and the forms a URL may take (rows C7 to C10, D9)."""

from __future__ import annotations

from tests.conformance.case import EXTENSIONS, MUST, POLICY, SHOULD, Limit, case
from tests.conformance.client import TUS_TYPE, Tus, fields
from tests.conformance.expectations import FOUND, listing, matching

_HOSTILE_IDS = (
    "..%2f..%2f..%2fetc%2fpasswd",
    "%2e%2e",
    "%00",
    "a%00b",
    "%ff%fe",
    "%0d%0aX-Injected:%201",
    "a%2fb",
    "~",
    "*",
    "'%20OR%201=1--",
    "a" * 3000,
)


@case("C7a", MUST, "core", "A successful response … MUST contain the `Tus-Version` header.")
def options_on_the_collection(tus: Tus) -> None:
    """OPTIONS on the collection is answered 200 or 204 with `Tus-Version`."""
    tus.options().expect(FOUND, tus_version=...)


@case("C7b", MUST, "core", "A successful response … MUST contain the `Tus-Version` header.", also=("creation",))
def options_on_an_upload(tus: Tus) -> None:
    """OPTIONS on an upload URL is answered like OPTIONS on the collection."""
    tus.options(tus.create(10)).expect(FOUND, tus_version=...)


@case(
    "C7c",
    MUST,
    "core",
    "The Client SHOULD NOT include the `Tus-Resumable` header … and the Server MUST ignore the header.",
)
def options_ignores_the_version(tus: Tus) -> None:
    """OPTIONS with an unsupported `Tus-Resumable` is answered as without it."""
    tus.options(tus_resumable="0.0.1").expect(FOUND, tus_version=...)
    tus.options(tus_resumable="nonsense").expect(FOUND, tus_version=...)


@case(
    "C7d",
    MUST,
    "core",
    "The `Tus-Extension` response header MUST be a comma-separated list … If no extensions are supported, … MUST be"
    " omitted.",
)
def extensions_are_a_list(tus: Tus) -> None:
    """`Tus-Extension` is a comma-separated list of names, each once, or absent."""
    answer = tus.options().expect(FOUND)
    value = answer.header("Tus-Extension")
    names = [] if value is None else [name.strip() for name in value.split(",")]
    answer.check("names, each once", value, len(names) == len(set(names)) and all(names))
    answer.check(f"known: {', '.join(EXTENSIONS)}", value, set(names) <= set(EXTENSIONS))


@case("C7e", MUST, "core", "The `Tus-Max-Size` response header MUST be a non-negative integer", needs=Limit.ANY_LENGTH)
def the_limit_is_a_number(tus: Tus) -> None:
    """`Tus-Max-Size` is a non-negative integer."""
    tus.options().expect(FOUND, tus_max_size=matching(r"0|[1-9][0-9]*"))


@case("C7f", POLICY, "core", "The specification's own example of OPTIONS carries it.")
def options_returns_the_version_used(tus: Tus) -> None:
    """OPTIONS returns `Tus-Resumable: 1.0.0`."""
    tus.options().expect(FOUND, tus_resumable="1.0.0")


@case("C8", MUST, "core", "The `Tus-Version` response header MUST be a comma-separated list of protocol versions")
def versions_are_a_list(tus: Tus) -> None:
    """`Tus-Version` is a comma-separated list of versions that includes 1.0.0."""
    tus.options().expect(
        FOUND, tus_version=matching(r"\d+\.\d+\.\d+( *, *\d+\.\d+\.\d+)*", "versions, comma-separated")
    )
    tus.options().expect(FOUND, tus_version=listing("1.0.0"))


@case("C9a", SHOULD, "core", "RFC 9110: an origin server MUST generate an `Allow` header field in a 405 response.")
def other_methods_on_the_collection(tus: Tus) -> None:
    """PUT on the collection is answered 405 with `Allow`, which names POST."""
    tus.request("PUT", tus.collection, b"x").expect(405, allow=listing("POST", "OPTIONS"))


@case("C9b", SHOULD, "core", "RFC 9110: an origin server MUST generate an `Allow` header field in a 405 response.")
def other_methods_on_an_upload(tus: Tus) -> None:
    """PUT and POST on an upload URL are answered 405 with `Allow`, which names HEAD and PATCH, and change nothing."""
    upload = tus.create(10, b"hello")
    tus.request("PUT", upload, b"x").expect(405, allow=listing("HEAD", "PATCH", "OPTIONS"))
    tus.post(b"", upload, upload_length=3).expect(405, allow=listing("HEAD", "PATCH", "OPTIONS"))
    tus.head(upload).expect(FOUND, upload_offset=5)


@case("C9c", POLICY, "core", "Methods are case-sensitive; a parser may refuse one before the server sees it.")
def unknown_methods(tus: Tus) -> None:
    """A method that tus does not have, or one in lower case, is answered 405, 400 or 501, and changes nothing."""
    upload = tus.create(10)
    headers = fields(content_type=TUS_TYPE, upload_offset=0)
    for method in ("FOO", "patch", "TRACE", "PROPFIND"):
        tus.request(method, upload, b"hello", **headers).expect((405, 400, 501), upload_offset=None)
    tus.head(upload).expect(FOUND, upload_offset=0)


@case("C10a", POLICY, "core", "A redirect costs browsers a second preflight, and tus-java-client follows none.")
def a_trailing_slash_on_the_collection(tus: Tus) -> None:
    """The collection responds with and without a trailing slash, never with a redirect."""
    other = tus.collection.rstrip("/") if tus.collection.endswith("/") else f"{tus.collection}/"
    tus.options(other or "/").expect(FOUND, tus_version=...)
    tus.post(target=other or "/", upload_length=10).expect(201, location=...)


@case("C10b", POLICY, "core", "A redirect costs browsers a second preflight, and tus-java-client follows none.")
def a_trailing_slash_on_an_upload(tus: Tus) -> None:
    """An upload URL with a trailing slash is the same upload."""
    upload = tus.create(10)
    tus.head(f"{upload}/").expect(FOUND, upload_offset=0)
    tus.patch(f"{upload}/", b"hello", upload_offset=0).expect(204, upload_offset=5)


@case("C10c", POLICY, "core", "Proxies, trackers and signed URLs add query strings.")
def a_query_string(tus: Tus) -> None:
    """A query string on the collection or on an upload URL changes nothing."""
    tus.post(target=f"{tus.collection}?a=b", upload_length=10).expect(201, location=...)
    upload = tus.create(10)
    tus.head(f"{upload}?a=b&c").expect(FOUND, upload_offset=0)
    tus.patch(f"{upload}?a=b", b"hello", upload_offset=0).expect(204, upload_offset=5)


@case("D9a", POLICY, "core", "An id is hostile input: it may try to leave the folder, end a string or break a header.")
def hostile_ids(tus: Tus) -> None:
    """Ids with path traversal, injection or excessive length are refused as unknown or malformed, never by a 5xx or a
    cut connection."""
    for name in _HOSTILE_IDS:
        target = f"{tus.collection.rstrip('/')}/{name}"
        tus.head(target).expect((400, 404, 414), upload_offset=None, x_injected=None)
        tus.patch(target, b"x", upload_offset=0).expect((400, 404, 414), upload_offset=None, x_injected=None)
