"""A worker that does not start, or sends what was not asked, is ended, and its messages are not lost."""

import sys
from pathlib import Path

import pytest

from sensor_platform.errors import WorkerUnavailableError
from sensor_platform.transformers.worker.owner import stop_worker
from sensor_platform_tests.transformers.formats import decoded_by, routes_of


@pytest.mark.parametrize(
    ("header", "detail"),
    [(b'{"readings": 1}', "answered what was not asked"), (b'{"a": ' * 100_000, "sent what is no frame")],
    ids=["another answer", "too deep"],
)
def test_what_a_transformer_sends_in_the_workers_name_is_no_answer(header: bytes, detail: str, tmp_path: Path) -> None:
    code = (
        "import socket, struct, sys\nfrom sensor_platform import transformer\n\n\n"
        "@transformer('sending')\ndef sending(payload, topic, received_at):\n"
        "    connection = socket.socket(fileno=int(sys.argv[3]))\n"
        "    connection.sendall(struct.pack('<II', len(payload), 0) + payload)\n"
        "    while True: pass\n"
    )
    refusals = decoded_by(routes_of(tmp_path, "sending", code=code), header).refusals
    assert [(each.code, each.detail) for each in refusals] == [("transformer_crashed", f"the worker process {detail}")]


def test_a_worker_that_cannot_be_started_costs_no_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    routes = routes_of(tmp_path, "trouble")
    stop_worker()
    python, started = tmp_path / "python", tmp_path / "started"
    python.write_text(f'#!/bin/sh\n[ -e "{started}" ] && exit 9\ntouch "{started}"\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(WorkerUnavailableError, match=r"did not start, try again later: .* ended with exit code 9"):
        decoded_by(routes, b"exit", b"1")
