"""The entry point: the command ``tusd-py`` and ``python -m tusd_py``."""

from __future__ import annotations

import gc
import sys

#: Loading the program makes 200,000 objects that stay: below this number of new ones nothing looks for garbage among
#: them. With the default thresholds that took a sixth of the time until the first request.
_GC_THRESHOLDS = (300_000, 20, 50)


def main() -> None:
    """Run the command line."""
    gc.set_threshold(*_GC_THRESHOLDS)
    if sys.argv[1:] == ["--version"]:
        # Scripts ask for it, and the library of the command line takes a while to load.
        from importlib.metadata import version

        from tusd_py.commands.output import say

        say(f"tusd-py {version('tusd-py')}")
    elif sys.argv[1:2] == ["check"] and "--live" in sys.argv[2:] and not {"-h", "--help"}.intersection(sys.argv):
        # The whole command line takes over a second to load; a container's health check runs every ten seconds.
        from tusd_py.commands import live

        live.main()
    else:
        from tusd_py import cli

        cli.main()


if __name__ == "__main__":
    main()
