"""Rules: which one applies to an upload, and which of its requirements the upload violates."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.harness import EPOCH
from tusd_py.model.upload import Upload
from tusd_py.model.validation_rule import ValidationRule
from tusd_py.protocol.metadata import format_metadata
from tusd_py.validation.rules import (
    Declaration,
    declared,
    declared_violations,
    first_match,
    matches,
    quote,
    type_violations,
)

UPLOAD = Upload(id="a", length=5, created_at=EPOCH, updated_at=EPOCH, owner="ada@example.com")


def declaring(**metadata: bytes) -> Declaration:
    return declared(replace(UPLOAD, metadata_header=format_metadata(metadata)))


def test_declaration_of_an_upload() -> None:
    """The type without parameters, the last segment of the name and its extension, and the owner."""
    declaration = declaring(filetype=b"Image/PNG; x=1", filename=b"C:\\pictures\\Cat.PNG")
    expected = ("image/png", "Cat.PNG", "png", "ada@example.com")
    assert expected == (declaration.declared_type, declaration.file_name, declaration.extension, declaration.owner)
    assert ("text/csv", "a") == (declaring(type=b"text/csv").declared_type, declaring(name=b"x/a").file_name)
    assert "" == declaring(filename=b".profile").extension == declaring(filename=b"README").extension


@pytest.mark.parametrize(
    ("rule", "applies"),
    [
        (ValidationRule(), True),
        (ValidationRule(types=("image/*",)), True),
        (ValidationRule(types=("text/*", "IMAGE/png")), True),
        (ValidationRule(types=("text/*",)), False),
        (ValidationRule(files=("*.png",)), True),
        (ValidationRule(files=("*.jpg",)), False),
        (ValidationRule(owners=("*@example.com",)), True),
        (ValidationRule(owners=("bob*",)), False),
        (ValidationRule(metadata={"project": "a*"}), True),
        (ValidationRule(metadata={"project": "b*"}), False),
        (ValidationRule(metadata={"other": "*"}), False),
        (ValidationRule(types=("image/*",), files=("*.jpg",)), False),
    ],
)
def test_conditions_of_a_rule(rule: ValidationRule, applies: bool) -> None:
    """All conditions must be met, each by one of its patterns; a rule without conditions applies to all uploads."""
    declaration = declaring(filetype=b"image/png", filename=b"cat.PNG", project=b"alpha")
    assert (rule if applies else None) == first_match([rule], declaration)


def test_the_first_matching_rule_applies() -> None:
    """Later rules are ignored."""
    rules = [
        ValidationRule(name="csv", types=("text/csv",)),
        ValidationRule(name="images", types=("image/*",)),
        ValidationRule(name="rest"),
    ]
    found = first_match(rules, declaring(filetype=b"image/png"))
    assert found is not None and "images" == found.name


def test_size_and_extension_violations() -> None:
    """The limits are inclusive; the reason names the value and the limit."""
    rule = ValidationRule(size_min=2, size_max=4, extensions=("png", "jpg"))
    good, bad = declaring(filename=b"a.png"), declaring(filename=b"a.exe")
    assert [] == [*declared_violations(rule, good, 2), *declared_violations(rule, good, 4)]
    assert ["it has 1 bytes, fewer than 2"] == list(declared_violations(rule, good, 1))
    assert ["it has 5 bytes, more than 4"] == list(declared_violations(rule, good, 5))
    assert ['the extension of its name, "exe", is not one of png, jpg'] == list(declared_violations(rule, bad, 3))


def test_allowed_types_are_detected_types() -> None:
    """The declared type counts only where it agrees with the bytes."""
    rule = ValidationRule(allowed_types=("image/*", "text/csv"))
    assert [] == list(type_violations(rule, declaring(filetype=b"text/plain"), "image/png"))
    assert [] == list(type_violations(rule, declaring(filetype=b"text/csv"), "text/plain"))
    (reason,) = type_violations(rule, declaring(filetype=b"image/png"), "text/html")
    assert "its type is text/html, which is not one of image/*, text/csv" == reason


def test_type_agrees_requires_a_declared_type() -> None:
    """No type, or one that does not agree, is a violation."""
    rule = ValidationRule(type_agrees=True)
    assert [] == list(type_violations(rule, declaring(filetype=b"image/png"), "image/png"))
    assert ['its type is text/html, but "image/png" was declared'] == list(
        type_violations(rule, declaring(filetype=b"image/png"), "text/html")
    )
    assert ["no type was declared (metadata filetype)"] == list(type_violations(rule, declaring(), "text/html"))


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_any_metadata_can_be_quoted(name: bytes, declared: bytes) -> None:
    """Reasons are short and printable whatever the name and the type contain."""
    declaration = declaring(filename=name, filetype=declared)
    rule = ValidationRule(extensions=("png",), type_agrees=True, files=("*",), types=("*",))
    found = first_match([rule], declaration)
    assert found is rule
    for reason in (*declared_violations(rule, declaration, 1), *type_violations(rule, declaration, "image/png")):
        assert reason.isprintable() and len(reason) < 200


@given(st.text(max_size=20))
def test_a_text_matches_itself(text: str) -> None:
    """A text without special characters matches itself in any case; a star matches all texts."""
    plain = text.translate({ord(sign): None for sign in "*?["}).lower()
    assert matches((plain,), plain) and matches(("*",), text)
    assert quote(text).isprintable()


@pytest.mark.parametrize("pattern", ["*a*a*a*a*a*b", "*[a-z]*[a-z]*[0-9]x", "*?*?*?*b", "a*" * 20 + "b"])
def test_patterns_of_rules_take_linear_time(pattern: str) -> None:
    """The client chooses the value that an operator's pattern is compared with."""
    before = time.thread_time()
    assert not matches((pattern,), "a" * 8000)
    assert time.thread_time() - before < 0.5
