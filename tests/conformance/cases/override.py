"""`X-HTTP-Method-Override` (rows C5 and C6)."""

from __future__ import annotations

from tests.conformance.case import MUST, POLICY, case
from tests.conformance.client import TUS_TYPE, Tus, fields
from tests.conformance.expectations import FOUND

_OVERRIDE = (
    "The `X-HTTP-Method-Override` request header … MUST be interpreted as the request's method by the Server, "
    "if the header is presented. The actual method of the request MUST be ignored."
)


@case("C5a", MUST, "core", _OVERRIDE)
def post_as_patch(tus: Tus) -> None:
    """POST with the override PATCH appends."""
    upload = tus.create(10)
    tus.post(b"hello", upload, x_http_method_override="PATCH", content_type=TUS_TYPE, upload_offset=0).expect(
        204, upload_offset=5
    )
    tus.head(upload).expect(FOUND, upload_offset=5)


@case("C5b", MUST, "core", _OVERRIDE, also=("termination",))
def post_as_delete(tus: Tus) -> None:
    """POST with the override DELETE terminates."""
    upload = tus.create(10)
    tus.post(b"", upload, x_http_method_override="DELETE").expect(204)
    tus.head(upload).expect((404, 410))


@case("C5c", MUST, "core", _OVERRIDE)
def any_method_as_head(tus: Tus) -> None:
    """GET and POST with the override HEAD return the offset."""
    upload = tus.create(10, b"hello")
    tus.get(upload, x_http_method_override="HEAD").expect(FOUND, upload_offset=5)
    tus.post(b"", upload, x_http_method_override="HEAD").expect(FOUND, upload_offset=5)


@case("C5d", MUST, "core", "The actual method of the request MUST be ignored.")
def the_real_method_is_ignored(tus: Tus) -> None:
    """DELETE with the override HEAD deletes nothing, PUT with the override PATCH appends."""
    upload = tus.create(10)
    tus.delete(upload, x_http_method_override="HEAD").expect(FOUND, upload_offset=0)
    headers = fields(x_http_method_override="PATCH", content_type=TUS_TYPE)
    tus.request("PUT", upload, b"hello", upload_offset=0, **headers).expect(204, upload_offset=5)
    tus.head(upload).expect(FOUND, upload_offset=5)


@case("C5e", MUST, "core", _OVERRIDE)
def any_method_as_post(tus: Tus) -> None:
    """PUT with the override POST creates."""
    tus.request("PUT", tus.collection, b"", x_http_method_override="POST", upload_length=10).expect(201, location=...)


@case("C6a", POLICY, "core", "The header must not open methods that the server does not serve.")
def an_unknown_override(tus: Tus) -> None:
    """An unknown override is answered 405, whatever the real method."""
    for method in ("FOO", "TRACE", "CONNECT", "PUT"):
        tus.post(b"", x_http_method_override=method, upload_length=10).expect(405, location=None)


@case("C6b", POLICY, "core", "Two parsers on the way may choose differently between two values.")
def a_repeated_override(tus: Tus) -> None:
    """Two overrides in one request are answered 400 and change nothing."""
    upload = tus.create(10)
    twice = [("X-HTTP-Method-Override", "PATCH"), ("X-HTTP-Method-Override", "DELETE")]
    tus.post(b"hello", upload, extra=twice, content_type=TUS_TYPE, upload_offset=0).expect(400)
    tus.head(upload).expect(FOUND, upload_offset=0)


@case("C6c", POLICY, "core", "A cache in between knows only the real method.")
def overridden_answers_are_not_cached(tus: Tus) -> None:
    """Responses to overridden requests have `Cache-Control: no-store`."""
    upload = tus.create(10)
    tus.get(upload, x_http_method_override="HEAD").expect(FOUND, cache_control="no-store")
    headers = fields(x_http_method_override="PATCH", content_type=TUS_TYPE)
    tus.post(b"hello", upload, upload_offset=0, **headers).expect(204, cache_control="no-store")


@case("C6d", POLICY, "core", "The client reads the answer to its real method, and would wait for a body.")
def an_overridden_head_has_a_length(tus: Tus) -> None:
    """The override HEAD on a real GET or POST is answered with a `Content-Length` of 0, or 204."""
    upload = tus.create(10)
    for method in ("GET", "POST"):
        observed = tus.request(method, upload, content_length=0, x_http_method_override="HEAD").expect(FOUND)
        length = observed.header("Content-Length")
        observed.check(
            "204, or Content-Length: 0", f"{observed.status}, {length}", observed.status == 204 or length == "0"
        )


@case(
    "C6e",
    POLICY,
    "core",
    "Methods are case-sensitive; guessing the real one would create what the client meant to append.",
)
def an_override_in_lower_case(tus: Tus) -> None:
    """The override `patch` is handled as PATCH or refused with 405, and the real method is never used."""
    upload = tus.create(10)
    headers = fields(x_http_method_override="patch", content_type=TUS_TYPE)
    tus.post(b"hello", upload, upload_offset=0, **headers).expect((204, 405), location=None)
    tus.post(b"", x_http_method_override="options").expect((200, 204, 405), location=None)
