"""Media types that credentials allow: the declared type at the creation, and what the validation is told."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest

from tests.support.harness import CALLER, UploadsHarness
from tusd_py.model.principal import Principal, PrincipalLimits, Role
from tusd_py.model.upload import Kind
from tusd_py.protocol.errors import TypeNotAllowed

pytestmark = pytest.mark.anyio


def harness_of(*types: str) -> UploadsHarness:
    harness = UploadsHarness()
    limits = PrincipalLimits(types=types)
    principal = Principal(subject="alice", roles=frozenset({Role.UPLOADER}), method="jwt", limits=limits)
    harness.caller = replace(CALLER, principal=principal, owner="alice")
    return harness


def of_type(media_type: str) -> str:
    return f"filetype {base64.b64encode(media_type.encode()).decode()}"


@pytest.mark.parametrize(
    ("types", "declared", "is_allowed"),
    [
        (("image/*",), "image/png", True),
        (("image/*",), "text/plain", False),
        (("image/jpeg",), "IMAGE/JPEG; x=y", True),
        (("text/plain", "image/png"), "image/png", True),
        ((), "image/png", False),
    ],
)
async def test_declared_type(types: tuple[str, ...], declared: str, is_allowed: bool) -> None:
    """A declared type that matches no pattern is refused with 415, before anything is recorded."""
    harness = harness_of(*types)
    if not is_allowed:
        with pytest.raises(TypeNotAllowed):
            await harness.create(4, metadata=of_type(declared))
        return
    upload = (await harness.create(4, metadata=of_type(declared))).upload
    assert upload.allowed_types == types


async def test_without_a_declared_type() -> None:
    """An upload without a declared type is refused: the client has to say what it is."""
    with pytest.raises(TypeNotAllowed):
        await harness_of("image/*").create(4)


async def test_part_needs_no_type_but_may_declare_no_other_one() -> None:
    """A part of a parallel upload needs no type, because its final upload has one; another type is refused."""
    harness = harness_of("image/*")
    assert (await harness.create(4, kind=Kind.PARTIAL)).upload.kind is Kind.PARTIAL
    assert (await harness.create(4, kind=Kind.PARTIAL, metadata=of_type("image/png"))).upload.kind is Kind.PARTIAL
    with pytest.raises(TypeNotAllowed):
        await harness.create(4, kind=Kind.PARTIAL, metadata=of_type("text/html"))


async def test_credentials_that_allow_all_types() -> None:
    """Without a limit nothing is recorded."""
    harness = UploadsHarness()
    assert (await harness.create(4)).upload.allowed_types is None
