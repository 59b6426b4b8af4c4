"""The one grammar of an upload's id: what a URL, an Upload-Concat header, a hook or a file name may hold."""

from __future__ import annotations

import re

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")


def is_upload_id(text: str) -> bool:
    """Whether ``text`` could be an id: safe as one segment of a path, a file name and a header value."""
    return _ID.fullmatch(text) is not None
