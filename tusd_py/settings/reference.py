"""The documented configuration: ``config.toml``, which a wheel carries inside the package."""

from __future__ import annotations

from pathlib import Path


def default_configuration() -> str:
    """Return the text of ``config.toml``: every setting with its default and a comment. Raises ``OSError``."""
    package = Path(__file__).parents[1]
    installed = package / "config.toml"
    # A checkout has the only copy at its top; the build puts it into the package.
    source = installed if installed.is_file() else package.with_name("config.toml")
    return source.read_text(encoding="utf-8")
