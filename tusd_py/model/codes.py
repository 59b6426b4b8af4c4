"""Access codes: a few characters that let people without an account upload for a while. Values and arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

#: The prefix of ``Upload.grant`` and ``Principal.grant`` for uploads made with a code.
CODE_GRANT = "code:"
#: Letters and digits that people do not confuse when they read or hear them: without 0, O, 1, I and L.
ALPHABET = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"
CODE_CHARACTERS = 6
_SEPARATORS = str.maketrans("", "", " -\t\u2010\u2011\u2013")
#: Longer texts are refused unread.
_ENTRY_CHARACTERS_MAX = 64

#: After this many wrong guesses an address need not wait yet: people mistype.
FREE_GUESSES = 5
#: The wait after one more; it doubles with each further one, up to the longest.
FIRST_WAIT = timedelta(seconds=10)
LONGEST_WAIT = timedelta(minutes=5)
#: Guesses are forgotten when an address has made none for this long.
GUESSES_KEPT = timedelta(hours=1)
#: If so many addresses have guessed wrong within a minute, each that has waits for the longest time.
PRESSED_ADDRESSES = 60
PRESSED_WITHIN = timedelta(minutes=1)


class CodeState(StrEnum):
    ACTIVE = "active"
    EXPIRED = "expired"
    TERMINATED = "terminated"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessCode:
    """One code. The code itself is kept as a keyed digest only.

    ``files_max`` and ``bytes_max`` limit everything that is uploaded with the code together; ``None`` is no limit.
    """

    id: str
    owner: str
    label: str = ""
    created_at: datetime
    expires_at: datetime
    files_max: int | None = None
    bytes_max: int | None = None
    files: int = 0
    bytes: int = 0
    terminated_at: datetime | None = None
    warned_at: datetime | None = None  # when its end was announced

    @property
    def grant(self) -> str:
        return f"{CODE_GRANT}{self.id}"

    def state(self, now: datetime) -> CodeState:
        if self.terminated_at is not None:
            return CodeState.TERMINATED
        return CodeState.EXPIRED if now >= self.expires_at else CodeState.ACTIVE

    def remaining_seconds(self, now: datetime) -> float:
        """How long the code can still be used."""
        if self.state(now) is not CodeState.ACTIVE:
            return 0.0
        return (self.expires_at - now).total_seconds()


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeCharge:
    """The charge of a change of an upload to the limits of the access code with which it was made.

    ``is_new`` says that the upload is new, which needs an active code. Saved in the transaction of the change.
    """

    code_id: str
    files: int
    bytes: int
    at: datetime
    is_new: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Guesses:
    """The wrong guesses of one address."""

    count: int
    last_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Redemption:
    """The result of an attempt to redeem a code: the code, or a wait, or neither if the guess was wrong."""

    code: AccessCode | None = None
    wait: timedelta | None = None


def normalize(text: str) -> str:
    """The code that a person has typed: in any case, with spaces and hyphens anywhere; empty if it can be none."""
    if len(text) > _ENTRY_CHARACTERS_MAX:
        return ""
    code = text.translate(_SEPARATORS).upper()
    return code if len(code) == CODE_CHARACTERS and all(each in ALPHABET for each in code) else ""


def format_code(code: str) -> str:
    """``ABC-DEF``, as it is shown to people."""
    return f"{code[:3]}-{code[3:]}"


def wait_before_guess(guesses: Guesses | None, now: datetime, *, is_pressed: bool) -> timedelta | None:
    """How long an address with these wrong guesses must wait for the next attempt; ``None`` if it need not.

    An address without wrong guesses never waits, however many others guess: a right code works at once.
    ``is_pressed`` says that many addresses guess.
    """
    if guesses is None or now - guesses.last_at >= GUESSES_KEPT:
        return None
    if is_pressed:
        wait = LONGEST_WAIT
    elif guesses.count >= FREE_GUESSES:
        wait = min(FIRST_WAIT * 2 ** min(guesses.count - FREE_GUESSES, 16), LONGEST_WAIT)
    else:
        return None
    left = guesses.last_at + wait - now
    return left if left > timedelta(0) else None
