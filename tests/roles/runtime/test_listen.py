import os
import socket

import pytest

from roles.runtime import sysexits
from roles.runtime.errors import ListenFailed, PortInUse
from roles.runtime.listen import bound, listen
from shared_config.address import Address


def test_port_0_gives_any_free_port_and_tells_which() -> None:
    with listen(Address("127.0.0.1", 0), "listen_address") as sock:
        address = bound(sock)
        assert address.port > 0
        socket.create_connection((address.host, address.port)).close()


def test_a_port_in_use_names_the_port_its_holder_and_the_setting_that_moves_it() -> None:
    with listen(Address("127.0.0.1", 0), "listen_address") as sock:
        with pytest.raises(PortInUse) as caught:
            listen(bound(sock), "listen_address")
        assert f"port {bound(sock).port} of 127.0.0.1 is in use by process {os.getpid()} (" in str(
            caught.value
        )
        assert "move this daemon with listen_address" in str(caught.value)
        assert caught.value.exit_code == sysexits.UNAVAILABLE


def test_a_port_that_a_connection_of_another_program_uses_is_free_again_soon() -> None:
    with socket.socket() as listener, socket.socket() as client:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        client.connect(listener.getsockname())
        local = Address("127.0.0.1", client.getsockname()[1])
        with pytest.raises(
            PortInUse, match=r"local end of another program's connection \(it is free"
        ) as caught:
            listen(local, "listen_address")
        assert caught.value.exit_code == sysexits.TEMPORARY


def test_an_address_of_another_machine_cannot_be_listened_on() -> None:
    with pytest.raises(ListenFailed, match=r"cannot listen on 192\.0\.2\.1:1234: .*listen_address"):
        listen(Address("192.0.2.1", 1234), "listen_address")


def test_a_host_that_does_not_exist_cannot_be_listened_on() -> None:
    with pytest.raises(ListenFailed, match=r"no-such-host\.invalid"):
        listen(Address("no-such-host.invalid", 1234), "listen_address")
