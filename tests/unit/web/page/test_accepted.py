"""What the page can say about accepted files, from the rules of validation."""

from __future__ import annotations

from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tusd_py.model.upload import Upload
from tusd_py.model.validation_rule import ValidationRule
from tusd_py.protocol.metadata import format_metadata
from tusd_py.validation.rules import declared, declared_violations, first_match
from tusd_py.web.page.accepted import ANY_FILE, AcceptedFiles, accepted_files

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
PICTURES = {"extensions": ("png", "jpg")}


def accepted(*rules: dict[str, Any], unmatched: str = "allow") -> AcceptedFiles:
    return accepted_files([ValidationRule(**rule) for rule in rules], unmatched)


def test_no_rules_accept_any_file() -> None:
    """Without rules nothing is said."""
    assert ANY_FILE == accepted() == accepted(unmatched="reject")


def test_rule_for_all_by_extension() -> None:
    """A rule without conditions on extensions holds for every file, and the name decides for certain."""
    expected = AcceptedFiles(types=(".png", ".jpg"), by_name=True, size_min=1, size_max=9)
    assert expected == accepted({**PICTURES, "size_min": 1, "size_max": 9})


def test_types_of_content_are_only_offered() -> None:
    """Types that are found in the bytes are offered with their extensions; the name alone decides nothing."""
    found = accepted({"allowed_types": ("image/*", "application/pdf", "Text/CSV")})
    assert ("image/*", "application/pdf", ".pdf", "text/csv", ".csv") == found.types
    assert not found.by_name


def test_rules_with_conditions_say_nothing_while_others_are_allowed() -> None:
    """A file that meets no rule is accepted, so nothing holds for all."""
    assert ANY_FILE == accepted({**PICTURES, "types": ("image/*",)})


def test_rules_with_conditions_add_up_where_others_are_rejected() -> None:
    """A file has to meet one of the rules: what all together accept is said."""
    rules = ({**PICTURES, "owners": ("a",), "size_max": 5}, {"files": ("*.csv",), "csv": True, "size_max": 7})
    found = accepted(*rules, unmatched="reject")
    assert AcceptedFiles(types=(".png", ".jpg", ".csv"), size_max=7) == found


def test_rules_after_one_for_all_are_not_reached() -> None:
    """The first rule that a file meets decides."""
    assert (".png", ".jpg") == accepted(PICTURES, {"extensions": ("exe",)}).types


@pytest.mark.parametrize(
    "rule",
    [
        {"allowed_types": ("image/p*",)},
        {"allowed_types": ("application/octet-stream",)},
        {"allowed_types": ("image/png", "*")},
        {"files": ("*.tar.gz",)},
        {"files": ("report-*",)},
        {"extensions": ("tar gz",)},
        {"csv": True},
    ],
)
def test_what_a_browser_cannot_be_told_is_not_said(rule: dict[str, Any]) -> None:
    """Patterns that no file chooser knows leave the types out."""
    assert () == accepted(rule, unmatched="reject").types


_NAMES = st.sampled_from(["png", "jpg", "csv", "exe"])
_RULES = st.lists(
    st.builds(
        ValidationRule,
        files=st.lists(_NAMES.map("*.{}".format), max_size=2).map(tuple),
        owners=st.sampled_from([(), ("someone",)]),
        extensions=st.lists(_NAMES, max_size=2).map(tuple),
        size_min=st.integers(0, 3),
        size_max=st.sampled_from([0, 5, 9]),
    ),
    max_size=4,
)


@given(_RULES, st.sampled_from(["allow", "reject"]), _NAMES, st.integers(0, 12), st.sampled_from(["", "someone"]))
def test_page_is_never_stricter_than_the_rules(
    rules: list[ValidationRule], unmatched: str, extension: str, length: int, owner: str
) -> None:
    """A file that the rules accept is refused neither for its name nor for its size."""
    metadata = format_metadata({"filename": f"file.{extension}".encode()})
    upload = Upload(id="1", length=length, created_at=EPOCH, updated_at=EPOCH, metadata_header=metadata, owner=owner)
    rule = first_match(rules, declared(upload))
    if rule is None and unmatched == "reject":
        return
    if rule is not None and list(declared_violations(rule, declared(upload), length)):
        return
    found = accepted_files(rules, unmatched)
    assert not found.by_name or f".{extension}" in found.types
    assert length >= found.size_min
    assert not found.size_max or length <= found.size_max
    assert not found.types or any(fnmatchcase(f".{extension}", each) for each in found.types)
