"""Runs a command that ends when its parent does: `python -I -S guard.py SIGNAL PARENT_PID -- COMMAND...`.

A file that is run, not imported, and needs nothing but the standard library: it costs some 15 ms. Not a `preexec_fn`:
that runs Python between fork and exec of a threaded parent, which may deadlock. The process keeps its pid over exec.

Whatever changes credentials (see `account.py`) comes before it: the kernel clears the death signal when they change.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Arms the death signal, makes sure that the parent still lives, and becomes the command."""
    death_signal, parent, command = signal.Signals[arguments[0]], int(arguments[1]), arguments[3:]
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:  # it died before we were armed
        raise SystemExit(1)
    os.execvp(command[0], command)  # noqa: S606  # no shell is the point


if __name__ == "__main__":
    main(sys.argv[1:])
