"""``tusd-py reload``: replaces the program of a running server, which keeps its sockets and its process id."""

from __future__ import annotations

from tusd_py.commands.console import Config, DataDir, fail, say, settings_of

_WAIT_SECONDS = 60.0


def reload(config: Config = None, data_dir: DataDir = None) -> None:
    """Start running servers anew without refusing a connection.

    They read their settings again, and run the version that is installed now. Uploads are interrupted and resume.
    """
    import os
    import signal
    import time
    from pathlib import Path

    from tusd_py.serving.running_servers import running_servers

    settings = settings_of(config, {"storage.data_dir": data_dir})
    directory = Path(settings.storage.data_dir) / "servers"
    before = running_servers(directory)
    if not before:
        fail([f"no server of this machine uses the data directory {settings.storage.data_dir}"])
    for process_id in before:
        try:
            os.kill(process_id, signal.SIGUSR2)
        except OSError as error:
            fail([f"the server with process id {process_id} cannot be signalled: {error.strerror}"])
    deadline = time.monotonic() + _WAIT_SECONDS
    waiting = dict(before)
    while waiting and time.monotonic() < deadline:
        time.sleep(0.05)
        now = running_servers(directory)
        for process_id in [
            process_id for process_id in waiting if now.get(process_id, waiting[process_id]) != waiting[process_id]
        ]:
            del waiting[process_id]
            say(f"reloaded  process {process_id}")
    if waiting:
        names = ", ".join(map(str, waiting))
        fail([f"process {names} did not start anew within {_WAIT_SECONDS:g} s: its log has the reason"])
