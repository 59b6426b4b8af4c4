"""Which versions of the program can use a schema."""

from __future__ import annotations

import pytest

from tusd_py.records.sql.revision import SchemaRevision


@pytest.mark.parametrize(
    ("found", "usable"),
    [
        (SchemaRevision("0012", "0012"), True),  # its own
        (SchemaRevision("0011", "0011"), False),  # migrations are pending
        (SchemaRevision("0013", "0012"), True),  # a newer version has only added something
        (SchemaRevision("0014", "0013"), False),
        (SchemaRevision("0013"), False),  # says nothing
    ],
)
def test_schema_is_usable_by_the_versions_that_it_allows(found: SchemaRevision, usable: bool) -> None:
    """Its own version, and older ones from ``oldest`` on; a newer version has to migrate it first."""
    assert usable == found.is_usable_by("0012")
