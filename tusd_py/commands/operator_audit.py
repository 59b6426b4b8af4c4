"""Entries of the audit log about what an operator does with a command."""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tusd_py.model.audit import AuditActor, AuditEntry, AuditKind
    from tusd_py.settings import Settings


def operator() -> AuditActor:
    """The user of this machine who runs the command."""
    from tusd_py.model.audit import BY_COMMAND, AuditActor

    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        # A container may run as a user that it does not know.
        name = f"uid {os.getuid()}"
    return AuditActor(name, BY_COMMAND)


def operator_entries(
    settings: Settings, verb: str, kind: AuditKind, object_id: str, reason: str = ""
) -> tuple[AuditEntry, ...]:
    """The entry for the transaction of a command's act, if the audit log is on."""
    if not settings.audit.enabled or not settings.has_database:
        return ()
    from tusd_py.model.audit import AuditEntry
    from tusd_py.wiring.clock import utc_now

    actor = operator()
    entry = AuditEntry(
        at=utc_now(),
        subject=actor.subject,
        method=actor.method,
        verb=verb,
        kind=kind,
        object_id=object_id,
        reason=reason,
    )
    return (entry,)
