"""The whole server as an ASGI application for any ASGI server: ``uvicorn tusd_py.asgi:app``, ``granian ...``.

Settings come from the configuration file and the environment. Those of section ``server`` about listening have no
effect: the ASGI server listens.
"""

import os
import sys

from tusd_py import logs
from tusd_py.service import create_app
from tusd_py.settings import load_or_exit

_settings = load_or_exit(os.environ)
logs.configure(_settings.log.format, _settings.log.level, sys.stderr, privacy=_settings.log.privacy)
app = create_app(_settings)
