"""Tokens: which are accepted, the attacks that are refused, and the cache of tokens that were seen."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import subprocess
import sys
import time
from dataclasses import replace
from typing import Any

import jwt
import pytest

from tests.support.tokens import SECRET, Signer, forged, key_set, token
from tusd_py.access import jwt_tokens
from tusd_py.access.errors import TokenExpired, TokenInvalid
from tusd_py.access.jwks import REFRESH_SECONDS, JwksCache
from tusd_py.access.jwt_tokens import TOKEN_BYTES_MAX, JwtRules, JwtVerifier
from tusd_py.access.verification_keys import KeySource, StaticKey, public_key, secret_key

pytestmark = pytest.mark.anyio

RULES = JwtRules(algorithms=("HS256",))
PUBLIC = JwtRules(algorithms=("RS256", "ES256", "EdDSA"))
OURS, ATTACKER = Signer("k1"), Signer("k1")


class Now:
    """The time, which a test moves."""

    def __init__(self) -> None:
        self.offset = 0.0

    def __call__(self) -> float:
        return time.time() + self.offset


def verifier(rules: JwtRules = RULES, keys: KeySource | None = None, now: Now | None = None) -> JwtVerifier:
    return JwtVerifier(rules, keys or StaticKey(secret_key(SECRET)), now or Now(), lambda: 0.0)


async def refused(text: str, rules: JwtRules = RULES, keys: KeySource | None = None) -> str:
    with pytest.raises(TokenInvalid) as invalid:
        await verifier(rules, keys).verify(text.encode("utf-8", "surrogateescape"))
    sentence = str(invalid.value)
    assert sentence.isascii()
    assert sentence.isprintable()
    assert '"' not in sentence
    return sentence


async def test_genuine_tokens() -> None:
    """Tokens of a secret, of a public key and of a published key are accepted."""
    published = JwksCache(lambda: _document(key_set(OURS)), lambda: 0.0)
    rsa = Signer("rsa", "RS256")
    for found in (
        await verifier().verify(token().encode()),
        await verifier(PUBLIC, StaticKey(public_key(rsa.pem))).verify(rsa.token().encode()),
        await verifier(PUBLIC, published).verify(OURS.token().encode()),
    ):
        assert (found.subject, found.method, found.is_expired) == ("alice", "jwt", False)


async def _document(document: bytes) -> bytes:
    return document


CLAIMS = {"sub": "alice", "exp": 2**40}


def signed_by_public_key(pem: bytes) -> str:
    """The classic confusion: the public key, which everyone knows, as a shared secret."""
    text = forged({"alg": "HS256", "typ": "JWT"}, CLAIMS)
    signature = hmac.digest(pem, text.rstrip(".").encode(), hashlib.sha256)
    return text + base64.urlsafe_b64encode(signature).rstrip(b"=").decode()


@pytest.mark.parametrize("rules", [PUBLIC, replace(PUBLIC, algorithms=("HS256", "ES256"))])
async def test_algorithm_confusion(rules: JwtRules) -> None:
    """A token signed with the public key as a secret is refused, even where HS256 is allowed by mistake."""
    await refused(signed_by_public_key(OURS.pem), rules, StaticKey(public_key(OURS.pem)))
    await refused(OURS.token(), replace(RULES, algorithms=("HS256", "ES256")))


async def test_algorithm_that_the_settings_do_not_name() -> None:
    """A genuine token is refused, although the key could have made it."""
    secret = SECRET * 2
    keys, text = StaticKey(secret_key(secret)), token(key=secret, algorithm="HS512")
    assert (
        await verifier(replace(RULES, algorithms=("HS256", "HS512")), keys).verify(text.encode())
    ).subject == "alice"
    assert await refused(text, keys=keys) == "the algorithm of the token is not allowed"


async def test_long_token_is_refused_unread() -> None:
    """A token above 8192 bytes is refused, also with a genuine signature."""
    assert await refused(token(text="x" * TOKEN_BYTES_MAX)) == "the token is too long"


async def test_algorithm_that_the_publisher_of_the_key_does_not_name() -> None:
    """A key that is published for RS256 verifies no RS512, although the settings allow both."""
    signer = Signer("rsa", "RS256")
    published = {**signer.jwk, "alg": "RS256"}
    keys = JwksCache(lambda: _document(json.dumps({"keys": [published]}).encode()), lambda: 0.0)
    rules = replace(PUBLIC, algorithms=("RS256", "RS512"))
    assert (await verifier(rules, keys).verify(signer.token().encode())).subject == "alice"
    signer.algorithm = "RS512"
    assert await refused(signer.token(), rules, keys) == "no key for this token is known"


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "", None, 5, ["HS256"], {"a": 1}])
async def test_no_algorithm(algorithm: object) -> None:
    """An unsigned token is refused, however it spells that."""
    await refused(forged({"alg": algorithm}, CLAIMS))
    await refused(forged({"alg": algorithm}, CLAIMS), replace(RULES, algorithms=("HS256", "none")))


@pytest.mark.parametrize("crit", [["exp"], ["unknown"], [], "b64", [5], None])
async def test_unknown_critical_header(crit: object) -> None:
    """A genuine token that demands what this server does not know is refused (RFC 7515, 4.1.11)."""
    headers = {"crit": crit, "unknown": True}
    text = forged({"alg": "HS256", **headers}, CLAIMS)
    signature = hmac.digest(SECRET.encode(), text.rstrip(".").encode(), hashlib.sha256)
    await refused(text + base64.urlsafe_b64encode(signature).rstrip(b"=").decode())


@pytest.mark.parametrize(
    "headers",
    [
        {"jwk": ATTACKER.jwk},
        {"jku": "https://attacker.example/jwks.json"},
        {"x5u": "https://attacker.example/cert.pem"},
        {"x5c": ["MIIB"]},
    ],
    ids=["jwk", "jku", "x5u", "x5c"],
)
async def test_keys_in_the_token(headers: dict[str, Any]) -> None:
    """A key or URL that the token brings along is not used; beside a genuine signature it does not matter."""
    keys = StaticKey(public_key(OURS.pem))
    await refused(ATTACKER.token(headers=headers), PUBLIC, keys)
    fetched: list[int] = []

    async def fetch() -> bytes:
        fetched.append(1)
        return key_set(OURS)

    await refused(ATTACKER.token(headers=headers), PUBLIC, JwksCache(fetch, lambda: 0.0))
    assert fetched == [1], "only our own URL was fetched"
    assert (await verifier(PUBLIC, keys).verify(OURS.token(headers=headers).encode())).subject == "alice"


@pytest.mark.parametrize(
    "key_id", ["../../etc/passwd", "' OR 1=1 --", "http://attacker.example/", "\x00", "k" * 600, 5, None, ["k1"], {}]
)
async def test_hostile_key_id(key_id: object) -> None:
    """A key id is only looked up."""
    header = {"alg": "ES256", "kid": key_id}
    await refused(forged(header, CLAIMS, b"x" * 64), PUBLIC, JwksCache(lambda: _document(key_set(OURS)), lambda: 0.0))


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "a.b.c",
        "x" * 100,
        "x" * (TOKEN_BYTES_MAX + 1),
        "\udcff\udcfe.\udcff.\udcff",
        token() + "x",
        token()[:-2],
        token(key="another secret of 32 bytes or more"),
        forged({"alg": "HS256"}, CLAIMS),
        forged({"alg": "HS256"}, CLAIMS, b"x" * 32),
        forged({}, CLAIMS),
        base64.urlsafe_b64encode(b"[" * 3000).decode() + ".e30.",
    ],
    ids=range(14),  # the tokens differ in every process
)
async def test_malformed_tokens(text: str) -> None:
    """Whatever a client sends is refused as a token, never with another exception."""
    await refused(text)


def signed(claims: object) -> str:
    return jwt.PyJWS().encode(json.dumps(claims).encode(), SECRET, "HS256")


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": "a"},
        {"exp": 2**40},
        {"sub": "a", "exp": "later"},
        {"sub": "a", "exp": True},
        {"sub": "a", "exp": None},
        {"sub": "a", "exp": float("inf")},
        {"sub": "a", "exp": float("nan")},
        {"sub": "a", "exp": 10**400},
        {"sub": "a", "exp": 2**40, "nbf": 2**39},
        {"sub": "a", "exp": 2**40, "iat": 2**39},
        {"sub": "a", "exp": 2**40, "nbf": "x"},
        {"sub": "a", "exp": 2**40, "aud": "other"},
        {"sub": "a", "exp": 2**40, "roles": 5},
        ["list"],
        "text",
        5,
        None,
    ],
    ids=str,
)
async def test_unusable_claims(claims: object) -> None:
    """A genuine token without a usable subject or expiry, or that is not valid yet, is refused."""
    await refused(signed(claims))


async def test_issuer_audience_and_required_claims() -> None:
    """Each that is set must be there and match."""
    rules = replace(RULES, issuer="https://id.example", audience=("uploads", "other"), required_claims=("tenant",))
    good: dict[str, Any] = {"iss": "https://id.example", "aud": ["x", "uploads"], "tenant": "t"}
    assert (await verifier(rules).verify(token(**good).encode())).subject == "alice"
    assert "issuer" in await refused(token(**{**good, "iss": "https://id.example.attacker"}), rules)
    assert "audience" in await refused(token(**{**good, "aud": ["uploads2"]}), rules)
    for name in good:
        await refused(token(**{key: value for key, value in good.items() if key != name}), rules)


async def test_token_expires_after_its_leeway_and_later_for_head() -> None:
    """A token expires after its leeway; HEAD accepts it for a while longer, and the principal says so."""
    now = Now()
    checked = verifier(RULES, now=now)
    text = token(seconds=100).encode()
    assert await checked.verify(text)
    now.offset = 129
    assert not (await checked.verify(text)).is_expired
    now.offset = 131
    with pytest.raises(TokenExpired):
        await checked.verify(text)
    assert (await checked.verify(text, allow_expired=True)).is_expired
    now.offset = 100 + 3601
    with pytest.raises(TokenExpired):
        await checked.verify(text, allow_expired=True)
    with pytest.raises(TokenInvalid):
        await checked.verify(token(seconds=-10, key="another secret of 32 bytes or more").encode(), allow_expired=True)


async def test_seen_token_is_not_verified_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that was seen costs no signature, until the keys change or it expires; the cache is bounded."""
    document, now = [key_set(OURS)], [0.0]
    keys = JwksCache(lambda: _document(document[0]), lambda: now[0])
    checked = JwtVerifier(PUBLIC, keys, time.time, lambda: now[0])
    text = OURS.token().encode()
    decoded: list[int] = []
    decode = jwt.decode

    def counted(*arguments: Any, **named: Any) -> Any:
        decoded.append(1)
        return decode(*arguments, **named)

    monkeypatch.setattr(jwt, "decode", counted)
    for _ in range(5):
        await checked.verify(text)
    assert len(decoded) == 1
    # The key is replaced: what was verified with it is refused at the next regular fetch, without a restart.
    document[0] = key_set(Signer("k2"))
    now[0] = REFRESH_SECONDS
    with pytest.raises(TokenInvalid):
        await checked.verify(text)


