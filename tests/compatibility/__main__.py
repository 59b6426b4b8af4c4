"""Write the results of every client behind every proxy into docs/compatibility.md: ``make compatibility``."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
from tusclient.exceptions import TusCommunicationError

from tests.compatibility.clients import CLIENTS, Client, ClientFailed
from tests.compatibility.matrix import COLUMNS, DIRECT, check_resume, check_upload, served, source
from tests.support.proxies import PROXIES
from tests.support.server import RunningServer

DOCUMENT = Path(__file__).parents[2] / "docs" / "compatibility.md"
_BEGIN, _END = "<!-- results: begin -->", "<!-- results: end -->"
_MISSING = "not installed"
_FAILURES = (ClientFailed, AssertionError, OSError, TusCommunicationError, subprocess.SubprocessError)

Check = Callable[[Client, RunningServer, str, Path], None]


def main() -> int:
    """Run everything and write the document. Returns 1 if a client failed or is missing."""
    # The Python clients leave connections to the garbage collector.
    warnings.simplefilter("ignore", ResourceWarning)
    cells: dict[tuple[str, str], str] = {}
    with tempfile.TemporaryDirectory() as folder:
        for column in COLUMNS:
            try:
                with served(column, Path(folder) / column) as (server, endpoint):
                    for client in CLIENTS:
                        cells[client.name, column] = _cell(client, server, endpoint, source(Path(folder)))
                        print(f"{column}: {client.name}: {cells[client.name, column]}", flush=True)
            except pytest.skip.Exception as missing:
                print(missing, file=sys.stderr)
                cells |= {(client.name, column): _MISSING for client in CLIENTS}
    DOCUMENT.write_text(replaced(DOCUMENT.read_text(), "\n".join(table(cells))))
    return 0 if all(cell == "yes" for cell in cells.values()) else 1


def _cell(client: Client, server: RunningServer, endpoint: str, file: Path) -> str:
    failed = []
    for name, check in (("upload", check_upload), ("resume", check_resume)):
        try:
            client.ensure_installed()
            check(client, server, endpoint, file)
        except pytest.skip.Exception:
            return _MISSING
        except _FAILURES as failure:
            reason = re.sub(r"[|\s]+", " ", str(failure))[-100:] or type(failure).__name__
            failed.append(f"{name} fails: {reason}")
    return "; ".join(failed) or "yes"


def table(cells: dict[tuple[str, str], str]) -> list[str]:
    """The lines of the document: versions in the heads of rows and columns, one cell for each pair."""
    heads = [DIRECT, *(f"{name} {_version_of(name)}".strip() for name in PROXIES)]
    lines = [f"tusd-py {version('tusd-py')}.", "", f"| client | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for client in CLIENTS:
        row = " | ".join(cells[client.name, column] for column in COLUMNS)
        name, comma, variant = client.name.partition(", ")
        known = "" if row.startswith(_MISSING) else f" {client.version()}"
        lines.append(f"| {name}{known}{comma}{variant} | {row} |")
    return lines


def _version_of(proxy: str) -> str:
    try:
        return PROXIES[proxy].version()
    except (pytest.skip.Exception, pytest.fail.Exception):
        return ""


def replaced(text: str, results: str) -> str:
    """The document with new results between its markers."""
    begin, end = text.index(_BEGIN) + len(_BEGIN), text.index(_END)
    return f"{text[:begin]}\n{results}\n{text[end:]}"


if __name__ == "__main__":
    sys.exit(main())
