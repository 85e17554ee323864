"""Ports on loopback."""

import socket
from collections.abc import Collection

from sensor_platform.errors import ConfigurationError

HOST = "127.0.0.1"
_NEXT = 200


def is_free(port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as listener:
        # As servers do: a port in TIME_WAIT is free, one with a listener is not.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError:
            return False
    return True


def next_free_port(first: int, *, taken: Collection[int] = ()) -> int:
    """`first`, or the next port after it that is free and not in `taken`."""
    for port in range(first, min(first + _NEXT, 65536)):
        if port not in taken and is_free(port):
            return port
    raise ConfigurationError(f"no free port from {first} to {min(first + _NEXT, 65536) - 1} on {HOST}")


def any_free_port() -> int:
    """A port that the system says is free."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
        return port


def answers(port: int, *, host: str = HOST, timeout_s: float = 1) -> bool:
    """Whether somebody listens there."""
    try:
        with socket.create_connection((host, port), timeout=timeout_s):
            return True
    except OSError:
        return False
