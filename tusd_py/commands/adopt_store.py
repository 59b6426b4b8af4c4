"""``tusd-py adopt-store``: declares that the configured store has the bytes of the recorded uploads."""

from __future__ import annotations

from tusd_py.commands.console import Config, DataDir, fail, say, settings_of


def adopt_store(config: Config = None, data_dir: DataDir = None) -> None:
    """Declare that the configured store has the bytes of the recorded uploads.

    For bytes that were moved without their mark, and for a deliberate change of the store. Servers that use another
    store with this database, or this store with another database, refuse uploads from then on.
    """
    import asyncio

    from tusd_py.commands.file_ownership import keeping_owner
    from tusd_py.commands.startup import StartupError, reason, require_database
    from tusd_py.contracts.records import RecordsError
    from tusd_py.contracts.store import StoreError
    from tusd_py.wiring.store_marks import adopt_configured_store

    settings = settings_of(config, {"storage.data_dir": data_dir})
    try:
        require_database(settings)
        with keeping_owner(settings):
            place = asyncio.run(adopt_configured_store(settings))
    except StartupError as error:
        fail([str(error)])
    except (OSError, RecordsError, StoreError) as error:
        fail([reason(error)])
    say(f"{place} is the store of this database from now on; compare the two with tusd-py fsck")
