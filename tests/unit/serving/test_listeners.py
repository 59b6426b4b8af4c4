"""The listening sockets, their addresses, and the sentences about sockets that cannot be opened."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tusd_py.serving.listeners import ListenError, listen
from tusd_py.settings import ServerSettings


def test_port_0_chooses_a_free_port() -> None:
    """With port 0 ``address`` has the chosen port, and a client can connect to it."""
    listeners = listen(ServerSettings(port=0), {}, os.getpid())
    port = listeners.sockets[0].getsockname()[1]
    assert f"127.0.0.1:{port}" == listeners.address
    socket.create_connection(("127.0.0.1", port)).close()
    listeners.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_wildcard_address_is_shown_as_loopback() -> None:
    """For 0.0.0.0 ``address`` is 127.0.0.1, since a client cannot connect to the wildcard."""
    listeners = listen(ServerSettings(host="0.0.0.0", port=0), {}, os.getpid())
    assert listeners.address.startswith("127.0.0.1:")
    listeners.close()


def test_all_addresses_of_a_name_have_one_port() -> None:
    """Every address of "localhost" that the machine has listens on the same port."""
    listeners = listen(ServerSettings(host="localhost", port=0), {}, os.getpid())
    assert 1 == len({listener.getsockname()[1] for listener in listeners.sockets})
    listeners.close()


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
def test_address_of_another_machine_is_refused(host: str) -> None:
    """The sentence contains the configured name."""
    with pytest.raises(ListenError, match=host):
        listen(ServerSettings(host=host, port=0), {}, os.getpid())


def test_file_is_not_replaced_by_a_socket(tmp_path: Path) -> None:
    """A path with anything but a stale socket is refused and not changed."""
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(ListenError, match="precious: Address already in use"):
        listen(ServerSettings(unix_socket=str(path)), {}, os.getpid())
    assert "data" == path.read_text()


def test_socket_of_a_newer_server_is_not_removed(tmp_path: Path) -> None:
    """``close`` removes the socket file only if it is still the one that was created."""
    path = tmp_path / "s"
    older = listen(ServerSettings(unix_socket=str(path)), {}, os.getpid())
    path.rename(tmp_path / "old")
    newer = listen(ServerSettings(unix_socket=str(path)), {}, os.getpid())
    older.close()
    assert path.exists()
    newer.close()
    assert not path.exists()


def test_socket_path_that_is_too_long(tmp_path: Path) -> None:
    """A path over the kernel's limit is refused with a sentence."""
    with pytest.raises(ListenError, match="path too long"):
        listen(ServerSettings(unix_socket=str(tmp_path / ("x" * 120))), {}, os.getpid())
