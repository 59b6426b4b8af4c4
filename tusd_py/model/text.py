"""Text that came from clients and the operating system. Pure."""

from __future__ import annotations

import unicodedata

#: They join or separate letters, as in Persian words and in emoji, and reverse nothing.
JOINERS = "\u200c\u200d"


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


def visible(text: str, replacement: str = "") -> str:
    """``text`` with ``replacement`` for invisible characters, so that it is what it looks like.

    Some of them reverse the reading direction: ``gpj.exe`` would look like ``exe.jpg``. Every kind of space, such as
    that of macOS before AM and PM (U+202F), becomes a plain one; joiners stay.
    """
    if text.isprintable():
        return text
    return "".join(
        character
        if character.isprintable() or character in JOINERS
        else " "
        if unicodedata.category(character) == "Zs"
        else replacement
        for character in text
    )
