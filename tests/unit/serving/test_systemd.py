"""Socket activation and readiness notification."""

from __future__ import annotations

from pathlib import Path

import pytest

from tusd_py.serving import systemd
from tusd_py.serving.listeners import ListenError, listen
from tusd_py.settings import ServerSettings


@pytest.mark.parametrize(
    "environ",
    [{}, {"LISTEN_FDS": "1", "LISTEN_PID": "1"}, {"LISTEN_FDS": "x", "LISTEN_PID": "7"}, {"LISTEN_PID": "7"}],
)
def test_sockets_of_another_process_are_not_used(environ: dict[str, str]) -> None:
    """LISTEN_FDS counts only if LISTEN_PID is the id of this process."""
    with pytest.raises(ListenError, match="systemd passed no socket"):
        listen(ServerSettings(systemd_socket=True), environ, 7)


def test_notify_without_a_service_manager(tmp_path: Path) -> None:
    """A missing NOTIFY_SOCKET, or one without a listener, is not an error."""
    systemd.notify({}, "READY=1")
    systemd.notify({"NOTIFY_SOCKET": str(tmp_path / "none")}, "READY=1")
