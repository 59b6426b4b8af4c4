"""The server under test as it describes itself: address, extensions, limits, lifetime of uploads."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from tests.conformance.wire import Address, Answer, NoAnswer, Wire

#: Some servers drain a refused body or wait for a lock for seconds; what takes longer than this counts as no answer.
PATIENCE_SECONDS = 8.0


class Unreachable(Exception):
    """There is no tus server at the URL."""


@dataclass(frozen=True)
class Subject:
    """A running server. ``expires_seconds`` is the lifetime of a new upload, if the server states it."""

    url: str
    extensions: frozenset[str] = frozenset()
    length_max: int | None = None
    algorithms: tuple[str, ...] = ()
    expires_seconds: float | None = None
    is_impatient: bool = False  # set by the caller: no header states the timeout of a stalled body
    headers: Mapping[str, str] = field(default_factory=dict)
    patience_seconds: float = PATIENCE_SECONDS

    @property
    def address(self) -> Address:
        parts = urlsplit(self.url)
        tls = parts.scheme == "https"
        return Address(parts.hostname or "", parts.port or (443 if tls else 80), tls)

    @property
    def path(self) -> str:
        return urlsplit(self.url).path or "/"


def probe(url: str, headers: Mapping[str, str] | None = None, *, is_impatient: bool = False) -> Subject:
    """Query the server with OPTIONS and a creation. Raises ``Unreachable`` with a message for the user."""
    subject = Subject(url, headers=headers or {}, is_impatient=is_impatient)
    answer = _ask(subject, "OPTIONS", {})
    if isinstance(answer, NoAnswer):
        raise Unreachable(f"{url} does not answer OPTIONS: {answer.what}")
    if answer.one("Tus-Version") is None:
        raise Unreachable(f"{url} answers OPTIONS with {answer.status} and no Tus-Version: not a tus endpoint")
    size = answer.one("Tus-Max-Size") or ""
    subject = replace(
        subject,
        extensions=frozenset(_members(answer, "Tus-Extension")),
        length_max=int(size) if size.isascii() and size.isdigit() else None,
        algorithms=tuple(_members(answer, "Tus-Checksum-Algorithm")),
    )
    return replace(subject, expires_seconds=_expires_seconds(subject))


def _expires_seconds(subject: Subject) -> float | None:
    created = _ask(subject, "POST", {"Upload-Length": "1", "Content-Length": "0", "Tus-Resumable": "1.0.0"})
    until = created.one("Upload-Expires") if isinstance(created, Answer) else None
    if not isinstance(created, Answer) or until is None:
        return None
    try:
        expires = parsedate_to_datetime(until).timestamp()
        now = parsedate_to_datetime(created.one("Date") or "").timestamp() if created.one("Date") else time.time()
    except ValueError:
        return None
    return expires - now


def _ask(subject: Subject, method: str, headers: Mapping[str, str]) -> Answer | NoAnswer:
    wire = Wire(subject.address, subject.patience_seconds)
    fields = {"Host": subject.address.authority, **subject.headers, **headers}
    head = f"{method} {subject.path} HTTP/1.1\r\n"
    wire.send((head + "".join(f"{name}: {value}\r\n" for name, value in fields.items()) + "\r\n").encode("latin-1"))
    try:
        return wire.answer(method)
    finally:
        wire.close()


def _members(answer: Answer, name: str) -> list[str]:
    return [item.strip() for item in (answer.one(name) or "").split(",") if item.strip()]
