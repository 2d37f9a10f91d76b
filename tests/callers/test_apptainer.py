"""Lines of programs that call Apptainer, as their sources write them, run by a shell.

`make callers` runs other such programs themselves.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.conftest import command, run_program

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Completed
    from tests.image.registry.servers import InProcessRegistry

# Nextflow's task has neither HOME nor USER; Galaxy's and Cromwell's have the host's environment.
LINES = {
    "Nextflow": (
        "set +u; env - PATH=\"$PATH\" CH_IMAGE_STORAGE=$CH_IMAGE_STORAGE "
        '${TMP:+SINGULARITYENV_TMP="$TMP"} SINGULARITYENV_K="a b" '
        "singularity exec --no-home --pid -B {work} {image} /bin/bash -c "
        '"cd {work}; /bin/bash -ue .command.sh"'
    ),
    "Galaxy": (
        'SINGULARITYENV_K="a b" singularity -s exec --contain --pwd {work} --cleanenv --ipc --pid '
        "--no-mount tmp -B {work}:{work} -B {data}:{data}:ro --home $HOME:$HOME {image} "
        "/bin/bash .command.sh"
    ),
    "Cromwell": "singularity exec --env 'K=a b' --bind {work}:/cromwell {image} "
                "/bin/bash /cromwell/.command.sh",
}  # fmt: skip
SCRIPT = """\
cat {data}/in >out
echo "$K" "$TOOL" $(id -u) >>out
sort out >sorted
touch {data}/new 2>/dev/null && echo written >>out
exit 5
"""


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with the commands `apptainer` and `singularity`."""
    place = tmp_path_factory.mktemp("programs")
    run_program([*command("sundog"), "apptainer", "links", place])
    return place


@pytest.mark.parametrize("kind", ["docker", "sif"])
def test_lines(
    bash: Callable[..., Completed],
    registry: InProcessRegistry,
    programs: Path,
    tmp_path: Path,
    kind: str,
) -> None:
    """Each makes its files as the user, and ends with the status of its command."""
    name = f"docker://{registry.host}/lab/tool:1"
    env = {"CH_IMAGE_STORAGE": str(tmp_path / "storage")}
    path = f'export PATH="{programs}:$PATH"; '
    (tmp_path / "home").mkdir()
    image = name
    if kind == "sif":
        image = str(tmp_path / "x:1.img")
        line = f"singularity pull --name {image}.pulling.123 {name} >/dev/null"
        bash(f"{path}{line} && mv {image}.pulling.123 {image}", **env)
    data = tmp_path / "data"
    data.mkdir()
    (data / "in").write_text("from data\n")
    for caller, template in LINES.items():
        line, work = template, tmp_path / caller
        work.mkdir()
        (work / ".command.sh").write_text(SCRIPT.replace("{data}", str(data)))
        places = {"{work}": str(work), "{data}": str(data), "{image}": image}
        for place, value in places.items():
            line = line.replace(place, value)
        env["HOME"] = str(tmp_path / "home")
        done = bash(path + line, check=False, cwd=work, **env)
        assert done.returncode == 5, (caller, done)
        lines = (work / "out").read_text().splitlines()
        assert lines[:2] == ["from data", f"a b yes {os.geteuid()}"], caller
        assert (lines[2:] == []) == (caller == "Galaxy"), caller
        for made in (work / "out", work / "sorted"):
            assert made.stat().st_uid == os.geteuid()
