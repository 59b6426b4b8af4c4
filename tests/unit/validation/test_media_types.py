"""Which declared types agree with the types detected in real files."""

from __future__ import annotations

import pytest

from tests.support import samples
from tusd_py.validation.libmagic import detect_type
from tusd_py.validation.media_types import canonical_name, more_specific, types_agree

_DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


@pytest.mark.parametrize(
    ("declared", "content"),
    [
        ("image/png", samples.PNG),
        ("image/jpeg", samples.JPEG),
        ("image/jpg", samples.JPEG),
        ("image/gif", samples.GIF),
        ("image/webp", samples.WEBP),
        ("application/pdf", samples.PDF),
        ("text/html", samples.HTML),
        ("image/svg+xml", samples.SVG),
        ("text/csv", samples.CSV),
        ("application/csv", samples.CSV),
        ("text/plain", samples.CSV),
        ("application/json", samples.JSON),
        ("application/ld+json", samples.JSON),
        ("text/plain", samples.JSON),
        ("text/markdown", samples.TEXT),
        ("application/yaml", samples.TEXT),
        ("application/zip", samples.ZIP),
        ("application/x-zip-compressed", samples.ZIP),
        (_DOCX, samples.DOCX),
        ("application/epub+zip", samples.ZIP),
        ("application/x-gzip", samples.GZIP),
        ("video/mp4", samples.MP4),
        ("video/quicktime", samples.MP4),
        ("application/octet-stream", samples.EXE),
        ("application/x-our-own", samples.NOISE),
        ("image/png", b""),
    ],
)
def test_types_that_agree(declared: str, content: bytes) -> None:
    """What people and browsers declare for such a file agrees with its bytes, under all its names."""
    assert types_agree(declared, detect_type(content)), detect_type(content)


@pytest.mark.parametrize(
    ("declared", "content"),
    [
        ("image/jpeg", samples.HTML),
        ("image/png", samples.JPEG),
        ("text/plain", samples.HTML),
        ("text/csv", samples.HTML),
        ("application/json", samples.SVG),
        ("image/png", samples.SVG),
        ("application/pdf", samples.TEXT),
        ("application/pdf", samples.NOISE),
        ("image/png", samples.NOISE),
        ("text/plain", samples.PNG),
        ("text/csv", samples.NOISE),
        (_DOCX, samples.EXE),
        (_DOCX, samples.PDF),
        ("image/jpeg", samples.EXE),
        ("video/mp4", samples.ZIP),
        ("application/zip", samples.GZIP),
        ("text/html", samples.TEXT),
    ],
)
def test_types_that_do_not_agree(declared: str, content: bytes) -> None:
    """A file that pretends to be of another type is recognised by its bytes."""
    assert not types_agree(declared, detect_type(content)), detect_type(content)


def test_the_more_specific_type_is_used_where_both_agree() -> None:
    """A zip may be the document it is declared to be; a program is not an image by being called one."""
    assert _DOCX == more_specific(_DOCX, "application/zip")
    assert "text/csv" == more_specific("text/csv", "text/plain")
    assert "application/x-dosexec" == more_specific("image/png", "application/x-dosexec")
    assert "text/html" == more_specific("text/plain", "text/html")
    assert "image/jpeg" == canonical_name("IMAGE/JPG")
