"""What every process of Lethe does to itself first (prctl(2), setrlimit(2))."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import threading
from types import TracebackType

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def harden() -> None:
    """No core file, no debugger, no reading of this process's memory by the same user."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _prctl(_PR_SET_DUMPABLE, 0)


def die_with_parent(parent: int) -> None:
    """Be killed when the parent dies, so that two processes never deliver one session."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        # The parent was gone before the request was in force.
        os.kill(os.getpid(), signal.SIGKILL)


def quiet_tracebacks() -> None:
    """Uncaught exceptions name their kind and place, never their text: it may hold patient data."""

    def say(kind: type[BaseException], value: BaseException | None, trace: TracebackType | None) -> None:
        places = []
        while trace is not None:
            code = trace.tb_frame.f_code
            places.append(f"{os.path.basename(code.co_filename)}:{trace.tb_lineno} {code.co_name}")
            trace = trace.tb_next
        sys.stderr.write(f"{kind.__module__}.{kind.__name__} at {' < '.join(reversed(places))}\n")

    sys.excepthook = say
    threading.excepthook = lambda args: say(args.exc_type, args.exc_value, args.exc_traceback)
