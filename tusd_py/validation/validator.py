"""The examiner: reads an upload once, in threads, and holds what it finds against the operator's rules."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass

from tusd_py.contracts.validator import OnProgress, ValidationResult, ValidatorUnavailable
from tusd_py.model.upload import Upload
from tusd_py.model.validation_rule import ValidationRule
from tusd_py.protocol.outcomes import Content
from tusd_py.validation import libmagic
from tusd_py.validation.csv_check import CsvCheck
from tusd_py.validation.digests import DigestCheck, expected_digests
from tusd_py.validation.rules import Declared, declared, declared_violations, first_match, type_violations

#: Handed to a thread at once: a hop costs nothing beside hashing so much.
_BATCH_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleValidator:
    """Judges by ``rules``, of which the first that fits holds; ``rejects_unmatched`` says what no rule fits means.

    ``digest_keys`` are metadata in which clients say what digest their upload has.
    """

    rules: tuple[ValidationRule, ...] = ()
    rejects_unmatched: bool = False
    digest_keys: tuple[str, ...] = ()

    async def validate(self, upload: Upload, content: Content, tell: OnProgress) -> ValidationResult:
        said = declared(upload)
        rule = first_match(self.rules, said)
        reading = _Looking(
            DigestCheck(expected_digests(said.metadata, self.digest_keys)), CsvCheck() if rule and rule.csv else None
        )
        # Closed at once when the examination ends early: a file stays open for as long as somebody reads it.
        async with aclosing(content):
            await reading.through(content, tell)
        try:
            real = await asyncio.to_thread(libmagic.detect_type, reading.head)
        except ValidatorUnavailable:
            # It is worth knowing always, but must be known only where a rule asks.
            if rule is not None and rule.checks_type:
                raise
            real = ""
        reasons = [*self._by_rule(rule, said, upload.offset, real), *reading.violations()]
        facts = {"type": real} if real else {}
        return ValidationResult(tuple(reasons), {**facts, **reading.digests.hex_digests(), **_named(rule)})

    def _by_rule(self, rule: ValidationRule | None, said: Declared, length: int, real: str) -> list[str]:
        if rule is None:
            return ["no rule allows it"] if self.rejects_unmatched else []
        return [*declared_violations(rule, said, length), *type_violations(rule, said, real)]

    def applies_to(self, upload: Upload) -> bool:
        """See ``TypeSniffer``: only a rule about types can refuse by the first bytes."""
        rule = first_match(self.rules, declared(upload))
        return rule is not None and rule.checks_type

    async def rejection(self, upload: Upload, head: bytes) -> str:
        """See ``TypeSniffer``."""
        said = declared(upload)
        rule = first_match(self.rules, said)
        if rule is None:
            return ""
        real = await asyncio.to_thread(libmagic.detect_type, head)
        return "; ".join(type_violations(rule, said, real))


def _named(rule: ValidationRule | None) -> dict[str, str]:
    return {"rule": rule.name} if rule is not None and rule.name else {}


class _Looking:
    """What is gathered while the bytes go by, once and in order."""

    def __init__(self, digests: DigestCheck, table: CsvCheck | None) -> None:
        self.digests = digests
        self.head = b""
        self._table = table

    async def through(self, content: Content, tell: OnProgress) -> None:
        batch: list[bytes] = []
        gathered = seen = 0
        async for piece in content:
            batch.append(piece)
            gathered += len(piece)
            if gathered >= _BATCH_BYTES:
                await asyncio.to_thread(self._take, batch)
                seen += gathered
                batch, gathered = [], 0
                await tell(seen)
        await asyncio.to_thread(self._take, batch)

    def violations(self) -> list[str]:
        problem = "" if self._table is None else self._table.end()
        return [*self.digests.violations(), *([problem] if problem else [])]

    def _take(self, pieces: Sequence[bytes]) -> None:
        for piece in pieces:
            if len(self.head) < libmagic.HEAD_BYTES:
                self.head += piece[: libmagic.HEAD_BYTES - len(self.head)]
            self.digests.update(piece)
            if self._table is not None:
                self._table.update(piece)
