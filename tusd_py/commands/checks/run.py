"""The checks of ``tusd-py check``: whether the server and its worker could start. They change nothing."""

from __future__ import annotations

from collections.abc import Mapping

from tusd_py.commands.checks.access import check_access
from tusd_py.commands.checks.advice import check_limits, check_logo
from tusd_py.commands.checks.database import check_database
from tusd_py.commands.checks.hooks import check_hooks, check_worker
from tusd_py.commands.checks.listening import check_address, check_tls
from tusd_py.commands.checks.processing import check_processing
from tusd_py.commands.checks.redis_server import check_redis
from tusd_py.commands.checks.result import Check, warning
from tusd_py.commands.checks.storage import check_bucket, check_data_dir, check_store_mark
from tusd_py.settings import Settings
from tusd_py.wiring.data_directory import exposed_data


def run_checks(settings: Settings, environ: Mapping[str, str]) -> list[Check]:
    """Check everything that the server and its worker need, and return all results."""
    return [
        *check_data_dir(settings),
        *check_bucket(settings),
        *check_database(settings),
        *check_store_mark(settings),
        *(warning(sentence) for sentence in exposed_data(settings)),
        *check_hooks(settings),
        *check_worker(settings),
        *check_redis(settings),
        *check_processing(settings),
        *check_tls(settings),
        *check_address(settings, environ),
        *check_limits(settings),
        *check_access(settings),
        *check_logo(settings),
    ]
