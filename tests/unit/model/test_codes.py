"""Access codes as values: what people type, states, and how long an address waits after wrong guesses."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.harness import EPOCH
from tusd_py.model.codes import (
    ALPHABET,
    FREE_GUESSES,
    GUESSES_KEPT,
    LONGEST_WAIT,
    AccessCode,
    CodeState,
    Guesses,
    format_code,
    normalize,
    wait_before_guess,
)

CODE = AccessCode(id="1", owner="alice", created_at=EPOCH, expires_at=EPOCH + timedelta(seconds=60))


@given(st.text(ALPHABET, min_size=6, max_size=6))
def test_every_code_can_be_typed_as_it_is_shown(code: str) -> None:
    """Shown with a hyphen, typed in lower case, with spaces: it is the same code."""
    for typed in (code, format_code(code), code.lower(), f" {code[:2]} {code[2:]}\t"):
        assert normalize(typed) == code


@pytest.mark.parametrize("text", ["", "ABC", "ABCDEFG", "ABCDE0", "ABCDEI", "ÄBCDEF", "ABCDEF" * 20, "\u212aBCDEF"])
def test_what_is_no_code(text: str) -> None:
    """Another length, other characters, or too long a text are no code."""
    assert normalize(text) == ""


def test_states_of_a_code() -> None:
    """Active until its end, then expired; terminated whenever its owner says so."""
    assert CODE.state(EPOCH) is CodeState.ACTIVE
    assert CODE.remaining_seconds(EPOCH + timedelta(seconds=20)) == 40
    assert CODE.state(CODE.expires_at) is CodeState.EXPIRED
    assert CODE.remaining_seconds(CODE.expires_at + timedelta(days=1)) == 0


@pytest.mark.parametrize(
    ("count", "is_pressed", "seconds"),
    [
        (FREE_GUESSES - 1, False, None),
        (FREE_GUESSES, False, 10),
        (FREE_GUESSES + 1, False, 20),
        (FREE_GUESSES + 4, False, 160),
        (FREE_GUESSES + 5, False, 300),
        (10**6, False, 300),
        (1, True, 300),
    ],
)
def test_wait_doubles_with_each_further_wrong_guess(count: int, is_pressed: bool, seconds: int | None) -> None:
    """The first wrong guesses are free, each further one doubles the wait; while many guess, one is enough."""
    guesses = Guesses(count=count, last_at=EPOCH)
    wait = wait_before_guess(guesses, EPOCH, is_pressed=is_pressed)
    assert wait == (None if seconds is None else timedelta(seconds=seconds))
    assert wait_before_guess(guesses, EPOCH + LONGEST_WAIT, is_pressed=is_pressed) is None
    assert wait_before_guess(guesses, EPOCH + GUESSES_KEPT, is_pressed=True) is None


def test_a_fresh_address_never_waits() -> None:
    """However many others guess, an address without wrong guesses is served."""
    assert wait_before_guess(None, EPOCH, is_pressed=True) is None
