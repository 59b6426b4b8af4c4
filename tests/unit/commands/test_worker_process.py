"""Passing the settings of a command to its worker process."""

from __future__ import annotations

import json
import os

from tusd_py.commands.worker_process import settings_line
from tusd_py.settings import Settings


def test_settings_of_a_worker() -> None:
    """Every setting arrives, also the path of a directory that is not UTF-8."""
    settings = Settings.model_validate(
        {
            "storage": {"data_dir": os.fsdecode(b"/srv/caf\xe9")},
            "server": {"trusted_proxies": ["10.0.0.0/8"]},
            "validation": {"rules": [{"name": "a", "types": ["image/*"], "metadata": {"a": "b"}}]},
        }
    )
    assert settings == Settings.model_validate(json.loads(settings_line(settings)))
