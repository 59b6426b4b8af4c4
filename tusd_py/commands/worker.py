"""``tusd-py worker``: replaces itself with a worker process."""

from __future__ import annotations

from tusd_py.commands.console import Config, DataDir, LogFormat, LogLevel, fail, settings_of


def worker(
    config: Config = None, data_dir: DataDir = None, log_format: LogFormat = None, log_level: LogLevel = None
) -> None:
    """Run a background worker (webhooks, validation, publishing).

    For a server with worker.mode = "separate"; any number of workers may run.
    """
    from tusd_py.commands.startup import StartupError
    from tusd_py.commands.worker_process import exec_worker

    settings = settings_of(config, {"storage.data_dir": data_dir, "log.format": log_format, "log.level": log_level})
    try:
        exec_worker(settings)
    except StartupError as error:
        fail([str(error)])
