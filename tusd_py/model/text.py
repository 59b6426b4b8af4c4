"""Text that came from the operating system. Pure."""

from __future__ import annotations


def valid_unicode(text: str) -> str:
    """``text`` as it can be encoded in UTF-8.

    Python represents the bytes of a path that is not UTF-8 by half surrogate pairs, which neither JSON nor a database
    can hold. Each becomes U+FFFD, as in Go, and so does U+0000, which PostgreSQL cannot hold.
    """
    text = text.replace("\0", "\N{REPLACEMENT CHARACTER}")
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
