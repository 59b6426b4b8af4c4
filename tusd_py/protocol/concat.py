"""The ``Upload-Concat`` header: the partial uploads that a final upload consists of.

Whether those uploads exist is checked elsewhere (``rules.concatenate``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import unquote, urljoin, urlsplit

from tusd_py.model.frozen import frozen
from tusd_py.model.ids import known_id
from tusd_py.model.upload import Kind
from tusd_py.protocol.concat_errors import InvalidParts, TooManyParts
from tusd_py.protocol.errors import InvalidConcat

# RFC 3986 allows only these in a URL. The header is echoed unchanged, so nothing else may be accepted.
_VISIBLE = re.compile(r"[!-~]+")


@frozen()
class Concat:
    """A parsed ``Upload-Concat`` header: a partial upload, or a final upload of ``parts`` (upload ids, in order)."""

    kind: Kind
    parts: tuple[str, ...] = ()


@frozen(kw_only=True)
class CollectionUrl:
    """The URLs under which clients know this server's uploads.

    ``base_paths`` are the paths of the collection, each ending in a slash; behind a proxy there may be two.
    ``hosts`` are lower-case host names with or without a port; empty allows every host.
    """

    base_paths: tuple[str, ...]
    hosts: tuple[str, ...] = ()


def parse_concat(header: str, collection: CollectionUrl, parts_max: int = 1000) -> Concat:
    """Parse the header. Raises ``InvalidConcat``, ``TooManyParts``, or ``InvalidParts`` for a foreign URL."""
    if header == "partial":
        return Concat(Kind.PARTIAL)
    word, semicolon, urls = header.partition(";")
    if word != "final" or not semicolon:
        raise InvalidConcat("Upload-Concat", "partial, or final; and the URLs of partial uploads")
    # tusd accepts one space after the semicolon, so some clients send it.
    parts = urls.removeprefix(" ").split(" ")
    if len(parts) > parts_max:
        raise TooManyParts(parts_max)
    return Concat(Kind.FINAL, tuple(_part(url, collection) for url in parts))


def _part(url: str, collection: CollectionUrl) -> str:
    """The id of the upload at ``url``, which may be absolute or relative to the collection's URL."""
    if _VISIBLE.fullmatch(url) is None:
        raise InvalidConcat("Upload-Concat", "URLs separated by one space")
    try:
        split = urlsplit(url)
        if split.scheme not in ("", "http", "https") or not _is_allowed(split.netloc, collection.hosts):
            raise InvalidParts
        for base_path in collection.base_paths:
            # RFC 3986, 5.2: dot segments are removed before the path is percent-decoded, never after.
            path = unquote(urlsplit(urljoin(base_path, url)).path)
            upload_id = known_id(path.removeprefix(base_path).removesuffix("/"))
            if path.startswith(base_path) and upload_id is not None:
                return upload_id
    except ValueError as error:  # malformed brackets in the host
        raise InvalidParts from error
    raise InvalidParts


def _is_allowed(authority: str, hosts: Sequence[str]) -> bool:
    """Whether the URL has no host, or one of ``hosts``. A host listed without a port matches every port."""
    if not authority or not hosts:
        return True
    host = authority.rpartition("@")[2].lower()
    return host in hosts or re.sub(r":[0-9]*\Z", "", host) in hosts


def without_credentials(header: str) -> str:
    """The header without user names, passwords, queries and fragments of URLs, for the record; others unchanged."""
    return re.sub(r"//[^/ ]*@", "//", re.sub(r"[?#][^ ]*", "", header))
