"""Rules: which one an upload falls under, and what speaks against it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.harness import EPOCH
from tusd_py.model.upload import Upload
from tusd_py.model.validation_rule import ValidationRule
from tusd_py.protocol.metadata import format_metadata
from tusd_py.validation.rules import (
    Declared,
    declared,
    declared_violations,
    first_match,
    matches,
    shown,
    type_violations,
)

UPLOAD = Upload(id="a", length=5, created_at=EPOCH, updated_at=EPOCH, owner="ada@example.com")


def said(**metadata: bytes) -> Declared:
    return declared(replace(UPLOAD, metadata_header=format_metadata(metadata)))


def test_what_is_said_about_an_upload_is_gathered() -> None:
    """The declared type without parameters, the last segment of the name and its extension, and the owner."""
    told = said(filetype=b"Image/PNG; x=1", filename=b"C:\\pictures\\Cat.PNG")
    expected = ("image/png", "Cat.PNG", "png", "ada@example.com")
    assert expected == (told.declared_type, told.file_name, told.extension, told.owner)
    assert ("text/csv", "a") == (said(type=b"text/csv").declared_type, said(name=b"x/a").file_name)
    assert "" == said(filename=b".profile").extension == said(filename=b"README").extension


@pytest.mark.parametrize(
    ("rule", "falls"),
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
def test_an_upload_falls_under_a_rule_whose_conditions_it_meets(rule: ValidationRule, falls: bool) -> None:
    """All conditions, each with one of its patterns; no condition is met by everything."""
    told = said(filetype=b"image/png", filename=b"cat.PNG", project=b"alpha")
    assert (rule if falls else None) == first_match([rule], told)


def test_the_first_rule_that_fits_holds() -> None:
    """A later rule is not asked, however well it fits."""
    rules = [
        ValidationRule(name="csv", types=("text/csv",)),
        ValidationRule(name="images", types=("image/*",)),
        ValidationRule(name="rest"),
    ]
    found = first_match(rules, said(filetype=b"image/png"))
    assert found is not None and "images" == found.name


def test_sizes_and_extensions_are_bounds() -> None:
    """At the bound is within it; the reason says the figure and the bound."""
    rule = ValidationRule(size_min=2, size_max=4, extensions=("png", "jpg"))
    good, bad = said(filename=b"a.png"), said(filename=b"a.exe")
    assert [] == [*declared_violations(rule, good, 2), *declared_violations(rule, good, 4)]
    assert ["it has 1 bytes, fewer than 2"] == list(declared_violations(rule, good, 1))
    assert ["it has 5 bytes, more than 4"] == list(declared_violations(rule, good, 5))
    assert ['the extension of its name, "exe", is not one of png, jpg'] == list(declared_violations(rule, bad, 3))


def test_types_are_allowed_by_what_the_bytes_are() -> None:
    """What was declared helps only where it agrees with the bytes."""
    rule = ValidationRule(allowed_types=("image/*", "text/csv"))
    assert [] == list(type_violations(rule, said(filetype=b"text/plain"), "image/png"))
    assert [] == list(type_violations(rule, said(filetype=b"text/csv"), "text/plain"))
    (reason,) = type_violations(rule, said(filetype=b"image/png"), "text/html")
    assert "its type is text/html, which is not one of image/*, text/csv" == reason


def test_a_type_that_must_agree_must_be_declared() -> None:
    """None, or another one, is a reason."""
    rule = ValidationRule(type_agrees=True)
    assert [] == list(type_violations(rule, said(filetype=b"image/png"), "image/png"))
    assert ['its type is text/html, but "image/png" was declared'] == list(
        type_violations(rule, said(filetype=b"image/png"), "text/html")
    )
    assert ["no type was declared (metadata filetype)"] == list(type_violations(rule, said(), "text/html"))


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_whatever_a_client_says_can_be_told(name: bytes, declared: bytes) -> None:
    """No name and no type breaks a rule or a sentence: what is shown is short and visible."""
    told = said(filename=name, filetype=declared)
    rule = ValidationRule(extensions=("png",), type_agrees=True, files=("*",), types=("*",))
    found = first_match([rule], told)
    assert found is rule
    for reason in (*declared_violations(rule, told, 1), *type_violations(rule, told, "image/png")):
        assert reason.isprintable() and len(reason) < 200


@given(st.text(max_size=20))
def test_a_pattern_of_the_text_itself_fits(text: str) -> None:
    """A text without signs of patterns fits itself in whatever case, and a star fits all."""
    plain = text.translate({ord(sign): None for sign in "*?["}).lower()
    assert matches((plain,), plain) and matches(("*",), text)
    assert shown(text).isprintable()
