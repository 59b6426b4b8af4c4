"""The definition of a case: id (docs/conformance.md), level, extension, fact, ground and conversation."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from tests.conformance.client import Tus
from tests.conformance.subject import Subject


class Level(StrEnum):
    """The level of a case: a MUST, a SHOULD, or a policy where the specification is silent."""

    MUST = "M"
    SHOULD = "S"
    POLICY = "P"


MUST, SHOULD, POLICY = Level.MUST, Level.SHOULD, Level.POLICY


class Limit(StrEnum):
    """A setting that a case requires; such cases run on the server with tight limits, if there is one."""

    LENGTH = "a Tus-Max-Size of at most 1 MiB"
    EXPIRY = "uploads that expire within 5 seconds"
    IDLE = "a body that may be silent for at most 2 seconds (--tight)"
    ANY_LENGTH = "a Tus-Max-Size"


TIGHT_LENGTH_MAX = 1 << 20
TIGHT_EXPIRY_SECONDS = 5.0


@dataclass(frozen=True)
class Case:
    """One fact about a conforming server, and the conversation that proves it."""

    id: str
    level: Level
    extension: str
    ground: str  # the specification's sentence for a MUST or SHOULD, the reason for a policy
    talk: Callable[[Tus], None]
    also: frozenset[str]
    without: frozenset[str]
    needs: Limit | None

    @property
    def fact(self) -> str:
        return inspect.cleandoc(self.talk.__doc__ or "").replace("\n", " ")

    @property
    def name(self) -> str:
        return self.talk.__name__

    def obstacle(self, subject: Subject) -> str | None:
        """Why this case does not apply to ``subject``; ``None`` if it does."""
        wanted = self.also | {self.extension} if self.extension in EXTENSIONS else self.also
        if missing := sorted(wanted - subject.extensions):
            return f"{missing[0]} is not advertised"
        if unwanted := sorted(self.without & subject.extensions):
            return f"{unwanted[0]} is advertised"
        if self.needs is not None and not _has(subject, self.needs):
            return f"needs {self.needs}"
        return None


EXTENSIONS = (
    "creation",
    "creation-defer-length",
    "creation-with-upload",
    "expiration",
    "checksum",
    "checksum-trailer",
    "termination",
    "concatenation",
    "concatenation-unfinished",
)
#: The order of every table: the core, the extensions, then what the specification leaves to HTTP and to browsers.
AREAS = ("core", *EXTENSIONS, "concurrency", "browsers", "clients")


def case(
    number: str,
    level: Level,
    extension: str,
    ground: str,
    *,
    also: tuple[str, ...] = (),
    without: tuple[str, ...] = (),
    needs: Limit | None = None,
) -> Callable[[Callable[[Tus], None]], Case]:
    """Make a case of a function that holds the conversation; its docstring is the fact."""
    assert extension in AREAS, extension

    def make(talk: Callable[[Tus], None]) -> Case:
        # Nearly every conversation starts with an upload, which only creation can provide.
        needed = frozenset(also) if extension == "core" and number.startswith(("C7", "C8")) else {"creation", *also}
        return Case(number, level, extension, ground, talk, frozenset(needed), frozenset(without), needs)

    return make


def _has(subject: Subject, limit: Limit) -> bool:
    if limit is Limit.ANY_LENGTH:
        return subject.length_max is not None
    if limit is Limit.LENGTH:
        return subject.length_max is not None and subject.length_max <= TIGHT_LENGTH_MAX
    if limit is Limit.EXPIRY:
        return subject.expires_seconds is not None and subject.expires_seconds <= TIGHT_EXPIRY_SECONDS
    return subject.is_impatient
