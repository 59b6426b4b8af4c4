"""Recognises XML by its root element. libmagic does not look behind a comment or a byte order mark."""

from __future__ import annotations

from xml.parsers import expat

_TYPES = {
    "http://www.w3.org/2000/svg svg": "image/svg+xml",
    "http://www.w3.org/1999/xhtml html": "application/xhtml+xml",
}
_STARTS = (b"<", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
# What is checked while the rest still arrives. A shorter file is complete, and has no root element.
_LONG_BYTES = 4096


class _Stopped(Exception):
    """The root element, or something that must not be parsed, was reached."""


def type_by_root(head: bytes) -> str | None:
    """The type of XML that begins with ``head``: SVG or XHTML by the root element, else ``None``.

    A long head that ends before the root element, in a comment, is XML that may be either.

    Parsing ends at the root element, and at the first declaration of an entity: entities can expand without bounds.
    """
    if not head.lstrip()[:3].startswith(_STARTS):
        return None
    roots: list[str] = []

    def on_element(name: str, attributes: dict[str, str]) -> None:
        roots.append(name)
        raise _Stopped

    def on_entity(*declaration: object) -> None:
        raise _Stopped

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = on_element
    parser.EntityDeclHandler = on_entity
    try:
        parser.Parse(head, False)
        if len(head) >= _LONG_BYTES:
            return "text/xml"
    except (_Stopped, expat.ExpatError):
        pass
    return _TYPES.get(roots[0]) if roots else None
