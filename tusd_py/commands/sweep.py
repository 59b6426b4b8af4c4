"""``tusd-py sweep``: removes expired uploads once."""

from __future__ import annotations

from tusd_py.commands.console import Config, DataDir, fail, say, settings_of


def sweep(config: Config = None, data_dir: DataDir = None) -> None:
    """Remove expired uploads once; the server does this periodically."""
    import asyncio

    from tusd_py.commands.file_ownership import keeping_owner
    from tusd_py.commands.startup import StartupError, reason, require_database
    from tusd_py.contracts.records import RecordsError
    from tusd_py.contracts.store import StoreError
    from tusd_py.wiring.ports import sweep_once

    settings = settings_of(config, {"storage.data_dir": data_dir})
    if settings.storage.kind == "memory" or not settings.has_database:
        fail(["uploads or records are in memory: only the server process that holds them can sweep them"])
    try:
        require_database(settings)
        with keeping_owner(settings):
            swept = asyncio.run(sweep_once(settings))
    except StartupError as error:
        fail([str(error)])
    except (OSError, RecordsError, StoreError) as error:
        fail([reason(error)])
    say(f"expired {swept.expired}, pruned {swept.pruned}, skipped because in use {swept.skipped}")
