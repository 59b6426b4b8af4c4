"""Reads the operator's logo, so that a server with a wrong path does not start."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

#: The kinds of pictures that every browser shows, by the extension of their files.
LOGO_TYPES = {
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
}
# It stays in memory, and every visitor waits for it.
BYTES_MAX = 512 * 1024


@dataclass(frozen=True, slots=True)
class Logo:
    """A picture that stands above the page instead of the page's own."""

    body: bytes
    extension: str  # with the dot


def read_logo(path: str) -> Logo | None:
    """The logo in the file ``path``, ``None`` if it is empty. Raises ``OSError`` with a sentence for the operator."""
    if not path:
        return None
    try:
        with Path(path).open("rb") as file:
            body = file.read(BYTES_MAX + 1)
    except OSError as error:
        raise OSError(f"page.logo: {error.strerror}: {path}") from error
    if not body:
        raise OSError(f"page.logo: {path} is empty")
    if len(body) > BYTES_MAX:
        raise OSError(f"page.logo: {path} is larger than {BYTES_MAX // 1024} KiB")
    return Logo(body, Path(path).suffix.lower())
