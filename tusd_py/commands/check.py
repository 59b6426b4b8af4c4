"""``tusd-py check``: reports whether the server and its worker could start with these settings. It changes nothing."""

from __future__ import annotations

import sys
from pathlib import Path

from tusd_py.commands.console import Config, DataDir, Host, Port, environ, fail, say, sourced_flags
from tusd_py.commands.live import Live, check_live


def check(
    config: Config = None, data_dir: DataDir = None, host: Host = None, port: Port = None, live: Live = False
) -> None:
    """Check the configuration and what it needs.

    Exits with 2 if a line says NOT OK. Changes nothing.
    """
    from tusd_py.commands.checks.run import run_checks
    from tusd_py.commands.toml_text import as_text, differs
    from tusd_py.settings import SettingsError, build, find_config, read
    from tusd_py.settings.loading import EXIT_UNUSABLE, injected

    values = {"server.host": host, "server.port": port, "storage.data_dir": data_dir}
    if live:
        check_live(config, values)
    flags = sourced_flags(values)
    file = find_config(config, environ, Path())
    try:
        sourced = read(file, environ, flags)
        settings = build(sourced)
    except SettingsError as error:
        fail(error.problems)
    say(f"configuration  {file or 'no file; defaults, environment and flags only'}")
    for name, value in sorted(sourced.items()):
        if differs(settings, name):
            say(f"  {name} = {as_text(settings, name)}  ({value.origin})")
    for variable in injected(environ):
        say(f"  {variable} is ignored: it describes a service of Kubernetes")
    checks = run_checks(settings, environ)
    for result in checks:
        say(f"{result.label:<6}  {result.sentence}")
    if not all(result.ok for result in checks):
        sys.exit(EXIT_UNUSABLE)
