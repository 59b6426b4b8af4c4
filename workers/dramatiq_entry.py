"""Imported by ``dramatiq workers``: declares the broker and actors, with settings from the file and the environment."""

import os
import signal
import sys
from pathlib import Path

from tusd_py import logs
from tusd_py.settings import SettingsError, find_config, load

from .actors import find_actors
from .process import set_up

try:
    _settings = load(find_config(None, os.environ, Path()), os.environ)
except SettingsError as error:
    sys.exit("\n".join(f"tusd-py: {problem}" for problem in error.problems))

logs.configure(_settings.log.format, _settings.log.level, sys.stderr)
# Dramatiq stops all of its processes when one has ended, so that a service manager notices.
broker = set_up(_settings, find_actors(), lambda: os.kill(os.getpid(), signal.SIGTERM))
