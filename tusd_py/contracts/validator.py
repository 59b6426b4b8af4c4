"""The contract of an examiner: it looks at the bytes of an upload and says whether this server wants to have them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from tusd_py.model.upload import Upload
from tusd_py.protocol.outcomes import Content

#: Is told how many bytes were looked at so far, and may end the examination by raising.
OnProgress = Callable[[int], Awaitable[None]]


class ValidatorUnavailable(Exception):
    """Nothing can be said about these bytes now: a tool is missing. Its text says what to do; never a verdict."""


@dataclass(frozen=True, slots=True)
class ValidationResult:
    """What came of an examination: ``reasons`` against the upload, a sentence each, and what was found out."""

    reasons: tuple[str, ...]
    details: Mapping[str, str]

    @property
    def is_accepted(self) -> bool:
        return not self.reasons


class Validator(Protocol):
    """Judges uploads by the operator's rules. The same bytes and the same record give the same verdict."""

    async def validate(self, upload: Upload, content: Content, tell: OnProgress) -> ValidationResult:
        """The verdict on the complete ``upload``, whose bytes are ``content``. Memory is bounded whatever their number.

        Raises ``ValidatorUnavailable``, what reading raises, and what ``tell`` raises.
        """
        ...


class TypeSniffer(Protocol):
    """Judges an upload by its first bytes, while the others are still on their way."""

    def applies_to(self, upload: Upload) -> bool:
        """Whether the first bytes of ``upload`` can settle anything; asking costs next to nothing."""
        ...

    async def rejection(self, upload: Upload, head: bytes) -> str:
        """Why an upload that begins with ``head`` is not wanted, as a sentence; empty where nothing is against it."""
        ...
