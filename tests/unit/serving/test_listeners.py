"""Sockets: which are opened, what they are called, and what is said when they cannot be had."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tusd_py.serving import systemd
from tusd_py.serving.listeners import ListenError, listen
from tusd_py.settings import ServerSettings


def test_port_0_takes_a_free_one() -> None:
    """With port 0 the address told is the one that was taken, and it answers."""
    listeners = listen(ServerSettings(port=0), {}, os.getpid())
    port = listeners.sockets[0].getsockname()[1]
    assert f"127.0.0.1:{port}" == listeners.address
    socket.create_connection(("127.0.0.1", port)).close()
    listeners.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_any_address_is_told_as_one_that_can_be_visited() -> None:
    """0.0.0.0 is told as 127.0.0.1: nobody can go to "any"."""
    listeners = listen(ServerSettings(host="0.0.0.0", port=0), {}, os.getpid())
    assert listeners.address.startswith("127.0.0.1:")
    listeners.close()


def test_a_name_with_several_addresses_has_one_port() -> None:
    """Every address of "localhost" that the machine has listens on the same port."""
    listeners = listen(ServerSettings(host="localhost", port=0), {}, os.getpid())
    assert 1 == len({listener.getsockname()[1] for listener in listeners.sockets})
    listeners.close()


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
def test_an_address_of_another_machine_is_refused(host: str) -> None:
    """What is no address of this machine is told with its name."""
    with pytest.raises(ListenError, match=host):
        listen(ServerSettings(host=host, port=0), {}, os.getpid())


def test_a_file_is_never_replaced_by_a_socket(tmp_path: Path) -> None:
    """A path that holds something else than a stale socket is refused and left alone."""
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(ListenError, match="precious: Address already in use"):
        listen(ServerSettings(unix_socket=str(path)), {}, os.getpid())
    assert "data" == path.read_text()


def test_the_socket_of_a_newer_server_is_left_alone(tmp_path: Path) -> None:
    """Closing removes the socket's file only while it is one's own."""
    path = tmp_path / "s"
    older = listen(ServerSettings(unix_socket=str(path)), {}, os.getpid())
    path.rename(tmp_path / "old")
    newer = listen(ServerSettings(unix_socket=str(path)), {}, os.getpid())
    older.close()
    assert path.exists()
    newer.close()
    assert not path.exists()


def test_a_path_that_is_too_long_is_told(tmp_path: Path) -> None:
    """The kernel's limit for paths of sockets is told as a sentence."""
    with pytest.raises(ListenError, match="path too long"):
        listen(ServerSettings(unix_socket=str(tmp_path / ("x" * 120))), {}, os.getpid())


@pytest.mark.parametrize(
    "environ",
    [{}, {"LISTEN_FDS": "1", "LISTEN_PID": "1"}, {"LISTEN_FDS": "x", "LISTEN_PID": "7"}, {"LISTEN_PID": "7"}],
)
def test_descriptors_meant_for_another_process_are_not_taken(environ: dict[str, str]) -> None:
    """LISTEN_FDS counts only together with one's own process id."""
    with pytest.raises(ListenError, match="systemd handed over no socket"):
        listen(ServerSettings(systemd_socket=True), environ, 7)


def test_nobody_to_notify_is_no_fault(tmp_path: Path) -> None:
    """A service manager that is not there, or does not listen, keeps nothing from running."""
    systemd.notify({}, "READY=1")
    systemd.notify({"NOTIFY_SOCKET": str(tmp_path / "none")}, "READY=1")
