"""``AccessPorts``: what access control needs of the world. A field for each contract."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tusd_py.access.signing import TokenSigner
from tusd_py.contracts.credentials import CredentialCheck


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessPorts:
    """The backends of access control. It exists only while access control is on.

    ``checks`` has, by ``Principal.method``, what knows of revoked credentials; others have no revocation.
    """

    signer: TokenSigner
    checks: Mapping[str, CredentialCheck] = field(default_factory=dict)
