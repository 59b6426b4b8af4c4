"""What must hold, an extension a file. ``all_cases`` is the whole suite in the order of its tables."""

from __future__ import annotations

from types import ModuleType

from tests.conformance.case import AREAS, Case
from tests.conformance.cases import (
    bodies,
    browsers,
    checksum,
    checksum_trailer,
    clients,
    concatenation,
    concatenation_unfinished,
    concurrency,
    connections,
    creation,
    creation_defer_length,
    creation_with_upload,
    discovery,
    expiration,
    head,
    metadata,
    override,
    patch,
    refusals,
    termination,
    version,
)

_MODULES: tuple[ModuleType, ...] = (
    discovery,
    version,
    override,
    head,
    patch,
    bodies,
    refusals,
    creation,
    metadata,
    creation_defer_length,
    creation_with_upload,
    expiration,
    checksum,
    checksum_trailer,
    termination,
    concatenation,
    concatenation_unfinished,
    concurrency,
    connections,
    browsers,
    clients,
)


def all_cases() -> list[Case]:
    found = [value for module in _MODULES for value in vars(module).values() if isinstance(value, Case)]
    return sorted(found, key=lambda case: AREAS.index(case.extension))
