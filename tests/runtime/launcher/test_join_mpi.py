"""Two MPI ranks in one container: Open MPI copies between them by process_vm_readv(2).

$TMPDIR is not /tmp.  The ranks find the session directory that mpirun has made there.
"""

import os
import subprocess
import sys
from pathlib import Path

from tests.runtime.launcher.compiled import Compiled
from tests.runtime.launcher.conftest import ENVIRONMENT

PROGRAM = r"""
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(int c, char **v)
{
    const int size = 1 << 22;
    int rank;
    char users[64] = "", *data = malloc(size);
    MPI_Init(&c, &v);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    for (int i = 0; i < size; i++) data[i] = rank ? 0 : i % 127;
    if (!rank) MPI_Send(data, size, MPI_CHAR, 1, 0, MPI_COMM_WORLD);
    else MPI_Recv(data, size, MPI_CHAR, 0, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    if (readlink("/proc/self/ns/user", users, sizeof users - 1) < 0) return 1;
    printf("%s %d\n", users, data[size - 1]);
    MPI_Finalize();
    return 0;
}
"""


def test_two_ranks(compiled: Compiled, image: Path, tmp_path: Path) -> None:
    """The host's libraries are bound into the image."""
    programs = Path(sys.prefix) / "bin"
    source = tmp_path / "ranks.c"
    source.write_text(PROGRAM)
    path = {"PATH": f"{programs}:{os.environ['PATH']}"}
    compiler = [str(programs / "mpicc"), str(source), "-o", str(image / "bin" / "ranks")]
    subprocess.run(compiler, env=os.environ | path, check=True)
    sessions = tmp_path / "sessions"
    sessions.mkdir()
    binds = [f"--bind={path}" for path in ("/usr", "/lib", "/lib64", sys.prefix)]
    log = tmp_path / "log"
    done = subprocess.run(
        [
            *("strace", "-f", "-qq", "-e", "trace=process_vm_readv", "-e", "signal=none"),
            *("-o", log, programs / "mpirun", "--oversubscribe", "-n", "2"),
            *(compiled.command, "--join", "-W"),
            *(bind for bind in binds if exists(bind)),
            *(image, "--", "ranks"),
        ],
        env=ENVIRONMENT
        | path
        | {"CH_IMAGE_STORAGE": str(tmp_path / "storage"), "TMPDIR": str(sessions)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, second = (line.split() for line in done.stdout.splitlines())
    assert first == second
    assert first[0] != os.readlink(b"/proc/self/ns/user")
    assert first[1] == b"%d" % (((1 << 22) - 1) % 127)
    calls = [line.rpartition("= ")[2] for line in log.read_text().splitlines()]
    assert any(result.isdigit() and int(result) > 4096 for result in calls), calls


def exists(bind: str) -> bool:
    """Tell whether the host has the source of a --bind."""
    return Path(bind.partition("=")[2]).exists()
