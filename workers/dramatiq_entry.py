"""What ``dramatiq workers`` imports: the broker and the actors, as the configuration file and the environment say."""

import os
import signal
import sys

from tusd_py import logs
from tusd_py.settings import load_or_exit
from workers.process import set_up
from workers.registry import find_actors

_settings = load_or_exit(os.environ)
logs.configure(_settings.log.format, _settings.log.level, sys.stderr)
# Dramatiq stops all of its processes when one has ended, for whoever started them to see.
broker = set_up(_settings, find_actors(), lambda: os.kill(os.getpid(), signal.SIGTERM))
