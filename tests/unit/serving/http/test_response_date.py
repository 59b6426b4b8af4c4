"""The ``Date`` header of responses."""

from __future__ import annotations

from tusd_py.serving.http.response_date import ResponseDate


def test_date_is_that_of_the_second_in_which_it_is_read() -> None:
    """A request that began earlier gets the date of its response, by iteration and by addition."""
    now = [0.9]
    headers = ResponseDate(lambda: now[0])
    assert list(headers) == [(b"date", b"Thu, 01 Jan 1970 00:00:00 GMT")]
    now[0] = 1.0
    assert headers.__add__([(b"server", b"x")]) == [(b"date", b"Thu, 01 Jan 1970 00:00:01 GMT"), (b"server", b"x")]
    now[0] = 600.5
    assert [*headers] == [(b"date", b"Thu, 01 Jan 1970 00:10:00 GMT")]
