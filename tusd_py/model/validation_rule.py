"""One rule of the operator about which uploads the server accepts (docs/validation.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationRule:
    """The conditions that select an upload, and the requirements for the uploads that meet all of them.

    Patterns are shell patterns (``*``, ``?``, ``[...]``) and ignore case; of a list, one pattern must match. An empty
    value, or a size of 0, is neither a condition nor a requirement.
    """

    name: str = ""
    types: tuple[str, ...] = ()  # condition: patterns of the declared type
    files: tuple[str, ...] = ()  # condition: patterns of the file name
    owners: tuple[str, ...] = ()  # condition: patterns of the owner
    metadata: Mapping[str, str] = field(default_factory=dict)  # condition: a pattern for a key
    size_min: int = 0  # bytes
    size_max: int = 0  # bytes
    extensions: tuple[str, ...] = ()  # without the dot, in lower case
    allowed_types: tuple[str, ...] = ()  # patterns of the type found in the bytes
    type_agrees: bool = False  # the type found in the bytes must be the declared one
    csv: bool = False  # the bytes must be readable as CSV

    @property
    def checks_type(self) -> bool:
        """Whether the rule requires anything of the type found in the bytes."""
        return bool(self.allowed_types) or self.type_agrees
