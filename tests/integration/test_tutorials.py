"""Each tutorial works if it is typed literally, block by block, into one terminal."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.ports import free_port

DOCS = Path(__file__).parents[2] / "docs"
#: Printed by the shell behind each block of commands.
_END = "----- end of a block"


def typed(document: str, directory: Path) -> list[tuple[str, str, str]]:
    """Type a tutorial: each block of commands with what the page shows below it and what the terminal has shown.

    Ports that other tests may use are replaced, and nothing is installed: the program is that of the tests.
    """
    text = (DOCS / document).read_text()
    ports = {"8080": str(free_port()), "9000": str(free_port())}
    for written, free in ports.items():
        text = text.replace(f"127.0.0.1:{written}", f"127.0.0.1:{free}").replace(f", {written})", f", {free})")
    for name, content in re.findall(r"[Ss]ave this as `(.+?)`:\n\n```python\n(.*?)^```", text, re.M | re.S):
        (directory / name).write_text(content)
    blocks = [
        (commands, shown)
        for commands, shown in re.findall(r"^```sh\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", text, re.M | re.S)
        if "pip install" not in commands
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TUSD_PY_")}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    environment["TUSD_PY_SERVER__PORT"] = ports["8080"]
    # The trap ends what is still running if the tutorial gets stuck.
    script = "trap 'kill $(jobs -p) 2>/dev/null' EXIT\n" + "".join(
        f"{commands}echo '{_END}'\n" for commands, _ in blocks
    )
    terminal = subprocess.run(
        ["bash", "-c", script], cwd=directory, env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    outputs = terminal.stdout.split(f"{_END}\n")
    assert len(outputs) == len(blocks) + 1, terminal.stdout + terminal.stderr
    return [(commands, shown, output) for (commands, shown), output in zip(blocks, outputs, strict=False)]


@pytest.mark.parametrize("tutorial", ["first-upload", "first-hook", "first-webhook"])
def test_tutorial_typed_literally(tutorial: str, tmp_path: Path) -> None:
    """The terminal shows what the page says; no server writes a traceback."""
    blocks = typed(f"tutorials/{tutorial}.md", tmp_path)
    assert len(blocks) > 3
    for commands, shown, output in blocks:
        assert output.startswith(shown), commands
    for log in tmp_path.glob("*.log"):
        assert "Traceback" not in log.read_text()


def test_every_tutorial_is_typed() -> None:
    """The parameters above are the files of the directory."""
    marks = test_tutorial_typed_literally.pytestmark  # type: ignore[attr-defined]
    assert set(marks[0].args[1]) == {path.stem for path in (DOCS / "tutorials").glob("*.md")}
