"""Write the header of the fast path's library from the modules of the supervisor in Python.

So the C and the Python have one source for the layout of what they share, for the addresses that
the filter knows, and for the numbers of the calls.
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # the interpreter is isolated
from native_header import define

# The constants that the C takes from each module.
CONSTANTS = {
    "sundog.runtime.emulation.notify.state.page": (
        *("DEVICES_PLACE", "DEVICE_LIMIT", "SET_FACTOR", "HAS_DEVICES", "HAS_LINKS", "HAS_LISTED"),
        *("HAS_ATTRIBUTES", "HAS_USERS", "PAGE_MAGIC", "MAY_INHERIT", "PAGE_SIZE", "SERVED"),
        *("RECORD_BITS", "RECORD_SIZE", "SAYS_ATTRIBUTES", "SAYS_MODE", "SET_BITS"),
        *("WORDS_SIZE",),
    ),
    "sundog.runtime.emulation.notify.seccomp.fast_path": (
        *("FAST_PLACE", "LIBRARY_PLACE", "PAGE_PLACE"),
    ),
    "sundog.runtime.container.fast_path": ("LIBRARY_NAME", "PRELOAD_VARIABLE"),
    "sundog.runtime.container.execute": ("DEFAULT_PATH",),
    "sundog.runtime.emulation.notify.tracee.tag": ("RLIMIT_LOCKS", "TAG_INDEX"),
}
# Calls that the filter does not ask about: arch/x86/entry/syscalls/syscall_64.tbl.
OTHERS = {"close": 3, "mprotect": 10, "prctl": 157, "pread64": 17, "rt_sigprocmask": 14}


def lines() -> list[str]:
    """Return the lines of the header."""
    from sundog.runtime.emulation.notify.seccomp.fast_path import FAST_CALLS
    from sundog.runtime.emulation.notify.tracee.abi import NOTIFY_X86_64
    from sundog.runtime.emulation.notify.tracee.tag import TAG_MARK

    text = ["/* Made by packaging/fast_path_header.py. */"]
    for module, names in CONSTANTS.items():
        found = vars(__import__(module, fromlist=["*"]))
        text += [define(name, found[name]) for name in names]
    text.append(define("TAG_MARK", TAG_MARK >> 32))
    numbers = {call: NOTIFY_X86_64.numbers[call] for call in (*FAST_CALLS, "seccomp")}
    text += [define(f"NR_{call}", number) for call, number in (numbers | OTHERS).items()]
    return [*text, ""]


if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    sys.stdout.write("\n".join(lines()))
