"""A broker that answers as a test says: what no real one can be made to do at will."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def fake_broker(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """Its URL; `serve` accepts the connections of a listener, in a thread of its own that ends with the block."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), name="fake broker")
        thread.start()
        yield f"mqtt://127.0.0.1:{listener.getsockname()[1]}"
        thread.join(timeout=10)
