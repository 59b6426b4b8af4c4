"""What describes content becomes metadata."""

from __future__ import annotations

import pytest

from tusd_py.protocol.draft.representation import parse_description, parse_filename
from tusd_py.protocol.errors import HeaderTooLarge, InvalidMetadata
from tusd_py.protocol.headers import Headers
from tusd_py.protocol.metadata import parse_metadata

DIGEST = b"sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:"


def described(**named: bytes) -> dict[str, bytes]:
    raw = [(name.replace("_", "-").encode(), value) for name, value in named.items()]
    return parse_metadata(parse_description(Headers(raw), 8192))


def test_name_and_type() -> None:
    """Disposition and type of the content become ``filename`` and ``filetype``."""
    parsed = described(content_disposition=b'inline; filename="a b.png"', content_type=b"image/png; x=1")
    assert {"filename": b"a b.png", "filetype": b"image/png; x=1"} == parsed


def test_no_description() -> None:
    """Without headers there is no metadata; the type of appends describes nothing."""
    assert parse_description(Headers([]), 0) is None
    assert {} == described(content_type=b"Application/Partial-Upload; x=y")


def test_upload_metadata_takes_precedence() -> None:
    """tus-js-client sends Upload-Metadata in both protocols; it is kept byte for byte."""
    raw = [(b"upload-metadata", b"b /w==, a"), (b"content-type", b"image/png")]
    assert "b /w==, a" == parse_description(Headers(raw), 8192)


def test_invalid_metadata_400() -> None:
    """Invalid metadata is not dropped silently."""
    with pytest.raises(InvalidMetadata):
        described(upload_metadata=b"a !")


def test_repr_digest_is_kept() -> None:
    """R17: Repr-Digest becomes metadata as received, so that validation can verify it."""
    assert {"repr-digest": DIGEST} == described(repr_digest=DIGEST)
    assert {"a": b"a", "repr-digest": DIGEST} == described(upload_metadata=b"a YQ==", repr_digest=DIGEST)
    assert {"repr-digest": b"a"} == described(upload_metadata=b"repr-digest YQ==", repr_digest=DIGEST)
    assert {} == described(repr_digest=b"junk=")


def test_description_too_large_431() -> None:
    """Derived metadata has the same limit as Upload-Metadata."""
    with pytest.raises(HeaderTooLarge):
        parse_description(Headers([(b"content-type", b"a/" + b"b" * 100)]), 50)


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("", None),
        ("inline", None),
        ('inline; filename=""', None),
        ("attachment; filename=a.txt; x=y", "a.txt"),
        ('attachment; FILENAME = "a\\"b;.txt"', 'a"b;.txt'),
        ("inline; filename=\"e.txt\"; filename*=UTF-8''%e2%82%ac%20rates", "€ rates"),
        ("inline; filename*=iso-8859-1'en'%A3%20rates", "£ rates"),
        ("inline; filename=a; filename*=UTF-8''%ff", "a"),
        ("inline; filename=a; filename*=utf-16''a", "a"),
        ('inline; filename="../../etc/passwd"', "passwd"),
        ('inline; filename="C:\\\\a.txt"', "a.txt"),
        ('inline; filename="dir/"', None),
        ("inline; filename=a; filename=b", "a"),
        ('inline; filename="' + "ü".encode().decode("latin-1") + '"', "ü"),
        ('inline; filename="ü"', "ü"),
    ],
)
def test_file_names(header: str, name: str | None) -> None:
    """RFC 6266: ``filename*`` first, without folders; of two equal parameters the first."""
    assert name == parse_filename(header)
