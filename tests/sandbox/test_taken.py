"""A port that something else has is told of before anything is changed."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest
from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox.settings import Ports
from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox.taken import PortsTakenError, check_ports

from .sandbox import free_base


@pytest.fixture
def ports() -> Iterator[Ports]:
    """Ports of which Redis's is taken, by this very process."""
    base = free_base()
    with socket.create_server(("127.0.0.1", base + 2)):
        yield Ports.from_base(base)


def test_the_message_names_port_purpose_program_and_the_way_out(ports: Ports) -> None:
    with pytest.raises(PortsTakenError) as caught:
        check_ports(ports, own=())
    said = str(caught.value)
    assert f"port {ports.redis} (redis) is taken by " in said
    assert f"(process {os.getpid()})" in said
    assert f"sandbox_port_base={ports.gateway + 1000}" in said
    assert said.count("is taken by") == 1


def test_the_sandbox_does_not_stand_in_its_own_way(ports: Ports) -> None:
    check_ports(ports, own={os.getpid()})
