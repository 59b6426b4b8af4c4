"""The grammars of what a hook may choose for an upload: its id, the path of its bytes, and its owner."""

from __future__ import annotations

import re
import unicodedata

# Of what tusd takes, and a segment of a path may hold as it is (RFC 3986, 3.3). But no slash; no colon or semicolon, by
# which readers of URLs divide them; and no dot: names with one are the server's own, and those that hooks choose.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_~!$'()*+,=@-]{0,127}")
_NAME = r"[^./\x00-\x1f\x7f][^/\x00-\x1f\x7f]*"
_OWNER_CHARACTERS_MAX = 255
# Control characters, half surrogate pairs, and separators of lines and paragraphs.
_CONTROL = frozenset({"Cc", "Cs", "Zl", "Zp"})
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


def is_owner(text: str) -> bool:
    """Whether ``text`` could be the owner of an upload: at most 255 characters, no controls, no line ends."""
    return len(text) <= _OWNER_CHARACTERS_MAX and all(unicodedata.category(each) not in _CONTROL for each in text)


def _fits(path: str) -> bool:
    try:
        encoded = path.encode()
    except UnicodeEncodeError:
        return False
    return len(encoded) <= 1024 and all(len(name) <= 255 for name in encoded.split(b"/"))
