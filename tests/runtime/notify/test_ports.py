"""Ports below 1024 where the machine has no network namespaces to give, and what a program gets."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.runtime.notify.conftest import Container

PORT = 811
NONE = "echo 0 >/proc/sys/user/max_net_namespaces"  # in the user namespace of the container
SERVE = f"httpd -p {PORT} -h / 2>&1"


@pytest.fixture(scope="module", autouse=True)
def _refusing() -> None:
    """Skip what is about a refusal where everybody may bind each port."""
    with socket.socket() as own, contextlib.suppress(PermissionError):
        own.bind(("127.0.0.1", PORT))
        pytest.skip(f"this machine lets everybody bind port {PORT}")


def test_a_site_without_network_namespaces_says_what_the_host_says(busybox: Container) -> None:
    done = busybox.run("sh", "-c", f"{NONE}; {SERVE}; true", options=("--stats",))
    assert "bind: Permission denied" in done.stdout
    assert f"notify: the kernel refused bind(2) of port {PORT} (" in done.stderr


def test_all_ports_are_in_one_network_namespace(busybox: Container) -> None:
    script = (
        f"{SERVE}; {NONE}; httpd -p {PORT + 1} -h /; wget -q -O - http://127.0.0.1:{PORT + 1}/f"
    )
    assert busybox.sh(f"echo page >/f; {script}") == "page\n"
