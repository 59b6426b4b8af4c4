"""XML is recognised by its root element, wherever that begins, and nothing is expanded."""

from __future__ import annotations

import time

import pytest

from tusd_py.validation.xml_root import type_by_root

_SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>'


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (_SVG, "image/svg+xml"),
        (b"\n  <!-- x --><?a b?>" + _SVG, "image/svg+xml"),
        (b"\xef\xbb\xbf" + _SVG, "image/svg+xml"),
        (f"\ufeff{_SVG.decode()}".encode("utf-16-le"), "image/svg+xml"),
        (_SVG[:-2] + b">\n<g", "image/svg+xml"),
        (b'<s:svg xmlns:s="http://www.w3.org/2000/svg"/>', "image/svg+xml"),
        (b'<html xmlns="http://www.w3.org/1999/xhtml"/>', "application/xhtml+xml"),
        (b"<svg/>", None),
        (b"<!-- no end", None),
        (b"<!--" + b" words" * 700, "text/xml"),
        (b"<!-- x --> # Markdown" + b" words" * 700, None),
        (b"<a><b/></a>", None),
        (b"", None),
        (b"words <svg", None),
        (b"< not xml", None),
    ],
)
def test_type_by_root_element(content: bytes, expected: str | None) -> None:
    """SVG and XHTML in their namespaces; everything else is nothing that this module knows."""
    assert expected == type_by_root(content)


def test_entities_are_not_expanded() -> None:
    """An entity that grows by each of its uses ends the parsing where it is declared."""
    entities = "".join(f'<!ENTITY e{n + 1} "{f"&e{n};" * 50}">' for n in range(20))
    bomb = f'<!DOCTYPE svg [<!ENTITY e0 "x">{entities}]><svg xmlns="http://www.w3.org/2000/svg" a="&e20;"/>'
    before = time.thread_time()
    assert type_by_root(bomb.encode()) is None
    assert time.thread_time() - before < 0.5
