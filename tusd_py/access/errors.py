"""The exceptions of access control. They are apart from the modules that raise them, which load a JWT library."""

from __future__ import annotations


class TokenInvalid(Exception):
    """The token is not accepted. The text says why, contains nothing of the token and is safe in a header."""


class TokenExpired(TokenInvalid):
    """The token is genuine but has expired."""


class KeyInvalid(Exception):
    """A key or a set of keys cannot be used; the text says why and contains no key."""


class KeysUnavailable(Exception):
    """No token can be verified at the moment, because the keys could not be fetched."""
