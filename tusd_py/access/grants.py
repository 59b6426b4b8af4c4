"""The limits of links and access codes for the uploads made with them. Pure."""

from __future__ import annotations

from datetime import datetime

from tusd_py.access.quota import charged_bytes
from tusd_py.model.codes import CODE_GRANT, AccessCode, CodeCharge, CodeState
from tusd_py.model.upload import Kind, Upload
from tusd_py.protocol.access_errors import CodeEnded, CodeLimitReached


def code_charge(before: Upload | None, after: Upload) -> CodeCharge | None:
    """The charge of a change of a record to the access code of its upload; ``None`` if there is no code or no change.

    A final upload counts as a file, and its parts count their bytes.
    """
    if not after.grant.startswith(CODE_GRANT):
        return None
    is_new = before is None
    count = 0 if after.kind is Kind.FINAL else charged_bytes(after) - (0 if before is None else charged_bytes(before))
    if not is_new and not count:
        return None
    return CodeCharge(
        code_id=after.grant.removeprefix(CODE_GRANT),
        files=int(is_new and after.kind is not Kind.PARTIAL),
        bytes=count,
        at=after.updated_at,
        is_new=is_new,
    )


def code_refusal(code: AccessCode | None, at: datetime) -> CodeEnded | CodeLimitReached:
    """The error for a client whose upload the code does not allow."""
    if code is None or code.state(at) is not CodeState.ACTIVE:
        return CodeEnded()
    limits = {"files": (code.files_max, code.files), "bytes": (code.bytes_max, code.bytes)}
    found = {name: pair for name, pair in limits.items() if pair[0] is not None}
    return CodeLimitReached(
        allowed=" and ".join(f"{allowed} {name}" for name, (allowed, _) in found.items()),
        used=" and ".join(f"{used} {name}" for name, (_, used) in found.items()),
    )


def part_uses_max(uses_max: int, final: Upload) -> int:
    """How often a part of ``final`` may be used: with a code once, because its uses count no bytes."""
    return 1 if final.grant.startswith(CODE_GRANT) else uses_max
