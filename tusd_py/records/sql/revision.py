"""The revision of a database's schema, and which versions of the program can use it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SchemaRevision:
    """What a database says of its schema. Revisions are four digits, so that later ones are greater as texts.

    ``newest`` is the last migration that was applied. ``oldest`` is the newest migration of the oldest version of the
    program that can use this schema; ``None`` if a version has written it that recorded none.
    """

    newest: str
    oldest: str | None = None

    def is_usable_by(self, revision: str) -> bool:
        """Whether a version whose newest migration is ``revision`` can use the database as it is."""
        if self.newest <= revision:
            return self.newest == revision
        return self.oldest is not None and self.oldest <= revision
