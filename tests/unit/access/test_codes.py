"""Tokens of redeemed codes: what is accepted, for how long, and after a replacement of the secret."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.harness import EPOCH, Clock
from tusd_py.access.codes import CODE_PREFIX, RENEWAL, CodeVerifier, code_token, create_code, redeem
from tusd_py.access.errors import TokenExpired, TokenInvalid
from tusd_py.access.signing import TokenSigner
from tusd_py.contracts.codes import AccessCodes
from tusd_py.model.codes import AccessCode
from tusd_py.model.principal import Role
from tusd_py.protocol.access_errors import CodeEnded
from tusd_py.records.sql.database import SqlDatabase

pytestmark = pytest.mark.anyio

OLD, NEW = ("old", b"an old secret of 32 bytes or more"), ("new", b"a new secret of 32 bytes or more")
SIGNER = TokenSigner([OLD])
CODE = AccessCode(id="c1", owner="alice", created_at=EPOCH, expires_at=EPOCH + timedelta(hours=1))


@pytest.fixture
async def codes(tmp_path: Path) -> AsyncIterator[AccessCodes]:
    database = await SqlDatabase.open(f"sqlite:///{tmp_path}/records.sqlite3")
    yield database.codes
    await database.close()


async def test_life_of_a_token(codes: AccessCodes) -> None:
    """A token is valid for its seconds; then HEAD and a renewal accept it for a while; the code's end is its end."""
    await create_code(codes, SIGNER, CODE)
    clock = Clock()
    verifier = CodeVerifier(codes, SIGNER, clock)
    token = code_token(SIGNER, CODE, clock(), 300)
    assert token.expires_at == EPOCH + timedelta(seconds=300)
    bearer = await verifier.verify(token.text.encode())
    assert (bearer.subject, bearer.roles, bearer.grant) == ("alice", frozenset({Role.CODE}), "code:c1")
    clock.move(300)
    with pytest.raises(TokenExpired):
        await verifier.verify(token.text.encode())
    assert (await verifier.verify(token.text.encode(), allow_expired=True)).is_expired
    clock.move(RENEWAL.total_seconds())
    with pytest.raises(TokenExpired):
        await verifier.verify(token.text.encode(), allow_expired=True)
    late = code_token(SIGNER, CODE, EPOCH + timedelta(minutes=59), 300)
    assert late.expires_at == CODE.expires_at
    clock.now = CODE.expires_at
    with pytest.raises(CodeEnded):
        await verifier.verify(late.text.encode(), allow_expired=True)


async def test_what_is_no_token(codes: AccessCodes) -> None:
    """Texts that were signed for another purpose, changed ones and empty ones are refused."""
    await create_code(codes, SIGNER, CODE)
    token = code_token(SIGNER, CODE, EPOCH, 300).text
    verifier = CodeVerifier(codes, SIGNER, Clock())
    prefix = CODE_PREFIX.decode()
    for wrong in ("", prefix, token[:-1], token + "x", prefix + SIGNER.sign("link", b'["c1", 9999999999]'), "a.b.c"):
        with pytest.raises(TokenInvalid):
            await verifier.verify(wrong.encode())


async def test_secrets_are_replaced_while_codes_live(codes: AccessCodes) -> None:
    """With the new secret first, codes and tokens of the old one go on; without the old one both have ended."""
    text = await create_code(codes, SIGNER, CODE)
    token = code_token(SIGNER, CODE, EPOCH, 300).text.encode()
    both, new = TokenSigner([NEW, OLD]), TokenSigner([NEW])
    assert (await redeem(codes, both, text, "192.0.2.1", EPOCH)).code == CODE
    assert (await CodeVerifier(codes, both, Clock()).verify(token)).grant == "code:c1"
    assert (await redeem(codes, new, text, "192.0.2.1", EPOCH)).code is None
    with pytest.raises(TokenInvalid):
        await CodeVerifier(codes, new, Clock()).verify(token)


async def test_a_code_that_is_taken_is_drawn_again(codes: AccessCodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two codes never have the same characters."""
    drawn = iter("222222" * 2 + "333333")
    monkeypatch.setattr("tusd_py.access.codes.secrets.choice", lambda _: next(drawn))
    assert await create_code(codes, SIGNER, CODE) == "222222"
    assert await create_code(codes, SIGNER, replace(CODE, id="c2")) == "333333"
