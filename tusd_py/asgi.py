"""The whole server as an ASGI application for any ASGI server: ``uvicorn tusd_py.asgi:app``, ``granian ...``.

Settings come from the configuration file and the environment; those of the section ``server`` that say where to listen
are the ASGI server's business.
"""

import os
import sys
from pathlib import Path

from tusd_py import logs
from tusd_py.service import create_app
from tusd_py.settings import SettingsError, find_config, load

try:
    _settings = load(find_config(None, os.environ, Path()), os.environ)
except SettingsError as error:
    sys.exit("\n".join(f"tusd-py: {problem}" for problem in error.problems))

logs.configure(_settings.log.format, _settings.log.level, sys.stderr)
app = create_app(_settings)
