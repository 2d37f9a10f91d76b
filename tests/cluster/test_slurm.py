"""Jobs of Slurm whose steps run in containers, on four nodes."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from tests.cluster.conftest import SMALL, Slurm
from tests.cluster.remains import FILE_SERVER, kinds, sleepers
from tests.conftest import HELPER, RootHelper, until
from tests.runtime.launcher.test_terminal import Terminal

pytestmark = pytest.mark.slow

EVERYWHERE = ("srun", "-N4", "-n16", "--ntasks-per-node=4")


def file_servers(image: Path) -> list[int]:
    """Return the servers that have this file open.  Only root sees their descriptors."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            name = (process / "comm").read_text(errors="replace").strip()
            is_ours = process.stat().st_uid in (os.getuid(), 0) and name == FILE_SERVER
        except OSError:
            continue  # it has ended
        if is_ours:
            descriptors = RootHelper(HELPER).ask("descriptors", process=int(process.name))
            if str(image) in descriptors.get("descriptors", {}).values():
                found.append(int(process.name))
    return found


@pytest.mark.parametrize("options", [(), ("-W",), ("--join",), ("--notify",)])
def test_steps_on_all_nodes(slurm: Slurm, options: tuple[str, ...]) -> None:
    done = slurm.run(*EVERYWHERE, "ch-run", *options, SMALL, "--", "hostname")
    assert sorted(done.stdout.split()) == sorted([*slurm.nodes] * 4)


def test_one_file_on_all_nodes(slurm: Slurm) -> None:
    for options in ((), ("--join",)):
        done = slurm.run(*EVERYWHERE, "ch-run", *options, slurm.file, "--", "hostname")
        assert sorted(done.stdout.split()) == sorted([*slurm.nodes] * 4)
    until(lambda: not file_servers(slurm.file), "a server stays")


def test_the_ranks_of_a_node_share_a_container(slurm: Slurm) -> None:
    """Each rank waits for the others: a group ends with its last member."""
    ready = slurm.directory / "ranks"
    ready.mkdir()
    show = (
        "echo $SLURM_NODEID-$(readlink /proc/self/ns/mnt);"
        " touch /mnt/$SLURM_PROCID; until [ $(ls /mnt | wc -l) = 8 ]; do sleep 0.1; done"
    )
    done = slurm.run(
        "srun",
        "-N2",
        "-n8",
        "--ntasks-per-node=4",
        "ch-run",
        "--join",
        f"--bind={ready}:/mnt",
        SMALL,
        "--",
        "sh",
        "-c",
        show,
    )
    assert sorted(Counter(done.stdout.split()).values()) == [4, 4]


def test_exit_statuses(slurm: Slurm) -> None:
    done = slurm.run("srun", "-n2", "ch-run", SMALL, "--", "sh", "-c", "exit 7", check=False)
    assert done.returncode == 7
    done = slurm.run("srun", "-n1", "ch-run", "nope", "--", "true", check=False)
    assert done.returncode == 31


def test_a_script_and_a_job_array(slurm: Slurm) -> None:
    script = slurm.directory / "script"
    script.write_text(
        "#!/bin/sh\n"
        f"ch-run {SMALL} -- sh -c 'echo task $SLURM_ARRAY_TASK_ID'\n"
        f"srun -n2 ch-run {slurm.file} -- sh -c 'echo step $SLURM_PROCID'\n"
    )
    output = slurm.directory / "array.%a"
    slurm.run("sbatch", "--wait", "-n2", "--array=1-3", f"--output={output}", script)
    for task in (1, 2, 3):
        lines = Path(str(output).replace("%a", str(task))).read_text().splitlines()
        assert sorted(lines) == ["step 0", "step 1", f"task {task}"]


def test_nothing_stays_after_scancel(slurm: Slurm) -> None:
    ready = slurm.directory / "ready"
    ready.mkdir()
    wait = f"touch {ready}/$0.$SLURM_PROCID; exec sleep 99999"
    lines = [
        f"srun --overlap -n2 ch-run -b {ready} {' '.join(words)} -- sh -c '{wait}' {name} &"
        for name, words in kinds(slurm).items()
    ]
    script = slurm.directory / "waiting"
    script.write_text("\n".join(["#!/bin/sh", *lines, "wait", ""]))
    log = slurm.directory / "waiting.log"
    job = slurm.run("sbatch", "--parsable", "-n2", f"--output={log}", script).stdout.strip()
    until(lambda: len(list(ready.iterdir())) == 2 * len(lines), "the steps do not start")
    assert file_servers(slurm.file)
    slurm.run("scancel", job)
    until(lambda: not slurm.run("squeue", "-h", "-j", job, check=False).stdout, "the job stays")
    until(lambda: not file_servers(slurm.file), "a server stays")
    until(lambda: not sleepers(ready), "a command stays")


