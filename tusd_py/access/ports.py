"""``AccessPorts``: what access control needs of the world. A field for each contract."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from tusd_py.access.signing import TokenSigner
from tusd_py.contracts.codes import AccessCodes
from tusd_py.contracts.credentials import CredentialCheck
from tusd_py.contracts.links import Links


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessPorts:
    """The backends of access control. It exists only while access control is on.

    ``checks`` has, by ``Principal.method``, what knows of revoked credentials; others have no revocation.
    """

    signer: TokenSigner
    clock: Callable[[], datetime]  # that of ``Ports``
    checks: Mapping[str, CredentialCheck] = field(default_factory=dict)
    links: Links | None = None  # None while links are off
    codes: AccessCodes | None = None  # None while access codes are off
