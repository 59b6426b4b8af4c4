"""The validator: reads an upload once, in threads, and checks it against the operator's rules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from tusd_py.contracts.store import OnProgress
from tusd_py.contracts.validator import ValidationResult, ValidatorUnavailable
from tusd_py.model.upload import Upload
from tusd_py.model.validation_rule import ValidationRule
from tusd_py.protocol.outcomes import Content
from tusd_py.threads import cpu_threads, in_executor
from tusd_py.validation import libmagic
from tusd_py.validation.csv_check import CsvCheck
from tusd_py.validation.digests import DigestCheck, expected_digests
from tusd_py.validation.rules import (
    Declaration,
    declared,
    declared_violations,
    first_match,
    not_allowed,
    type_violations,
)

#: Passed to a thread at once: with so much to hash, the switch to the thread costs nothing.
_BATCH_BYTES = 4 * 1024 * 1024


@dataclass(slots=True, kw_only=True)
class RuleValidator:
    """Validates by the first of ``rules`` that applies to an upload. ``take_over`` replaces them while it is used.

    ``rejects_unmatched`` rejects uploads to which no rule applies. ``digest_keys`` are the metadata keys under which
    clients declare digests of their uploads.
    """

    rules: tuple[ValidationRule, ...] = ()
    rejects_unmatched: bool = False
    digest_keys: tuple[str, ...] = ()

    def take_over(self, other: RuleValidator) -> None:
        """Validate as ``other`` from now on; a validation that runs goes on with the rule that it has chosen."""
        self.rules = other.rules
        self.rejects_unmatched = other.rejects_unmatched
        self.digest_keys = other.digest_keys

    async def validate(self, upload: Upload, content: Content, on_progress: OnProgress) -> ValidationResult:
        """See ``Validator.validate``."""
        declaration = declared(upload)
        rule = first_match(self.rules, declaration)
        scan = _Scan(
            DigestCheck(expected_digests(declaration.metadata, self.digest_keys)),
            CsvCheck() if rule and rule.csv else None,
        )
        # Closed at once when the validation ends early: the file stays open while the content is being read.
        async with aclosing(content):
            await scan.read(content, on_progress)
        try:
            detected = await in_executor(cpu_threads, libmagic.detect_type, scan.head)
        except ValidatorUnavailable:
            # The type is always recorded if it can be detected, but only rules about types need it.
            if upload.allowed_types is not None or (rule is not None and rule.checks_type):
                raise
            detected = ""
        reasons = [
            *self._violations(rule, declaration, upload.offset, detected),
            *_against_credentials(upload, declaration, detected),
            *scan.violations(),
        ]
        details = {"type": detected} if detected else {}
        if rule is not None and rule.name:
            details["rule"] = rule.name
        return ValidationResult(tuple(reasons), {**details, **scan.digests.hex_digests()})

    def _violations(
        self, rule: ValidationRule | None, declaration: Declaration, length: int, detected: str
    ) -> list[str]:
        if rule is None:
            return ["no rule allows it"] if self.rejects_unmatched else []
        return [*declared_violations(rule, declaration, length), *type_violations(rule, declaration, detected)]

    def applies_to(self, upload: Upload) -> bool:
        """See ``TypeSniffer.applies_to``: only rules about types can reject by the first bytes."""
        if upload.allowed_types is not None:
            return True
        rule = first_match(self.rules, declared(upload))
        return rule is not None and rule.checks_type

    async def rejection(self, upload: Upload, head: bytes) -> str:
        """See ``TypeSniffer.rejection``."""
        declaration = declared(upload)
        rule = first_match(self.rules, declaration)
        if rule is None and upload.allowed_types is None:
            return ""
        detected = await in_executor(cpu_threads, libmagic.detect_type, head)
        violations = [] if rule is None else type_violations(rule, declaration, detected)
        return "; ".join([*violations, *_against_credentials(upload, declaration, detected)])


def _against_credentials(upload: Upload, declaration: Declaration, detected: str) -> Iterator[str]:
    """A sentence if the credentials of the creation do not allow the ``detected`` type."""
    allowed = upload.allowed_types
    return iter(()) if allowed is None else not_allowed(allowed, declaration, detected)


class _Scan:
    """Everything that is computed while the content is read once, in order."""

    def __init__(self, digests: DigestCheck, csv_check: CsvCheck | None) -> None:
        self.digests = digests
        self.head = b""
        self._csv_check = csv_check
        self._csv_problem = ""

    async def read(self, content: Content, on_progress: OnProgress) -> None:
        batch: list[bytes] = []
        batch_bytes = bytes_read = 0
        async for chunk in content:
            batch.append(chunk)
            batch_bytes += len(chunk)
            if batch_bytes >= _BATCH_BYTES:
                await in_executor(cpu_threads, self._update, batch)
                bytes_read += batch_bytes
                batch, batch_bytes = [], 0
                await on_progress(bytes_read)
        await in_executor(cpu_threads, self._end, batch)

    def violations(self) -> list[str]:
        return [*self.digests.violations(), *([self._csv_problem] if self._csv_problem else [])]

    def _end(self, chunks: Sequence[bytes]) -> None:
        self._update(chunks)
        if self._csv_check is not None:
            self._csv_problem = self._csv_check.end()

    def _update(self, chunks: Sequence[bytes]) -> None:
        for chunk in chunks:
            if len(self.head) < libmagic.HEAD_BYTES:
                self.head += chunk[: libmagic.HEAD_BYTES - len(self.head)]
            self.digests.update(chunk)
            if self._csv_check is not None:
                self._csv_check.update(chunk)