def test_a_job_that_uses_too_much_memory(slurm: Slurm) -> None:
    """Slurm kills the step; no process of its container stays."""
    grow = "x=0123456789abcdef; while :; do x=$x$x; done"
    done = slurm.run(
        *("srun", "-n1", "--mem=50", "ch-run", slurm.file, "--", "sh", "-c", grow), check=False
    )
    assert done.returncode != 0
    assert "memory" in done.stderr.lower() or "killed" in done.stderr.lower(), done.stderr
    until(lambda: not file_servers(slurm.file), "a server stays")


def test_a_terminal(slurm: Slurm) -> None:
    argv = [
        "srun",
        "-n1",
        "--pty",
        "ch-run",
        SMALL,
        "--",
        "sh",
        "-c",
        "test -t 0 && read x && echo =$x=",
    ]
    terminal = Terminal(argv, dict(slurm.variables))
    try:
        terminal.write(b"typed\r")
        terminal.expect("=typed=")
        assert terminal.end()[0] == 0
    finally:
        terminal.close()


@pytest.mark.parametrize("kind", ["name", "file", "path"])
def test_srun_container(slurm: Slurm, kind: str) -> None:
    """`srun --container=` takes a name, a file, or a path of the storage."""
    storage = Path(slurm.variables["CH_IMAGE_STORAGE"])
    image = {"name": SMALL, "file": slurm.file, "path": storage / "img" / SMALL}[kind]
    show = "echo $SLURM_PROCID $0; test ! -e /usr/bin/srun"
    done = slurm.run("srun", "-n2", f"--container={image}", "sh", "-c", show, "a b")
    assert sorted(done.stdout.splitlines()) == ["0 a b", "1 a b"]


def test_srun_container_with_bundles(slurm_with_bundles: Slurm) -> None:
    """`srun --container=BUNDLE`: Slurm executes ch-run-oci in place of each task."""
    slurm = slurm_with_bundles
    bundle = slurm.directory / "bundle"
    slurm.run("ch-image", "oci-bundle", SMALL, bundle)
    show = "echo $SLURM_PROCID $0; test ! -e /usr/bin/srun && exit 3"
    done = slurm.run(
        *("srun", "-n2", f"--container={bundle}", "sh", "-c", show, "a 'b'"), check=False
    )
    assert sorted(done.stdout.splitlines()) == ["0 a 'b'", "1 a 'b'"], done.stderr
    assert done.returncode == 3
    told = [line for line in done.stderr.splitlines() if not line.startswith("srun: error: ")]
    assert told == []  # slurmstepd has asked RunTimeQuery, as root
    # The batch step: nothing but the script's output comes out.
    script, output = slurm.directory / "batch", slurm.directory / "batch.out"
    script.write_text("#!/bin/sh\ntest ! -e /usr/bin/srun && echo inside\n")
    words = ("sbatch", "--wait", f"--container={bundle}", f"--output={output}", script)
    slurm.run(*words)
    assert output.read_text() == "inside\n"


def test_salloc_container_with_bundles(slurm_with_bundles: Slurm) -> None:
    """The shell of `salloc --container` is in the container, on the node."""
    bundle = slurm_with_bundles.directory / "salloc.bundle"
    slurm_with_bundles.run("ch-image", "oci-bundle", SMALL, bundle)
    line = ["salloc", "-n1", f"--container={bundle}"]
    terminal = Terminal(line, {**slurm_with_bundles.variables, "SHELL": "/bin/sh"})
    try:
        terminal.write(b"test ! -e /usr/bin/srun && echo =$(hostname)=; exit 3\r")
        terminal.expect(f"=({'|'.join(slurm_with_bundles.nodes)})=")
        assert terminal.end()[0] == 3
    finally:
        terminal.close()
