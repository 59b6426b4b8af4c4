"""The rows of links and codes in the transaction of a record: a new link, and the charge to a code."""

from __future__ import annotations

from dataclasses import dataclass

from tusd_py.contracts.codes import CodeExhausted
from tusd_py.model.codes import AccessCode, CodeCharge, CodeState
from tusd_py.model.jobs import Effects
from tusd_py.model.links import Link
from tusd_py.records.sql.code_rows import to_code
from tusd_py.records.sql.code_statements import CodeStatements
from tusd_py.records.sql.driver import DatabaseConnection
from tusd_py.records.sql.link_rows import LinkStatements, link_row


@dataclass(frozen=True, slots=True)
class GrantStatements:
    """The statements of links and of codes."""

    links: LinkStatements
    codes: CodeStatements


@dataclass(frozen=True, slots=True)
class GrantRows:
    """Checks the count of a code before the record is changed, and writes it after that, in the same transaction."""

    sql: GrantStatements
    charge: CodeCharge | None
    link: Link | None

    def check(self, connection: DatabaseConnection) -> CodeExhausted | None:
        """``CodeExhausted`` if the code has ended or would exceed its limits. Counts that fall are never refused."""
        charge = self.charge
        if charge is None or (charge.files <= 0 and charge.bytes <= 0 and not charge.is_new):
            return None
        # Two servers must not both take the last file.
        connection.lock_keys([f"code {charge.code_id}"])
        row = connection.execute(self.sql.codes.find, {"code_id": charge.code_id}).fetchone()
        code = None if row is None else to_code(row)
        if code is not None and _allows(code, charge):
            return None
        refused = CodeExhausted(f"code {charge.code_id}")
        refused.code = code
        return refused

    def write(self, connection: DatabaseConnection) -> None:
        if self.link is not None:
            connection.execute(self.sql.links.add, link_row(self.link))
        charge = self.charge
        if charge is not None and (charge.files or charge.bytes):
            values: dict[str, object] = {
                "code_id": charge.code_id,
                "more_files": charge.files,
                "more_bytes": charge.bytes,
            }
            connection.execute(self.sql.codes.count, values)


def grant_rows(sql: GrantStatements, effects: Effects) -> GrantRows | None:
    """The rows for the link and the code of ``effects``; ``None`` if there are none."""
    if effects.code is None and effects.link is None:
        return None
    return GrantRows(sql, effects.code, effects.link)


def _allows(code: AccessCode, charge: CodeCharge) -> bool:
    # The owner of a code may continue its uploads after its end; its bearer is refused before.
    if charge.is_new and code.state(charge.at) is not CodeState.ACTIVE:
        return False
    if charge.files > 0 and code.files_max is not None and code.files + charge.files > code.files_max:
        return False
    return not (charge.bytes > 0 and code.bytes_max is not None and code.bytes + charge.bytes > code.bytes_max)
