"""The result of a check of ``tusd-py check``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check. A warning is ``ok``: the server and its worker start all the same."""

    ok: bool
    sentence: str
    is_warning: bool = False

    @property
    def label(self) -> str:
        return ("WARN" if self.is_warning else "ok") if self.ok else "NOT OK"


def warning(sentence: str) -> Check:
    """A check that passed, with advice for the operator."""
    return Check(True, sentence, is_warning=True)
