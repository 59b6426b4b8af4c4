"""The contracts of validation: a validator for complete uploads, and a type sniffer for their first bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from tusd_py.contracts.store import OnProgress
from tusd_py.model.upload import Upload
from tusd_py.protocol.outcomes import Content


class ValidatorUnavailable(Exception):
    """The bytes cannot be validated now because a tool is missing. The message says what to do."""


@dataclass(frozen=True, slots=True)
class ValidationResult:
    """The result of a validation.

    ``reasons`` against the upload are sentences; without any the upload is accepted. ``details`` are what was found,
    such as its type.
    """

    reasons: tuple[str, ...]
    details: Mapping[str, str]

    @property
    def is_accepted(self) -> bool:
        return not self.reasons


class Validator(Protocol):
    """Validates uploads by the operator's rules. The same bytes and record give the same result."""

    async def validate(self, upload: Upload, content: Content, on_progress: OnProgress) -> ValidationResult:
        """Validate the complete ``upload`` with the bytes ``content``. Memory use is bounded.

        Raises ``ValidatorUnavailable``, and whatever reading or ``on_progress`` raises.
        """
        ...


class TypeSniffer(Protocol):
    """Checks the type of an upload by its first bytes while the rest still arrives."""

    def applies_to(self, upload: Upload) -> bool:
        """Whether the first bytes of ``upload`` can reject it. Cheap enough to call for every upload."""
        ...

    async def rejection(self, upload: Upload, head: bytes) -> str:
        """Why an upload that starts with ``head`` is rejected, as a sentence; empty if it is not.

        Raises ``ValidatorUnavailable``.
        """
        ...
