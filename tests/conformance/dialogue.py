"""The transcript of a conversation: requests, expectations and responses, printed side by side."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.conformance.expectations import (
    Expected,
    Status,
    header_holds,
    header_shown,
    header_words,
    status_holds,
    status_words,
)
from tests.conformance.wire import Answer, NoAnswer

_LEFT_COLUMNS = 58
_VALUE_COLUMNS_MAX = 72
_DULL = ("Content-Length", "Content-Type: application/offset", "[")  # no news in a one-line deviation


@dataclass(frozen=True)
class Check:
    """One expectation and the observed value."""

    wanted: str
    got: str
    holds: bool


@dataclass
class Exchange:
    """A request with its response and the expectations of it."""

    request_lines: list[str]
    answer: Answer | NoAnswer
    is_setup: bool = False
    checks: list[Check] = field(default_factory=list)

    def expect(self, status: Status, **headers: Expected) -> Exchange:
        """Compare with the response and record the result: a case continues after a deviation, and fails at its end."""
        if isinstance(self.answer, NoAnswer):
            self.checks.append(Check(status_words(status), f"no answer: {self.answer.what}", False))
            return self
        got = self.answer
        self.checks.append(
            Check(status_words(status), f"{got.status} {got.reason}".strip(), status_holds(status, got.status))
        )
        for key, expected in headers.items():
            name = header_name(key)
            value = got.one(name)
            shown = header_shown(expected, value)
            self.checks.append(
                Check(f"{name}: {header_words(expected)}", f"{name}: {shown}", header_holds(expected, value))
            )
        return self

    def check(self, wanted: str, got: object, holds: bool) -> Exchange:
        """Record the check of something other than a status or a header."""
        self.checks.append(Check(wanted, str(got), holds))
        return self

    def expect_no_continue(self) -> Exchange:
        """Expect that the server did not request the body: no ``100 Continue`` before the response."""
        interim = ", ".join(str(status) for status in self.answer.interim)
        return self.check("no 100 Continue", interim or "none", not self.answer.interim)

    def header(self, name: str) -> str | None:
        return self.answer.one(name) if isinstance(self.answer, Answer) else None

    def number(self, name: str) -> int:
        """The header as a number; -1 if it is not a number."""
        value = self.header(name)
        return int(value) if value is not None and value.isascii() and value.isdigit() else -1

    @property
    def status(self) -> int:
        """The status code; 0 without a response."""
        return self.answer.status if isinstance(self.answer, Answer) else 0

    @property
    def body(self) -> bytes:
        return self.answer.body if isinstance(self.answer, Answer) else b""

    @property
    def seconds(self) -> float:
        return self.answer.seconds if isinstance(self.answer, Answer) else float("inf")

    @property
    def holds(self) -> bool:
        return all(check.holds for check in self.checks)

    def deviation(self) -> str:
        """The first failed expectation in one line, ``METHOD: expected X, got Y``."""
        failed = next(check for check in self.checks if not check.holds)
        setup = "could not set up: " if self.is_setup else ""
        shown = "; ".join(line for line in self.request_lines[1:] if not line.startswith(_DULL))
        request = self.request_lines[0].split(" ")[0] + (f" [{_short(shown)}]" if shown else "")
        return f"{setup}{request}: expected {failed.wanted}, got {_short(failed.got)}"


class SetupFailed(Exception):
    """The setup of a case failed; the dialogue shows why."""


@dataclass
class Dialogue:
    """The exchanges of one case, in order."""

    exchanges: list[Exchange] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return all(exchange.holds for exchange in self.exchanges)

    def deviations(self) -> list[str]:
        return [exchange.deviation() for exchange in self.exchanges if not exchange.holds]

    def lines(self) -> Iterable[str]:
        """The whole conversation: requests on the left, expected and observed answers beside each other below them."""
        for _, group in itertools.groupby(self.exchanges, key=_kind):
            exchanges = list(group)
            skipped = exchanges[2:-1]
            for exchange in exchanges:
                if exchange not in skipped:
                    yield from _lines_of(exchange)
                elif exchange is skipped[0]:
                    yield f"    … {len(skipped)} more like it"


def header_name(key: str) -> str:
    """``upload_offset`` as ``Upload-Offset``: the cases write headers as keyword arguments."""
    return key.replace("_", "-").title().replace("X-Http-", "X-HTTP-")


def _kind(exchange: Exchange) -> tuple[str, int] | int:
    """The key by which consecutive similar exchanges are collapsed; unique if an expectation failed."""
    return (exchange.request_lines[0], exchange.status) if exchange.holds and len(exchange.checks) < 2 else id(exchange)


def _lines_of(exchange: Exchange) -> Iterable[str]:
    for number, line in enumerate(exchange.request_lines):
        yield ("  > " if number == 0 else "    ") + _short(line)
    if not exchange.checks:
        yield f"  < {'':{_LEFT_COLUMNS}}   {_summary(exchange.answer)}"
    for number, check in enumerate(exchange.checks):
        start, mark = "  < " if number == 0 else "    ", "  " if check.holds else "✗ "
        yield f"{start}{_short(check.wanted):{_LEFT_COLUMNS}} {mark}{_short(check.got)}"


def _summary(answer: Answer | NoAnswer) -> str:
    return f"no answer: {answer.what}" if isinstance(answer, NoAnswer) else f"{answer.status} {answer.reason}".strip()


def _short(text: str) -> str:
    printable = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
    return printable if len(printable) <= _VALUE_COLUMNS_MAX else f"{printable[: _VALUE_COLUMNS_MAX - 1]}…"
