"""The grammars of an upload's id and of a path that a hook chooses for its bytes: what becomes the name of a file."""

from __future__ import annotations

import re

# Of what tusd takes, and a segment of a path may hold as it is (RFC 3986, 3.3). But no slash; no colon or semicolon, by
# which readers of URLs divide them; and no dot: names with one are the server's own, and those that hooks choose.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_~!$'()*+,=@-]{0,127}")
_NAME = r"[^./\x00-\x1f\x7f][^/\x00-\x1f\x7f]*"
_PATH = re.compile(f"{_NAME}(?:/{_NAME})*")


def is_upload_id(text: str) -> bool:
    """Whether ``text`` could be an id: safe as one segment of a path, a file name and a header value."""
    return _ID.fullmatch(text) is not None


def is_storage_path(text: str) -> bool:
    """Whether ``text`` could be the path of an upload's bytes, relative to where all of them lie.

    Names divided by slashes, none of them hidden, ``.`` or ``..``; none long enough to surprise a file system. Alone, a
    name must not look like an id: another upload may have it.
    """
    return _PATH.fullmatch(text) is not None and _fits(text) and not is_upload_id(text)


def _fits(path: str) -> bool:
    try:
        encoded = path.encode()
    except UnicodeEncodeError:
        return False
    return len(encoded) <= 1024 and all(len(name) <= 255 for name in encoded.split(b"/"))
