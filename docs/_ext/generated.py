"""Directives that write reference pages from the program itself: its commands and its metrics."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import typer.main
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from tusd_py.cli import COMMANDS, app
from tusd_py.web.metrics import ServerMetrics


class Commands(SphinxDirective):
    """``.. program-commands::`` is a section for each command, with its help and those of its subcommands."""

    def run(self) -> list[nodes.Node]:
        program: Any = typer.main.get_command(app)
        with program.make_context("tusd-py", [], resilient_parsing=True) as context:
            return [self._section(name, program.get_command(context, name), context) for name in COMMANDS]

    def _section(self, name: str, command: Any, context: Any) -> nodes.section:
        title = f"tusd-py {name}"
        section = nodes.section("", nodes.title("", title), ids=[nodes.make_id(title)], names=[title])
        section += [nodes.literal_block("", text, language="text") for text in _helps(name, command, context)]
        self.state.document.note_explicit_target(section)
        return section


def _helps(name: str, command: Any, parent: Any) -> Iterator[str]:
    with command.make_context(name, [], parent=parent, resilient_parsing=True, terminal_width=76) as context:
        yield context.get_help().strip()
        for sub_name, subcommand in getattr(command, "commands", {}).items():
            yield from _helps(sub_name, subcommand, context)


class Metrics(SphinxDirective):
    """``.. program-metrics::`` is a table of the metrics of the server."""

    def run(self) -> list[nodes.Node]:
        lines = [".. list-table::", "   :header-rows: 1", "   :widths: 45 12 43", ""]
        lines += ["   * - metric", "     - type", "     - "]
        exposed = ServerMetrics().exposition().decode()
        types = dict(re.findall(r"^# TYPE (\w+) (\w+)$", exposed, re.M))
        for name, text in re.findall(r"^# HELP (\w+) (.+)$", exposed, re.M):
            lines += [f"   * - ``{name}``", f"     - {types[name]}", f"     - {text}"]
        parent = nodes.container()
        self.state.nested_parse(StringList(lines, source="metrics"), 0, parent)
        return parent.children


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("program-commands", Commands)
    app.add_directive("program-metrics", Metrics)
    return {"parallel_read_safe": True}
