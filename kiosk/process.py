"""What every process does to itself first (prctl(2), setrlimit(2), mlockall(2)), and its environment."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType

_PR_SET_PDEATHSIG = 1
_PR_GET_DUMPABLE = 3
_PR_SET_DUMPABLE = 4
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4
_CAP_IPC_LOCK = 14

ENVIRONMENT: Mapping[str, str] = MappingProxyType(
    {
        # Python's own small-object pools keep freed text; glibc's heap can be told not to.
        "PYTHONMALLOC": "malloc",
        # Freed memory is overwritten (mallopt(3), M_PERTURB) ...
        "MALLOC_PERTURB_": "165",
        # ... but not what glibc's thread cache keeps, which is most of what is as short as a name.
        "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0",
        # Photographs get pages of their own, which go back to the kernel when freed.
        "MALLOC_MMAP_THRESHOLD_": "65536",
        "MALLOC_ARENA_MAX": "2",
    }
)
"""Must be in the environment before a process starts: C and Python read it once, at their own start.

Everything that starts a process of ours takes it from here: the demo's supervisor, the uploader for its
children, the ui for the process that replaces it. A systemd unit needs the same lines as Environment=, and
LimitMEMLOCK=infinity so that memory can be locked.
"""


@dataclass(frozen=True, slots=True)
class Hardening:
    """What is in force, as the kernel tells it. locked: nothing is swapped out; scrubbed: ENVIRONMENT."""

    undumpable: bool
    coreless: bool
    locked: bool
    scrubbed: bool


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, value: int) -> int:
    answer = int(_libc().prctl(option, value, 0, 0, 0))
    if answer < 0:
        raise OSError(ctypes.get_errno(), "prctl")
    return answer


def harden() -> None:
    """No core file, no debugger, no reading of this process's memory by the same user, no swapping.

    Comes before anything else in each process: an exec undoes all of it but the core limit. Where memory
    may not be locked, it is not; `hardening` tells.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _prctl(_PR_SET_DUMPABLE, 0)
    if _may_lock():
        # On fault: else the untouched part of every thread's stack would be made and locked, too.
        _libc().mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT)


def _may_lock() -> bool:
    """Only without a limit: under one, memory locked now makes an allocation fail later."""
    if resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY:
        return True
    return bool(int(_status("CapEff") or "0", 16) >> _CAP_IPC_LOCK & 1)


def hardening() -> Hardening:
    """Ask the kernel, not our memory, what is in force for this process."""
    return Hardening(
        undumpable=_prctl(_PR_GET_DUMPABLE, 0) == 0,
        coreless=resource.getrlimit(resource.RLIMIT_CORE) == (0, 0),
        # More than a few pages: the key file's secret memory counts as locked whether we lock or not.
        locked=_kilobytes("VmLck") > _kilobytes("VmSize") // 2,
        scrubbed=all(os.environ.get(name) == value for name, value in ENVIRONMENT.items()),
    )


def _kilobytes(name: str) -> int:
    return int((_status(name) or "0").split()[0])


def _status(name: str) -> str | None:
    """A field of proc_pid_status(5)."""
    rows = (line.partition(":") for line in Path("/proc/self/status").read_text("utf-8").splitlines())
    return next((value.strip() for key, _, value in rows if key == name), None)


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
