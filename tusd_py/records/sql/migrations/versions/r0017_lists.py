"""Add the columns of lists of uploads; a server with the API creates their indexes."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

from tusd_py.protocol.listing import declared_fields

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_BATCH = 1000


def upgrade() -> None:
    by_code_points = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    for name, kind in (("name_key", by_code_points), ("declared_type", sa.Text()), ("detected_type", sa.Text())):
        op.add_column("uploads", sa.Column(name, kind, nullable=False, server_default=""))
    _fill()


def _fill() -> None:
    """Derive the new columns of the uploads that there are, by the code that derives those of later ones."""
    connection = op.get_bind()
    select = sa.text(
        "SELECT id, metadata_header, history FROM uploads WHERE id > :after ORDER BY id LIMIT :batch"
    ).bindparams(batch=_BATCH)
    update = sa.text(
        "UPDATE uploads SET name_key = :name_key, declared_type = :declared, detected_type = :detected WHERE id = :id"
    )
    after = ""
    while rows := connection.execute(select, {"after": after}).fetchall():
        after = rows[-1][0]
        changes = [row for row in map(_derived, rows) if row["name_key"] or row["declared"] or row["detected"]]
        if changes:
            connection.execute(update, changes)


def _derived(row: Any) -> dict[str, str]:
    upload_id, metadata_header, history = row
    name_key, declared = declared_fields(metadata_header)
    entries = json.loads(history) if isinstance(history, str) else history
    found = [
        entry.get("details", {}).get("type", "")
        for entry in (entries if isinstance(entries, list) else ())
        if entry.get("name") == "validation"
    ]
    detected = next((each for each in found if each), "")
    return {"id": upload_id, "name_key": name_key, "declared": declared, "detected": detected}
