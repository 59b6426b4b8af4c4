"""``ServerMetrics``: names, one set per application, and sums over processes by files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.harness import EPOCH
from tusd_py.model.hooks import Hook
from tusd_py.model.upload import Upload
from tusd_py.protocol.access_errors import QuotaReached
from tusd_py.protocol.errors import UploadNotFound
from tusd_py.web.metrics import ServerMetrics
from tusd_py.web.shared_metrics import SHARED_DIRECTORY


def test_exposition_has_tusd_names() -> None:
    """Counters have the names of tusd, with and without ``_total``; another application has metrics of its own."""
    metrics = ServerMetrics()
    metrics.request("PATCH", 0.2, UploadNotFound())
    metrics.request("BREW", 0.2, None)
    metrics.request("POST", 0.2, QuotaReached("bytes_stored", 5, 5, ""))
    metrics.complete(Upload(id="u1", length=9, offset=9, created_at=EPOCH, updated_at=EPOCH))
    metrics.hook(Hook.PRE_CREATE, True)
    metrics.hook(Hook.PRE_CREATE, False)
    lines = metrics.exposition().decode().splitlines()
    for line in (
        'tusd_requests_total{method="PATCH"} 1.0',
        'tusd_requests_total{method="other"} 1.0',
        'tusd_errors_total{code="ERR_UPLOAD_NOT_FOUND",status="404"} 1.0',
        'tusd_errors_total{code="ERR_QUOTA_EXCEEDED",status="413"} 1.0',
        'tusd_py_quota_refusals_total{quota="bytes_stored"} 1.0',
        "# TYPE tusd_uploads_finished counter",
        "tusd_uploads_finished 1.0",
        "tusd_py_upload_bytes_sum 9.0",
        'tusd_hook_invocations_total{hooktype="pre-create"} 2.0',
        'tusd_hook_errors_total{hooktype="pre-create"} 1.0',
        'tusd_py_request_duration_seconds_count{method="PATCH"} 1.0',
    ):
        assert line in lines, line
    assert "tusd_uploads_finished 0.0" in ServerMetrics().exposition().decode()
    metrics.close()


COUNT = """
from tusd_py.web.metrics import ServerMetrics
metrics = ServerMetrics()
metrics.created.inc()
metrics.open.inc()
text = metrics.exposition().decode()
metrics.close()
print([line for line in text.splitlines() if line.startswith(("tusd_uploads_created ", "tusd_connections_open "))])
"""


def test_processes_sum_their_metrics(tmp_path: Path) -> None:
    """The counters of an exited process are still included, its open requests are not."""
    environment = {**os.environ, SHARED_DIRECTORY: str(tmp_path)}
    for created in (1, 2):
        run = subprocess.run(
            [sys.executable, "-c", COUNT], env=environment, capture_output=True, text=True, timeout=30, check=True
        )
        assert f"tusd_uploads_created {created}.0" in run.stdout
        assert "tusd_connections_open 1.0" in run.stdout
