"""``AccessPorts``: the backends of access control, one field for each contract."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from tusd_py.access.accounts import AccountEditor
from tusd_py.access.guess_waits import GuessWaits
from tusd_py.access.login import Logins
from tusd_py.access.signing import TokenSigner
from tusd_py.access.watchers import Watchers
from tusd_py.contracts.accounts import Accounts, ApiKeys
from tusd_py.contracts.codes import AccessCodes
from tusd_py.contracts.credentials import CredentialCheck, TokenVerifier
from tusd_py.contracts.links import Links


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantTerms:
    """The longest lifetimes of links and codes, and the lifetime of the tokens of redeemed codes, in seconds."""

    link_seconds_max: float = 2592000.0
    code_seconds_max: float = 86400.0
    code_token_seconds: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessPorts:
    """The backends of access control. It exists only while access control is on.

    ``verifiers`` has what verifies the tokens that this server makes itself, by their prefix (``b"tusd_key_"``).
    ``checks`` has, by ``Principal.method``, what knows of revoked credentials; others have no revocation.
    """

    signer: TokenSigner
    clock: Callable[[], datetime]
    verifiers: Mapping[bytes, TokenVerifier] = field(default_factory=dict)
    checks: Mapping[str, CredentialCheck] = field(default_factory=dict)
    accounts: Accounts | None = None  # None where records are kept in memory
    api_keys: ApiKeys | None = None  # the same
    logins: Logins | None = None  # None while accounts are off
    editor: AccountEditor | None = None  # the same
    links: Links | None = None  # None while links are off
    codes: AccessCodes | None = None  # None while access codes are off
    terms: GrantTerms = GrantTerms()
    watchers: Watchers = field(default_factory=Watchers)
    guess_waits: GuessWaits = field(default_factory=GuessWaits)

    def close(self) -> None:
        """End the threads that belong to it."""
        if self.logins is not None:
            self.logins.passwords.close()
