"""A command whose supervisor dies before it has the listener: it waits for nobody."""

import subprocess
import sys

SCRIPT = """
import errno, os, socket
from sundog.base.kernel.process import set_no_new_privs
from sundog.runtime.supervision.membership import Membership
from sundog.runtime.supervision.supervision import install_in_group

pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2)]
for _, theirs in pairs:
    theirs.close()
member = Membership(pairs[0][0], pairs[1][0], 1, strict=False, has_page=False)
set_no_new_privs()
try:
    install_in_group(member, None)
except OSError as error:
    passed = error.errno
try:
    os.fstat(0)  # as the way out does
except OSError as error:
    os._exit(3 if (passed, error.errno) == (errno.EPIPE, errno.ENOSYS) else 4)
"""


def test_calls_fail_when_nobody_has_the_listener() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], timeout=60, check=False)
    assert done.returncode == 3
