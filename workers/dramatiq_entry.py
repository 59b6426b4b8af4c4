"""Imported by ``dramatiq workers``: declares the broker and actors, with settings from the file and the environment."""

import os
import signal
import sys

from tusd_py import logs
from tusd_py.settings import load_or_exit

from .actors import find_actors
from .lifespan import Lifespan
from .process import set_up

_settings = load_or_exit(os.environ)
logs.configure(_settings.log.format, _settings.log.level, sys.stderr, privacy=_settings.log.privacy)
# Dramatiq stops all of its processes when one has ended, so that a service manager notices.
broker = set_up(_settings, Lifespan(_settings, find_actors(), lambda: os.kill(os.getpid(), signal.SIGTERM)))
