"""The ``Upload-Concat`` header: which uploads a final upload is made of. Whether they exist is not asked here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urljoin, urlsplit

from tusd_py.model.ids import is_upload_id
from tusd_py.model.upload import Kind
from tusd_py.protocol.errors import InvalidConcat, InvalidParts, TooManyParts

# Nothing else may stand in a URL (RFC 3986); the header is echoed as it came.
_VISIBLE = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class Concat:
    """What an ``Upload-Concat`` header says: a partial upload, or a final one made of ``parts`` in their order."""

    kind: Kind
    parts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionUrl:
    """Where this server's uploads are found: the URL path of their collection, behind a proxy maybe under two names.

    ``base_paths`` end in a slash. ``hosts`` are names with or without a port, in lower case; empty allows every host.
    """

    base_paths: tuple[str, ...]
    hosts: tuple[str, ...] = ()


def parse_concat(header: str, place: CollectionUrl, parts_max: int = 1000) -> Concat:
    """What the header says. Raises ``InvalidConcat``, ``TooManyParts``, or ``InvalidParts`` for a foreign URL."""
    if header == "partial":
        return Concat(Kind.PARTIAL)
    word, semicolon, urls = header.partition(";")
    if word != "final" or not semicolon:
        raise InvalidConcat("Upload-Concat", "partial, or final; and the URLs of partial uploads")
    # One space may follow the semicolon: tusd takes it, so clients send it.
    parts = urls.removeprefix(" ").split(" ")
    if len(parts) > parts_max:
        raise TooManyParts(parts_max)
    return Concat(Kind.FINAL, tuple(_part(url, place) for url in parts))


def _part(url: str, place: CollectionUrl) -> str:
    """The id of the upload at ``url``, which may be absolute or relative to the collection's URL."""
    if _VISIBLE.fullmatch(url) is None:
        raise InvalidConcat("Upload-Concat", "URLs separated by one space")
    try:
        split = urlsplit(url)
        if split.scheme not in ("", "http", "https") or not _is_allowed(split.netloc, place.hosts):
            raise InvalidParts
        for base_path in place.base_paths:
            # RFC 3986, 5.2: dots are resolved before, never after, the path is decoded.
            path = unquote(urlsplit(urljoin(base_path, url)).path)
            upload_id = path.removeprefix(base_path).removesuffix("/")
            if path.startswith(base_path) and is_upload_id(upload_id):
                return upload_id
    except ValueError as error:  # brackets that no address can have
        raise InvalidParts from error
    raise InvalidParts


def _is_allowed(authority: str, hosts: Sequence[str]) -> bool:
    """Whether the host of a URL, if it has any, is one of ours; a host allowed without a port is so on every port."""
    if not authority or not hosts:
        return True
    host = authority.rpartition("@")[2].lower()
    return host in hosts or re.sub(r":[0-9]*\Z", "", host) in hosts


def format_concat(kind: Kind, urls: Sequence[str] = ()) -> str | None:
    """The header that a client would send for an upload of this kind; None for a regular one."""
    if kind is Kind.FINAL:
        return f"final;{' '.join(urls)}"
    return "partial" if kind is Kind.PARTIAL else None