async def test_recalled_tokens() -> None:
    """Only a token that was verified is recalled, until its keys are due, or have changed, or it expires."""
    document, now, clock = [key_set(OURS)], [0.0], Now()
    keys = JwksCache(lambda: _document(document[0]), lambda: now[0])
    checked = JwtVerifier(PUBLIC, keys, clock, lambda: now[0])
    text = OURS.token(seconds=1000).encode()
    assert checked.recall(text) is None
    principal = await checked.verify(text)
    assert checked.recall(text) is principal
    for other in (text + b"x", text[:-1], b"", OURS.token("bob").encode()):
        assert checked.recall(other) is None
    clock.offset = 1029
    assert checked.recall(text) is principal
    clock.offset = 1031
    assert await checked.verify(text, allow_expired=True)
    assert checked.recall(text) is None
    clock.offset = 0
    now[0] = REFRESH_SECONDS
    assert checked.recall(text) is None, "the key set is due"
    document[0] = key_set(Signer("k2"))
    await keys.refresh()
    assert checked.recall(text) is None, "the key was replaced"


async def test_refused_tokens_are_not_recalled() -> None:
    """Neither a forged one nor one that had expired when it came first."""
    checked = verifier()
    for text in (token(key="another secret of 32 bytes or more"), token(seconds=-100)):
        with pytest.raises(TokenInvalid):
            await checked.verify(text.encode())
        assert checked.recall(text.encode()) is None


async def test_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest tokens are forgotten, and tokens that are refused are not remembered."""
    monkeypatch.setattr(jwt_tokens, "CACHE_TOKENS_MAX", 3)
    checked = verifier()
    for number in range(10):
        await checked.verify(token(f"user {number}").encode())
        with pytest.raises(TokenInvalid):
            await checked.verify(token(f"user {number}", key="another secret of 32 bytes or more").encode())
    assert len(checked._seen) == 3


def test_the_library_is_loaded_only_when_needed() -> None:
    """A server without tokens loads neither the JWT library nor cryptography."""
    code = "import sys, tusd_py.service; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert {"jwt", "cryptography"}.isdisjoint(loaded)
