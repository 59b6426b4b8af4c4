"""The process of a worker: in the place of this one, or as a child of the server."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

from tusd_py.commands.startup import StartupError, prepare
from tusd_py.serving.child_process import SupervisedChild
from tusd_py.serving.worker_program import worker_command
from tusd_py.settings import Settings

_COMMAND = (*worker_command(), "--settings")
#: Added to the time that jobs have to end: for interrupted actors, and for closing the database.
_CLOSING_SECONDS = 20.0


def exec_worker(settings: Settings) -> NoReturn:
    """Replace this process with a worker. Raises ``StartupError``."""
    if not settings.has_database:
        raise StartupError('records.url is "memory": a worker needs a database that it shares with the server')
    prepare(settings)
    # A file, not a pipe: nothing would empty a full pipe before the worker reads it. It has no name, and is not in the
    # temporary directory, since a container may have none.
    path = settings.database_path
    with tempfile.TemporaryFile(dir=settings.storage.data_dir if path is None else Path(path).parent) as file:
        file.write(settings_line(settings))
        file.seek(0)
        os.set_inheritable(file.fileno(), True)
        os.execv(sys.executable, [*_COMMAND, str(file.fileno())])


def worker_child(settings: Settings) -> SupervisedChild:
    """A worker as a child process of the server, not started yet."""
    return SupervisedChild(
        [*_COMMAND, "{descriptor}", "--child"],
        settings_line(settings),
        grace_seconds=settings.worker.shutdown_timeout_seconds + _CLOSING_SECONDS,
    )


def send_settings(child: SupervisedChild, settings: Settings) -> None:
    """Give the worker other settings, of which it takes over the validation rules and those of its log."""
    child.send_line(settings_line(settings))


def settings_line(settings: Settings) -> bytes:
    """All settings as a line of JSON. They are not passed as arguments or variables, which other users can read."""
    # Not model_dump_json: the path of a directory need not be UTF-8, and the escapes of this JSON hold its bytes.
    return json.dumps(settings.model_dump(mode="json")).encode() + b"\n"
