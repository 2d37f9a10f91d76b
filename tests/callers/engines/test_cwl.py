"""The Common Workflow Language: cwltool, and Toil's runner, which uses cwltool's code."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.callers.engines.conftest import owned
from tests.conftest import command, run_program

if TYPE_CHECKING:
    from tests.callers.engines.conftest import Site

# $HOME in a value of CWL is no variable of a shell.
TOOL = """\
cwlVersion: v1.2
class: CommandLineTool
requirements:
  InlineJavascriptRequirement: {}
  NetworkAccess: {networkAccess: NETWORK}
  DockerRequirement: DOCKER
  EnvVarRequirement:
    envDef: {GREETING: "hello $HOME"}
  InitialWorkDirRequirement:
    listing: [{entryname: conf.txt, writable: true, entry: "a b"}]
inputs:
  file: {type: File, inputBinding: {position: 1}}
baseCommand: [sh, -c]
arguments:
  - valueFrom: |
      set -e; cat "$0" conf.txt; echo; echo "$GREETING"; id -u
      cut -s -d: -f1 /proc/self/net/dev | tr -d " "; echo "$IMAGE"
      test "$PWD" = "$HOME"; touch /tmp/x; mkdir -p made/deep; echo made >made/deep/file
      ! touch "$0"
    position: 0
stdout: out.txt
outputs:
  out: {type: stdout}
  made: {type: Directory, outputBinding: {glob: made}}
"""
RUNNERS = {
    "cwltool": ["cwltool", "--singularity"],
    "toil": ["toil-cwl-runner", "--singularity", "--disableProgress"],
}


def dockerfile(site: Site) -> str:
    text = f"FROM {site.small}\\nRUN echo built >/built\\nENV IMAGE=built\\n"
    return f'{{dockerFile: "{text}", dockerImageId: built}}'


def run(
    site: Site, place: Path, docker: str, *, runner: str = "cwltool", network: str = "false",
    **env: str,
) -> list[str]:  # fmt: skip
    """Run the tool; return the lines that it has printed."""
    (place / "tool.cwl").write_text(TOOL.replace("DOCKER", docker, 1).replace("NETWORK", network))
    (place / "in.txt").write_text("data\n")
    (place / "job.yml").write_text("file: {class: File, path: in.txt}\n")
    words = [*RUNNERS[runner], "--outdir", "out", "tool.cwl", "job.yml"]
    done = site.run(runner, *words, cwd=place, env=env)
    found = json.loads(done.stdout[done.stdout.index("{") :])
    assert found["made"]["class"] == "Directory"
    assert owned(place / "out/made/deep/file") == "made\n"
    return owned(place / "out/out.txt").splitlines()


def expected(image: str = "is here", *networks: str) -> list[str]:
    return ["data", "a b", "hello $HOME", str(os.geteuid()), *(networks or ["lo"]), image]


@pytest.mark.parametrize("runner", RUNNERS)
def test_an_image_of_a_registry(site: Site, tmp_path: Path, runner: str) -> None:
    docker = f'{{dockerPull: "{site.small}"}}'
    assert run(site, tmp_path, docker, runner=runner) == expected()


def test_a_file_in_a_cache(site: Site, tmp_path: Path) -> None:
    """The second run pulls nothing."""
    cache = tmp_path / "cache"
    cache.mkdir()
    made = []
    for name in ("1", "2"):
        place = tmp_path / name
        place.mkdir()
        docker = f'{{dockerPull: "{site.small}"}}'
        assert run(site, place, docker, CWL_SINGULARITY_CACHE=str(cache)) == expected()
        made.append([(path.name, path.stat().st_mtime_ns) for path in cache.iterdir()])
    assert made[0] == made[1]
    assert len(made[0]) == 1


def test_a_dockerfile(site: Site, tmp_path: Path) -> None:
    assert run(site, tmp_path, dockerfile(site)) == expected("built")


def test_an_archive(site: Site, tmp_path: Path) -> None:
    env = {"CH_IMAGE_STORAGE": str(tmp_path / "storage")}
    run_program([*command("ch-image"), "pull", site.small, "d"], env=env)
    run_program([*command("ch-image"), "save", "-o", tmp_path / "image.tar", "d"], env=env)
    assert run(site, tmp_path, "{dockerLoad: image.tar}") == expected()


def test_a_sandbox(site: Site, tmp_path: Path) -> None:
    argv = ["apptainer", "build", "--sandbox", "box", f"docker://{site.small}"]
    site.run("cwltool", *argv, cwd=tmp_path)
    lines = run(site, tmp_path, "{dockerPull: box}", CWL_SINGULARITY_IMAGES=str(tmp_path))
    assert lines == expected()


def test_with_a_network(site: Site, tmp_path: Path) -> None:
    lines = Path("/proc/self/net/dev").read_text().splitlines()
    networks = [line.partition(":")[0].strip() for line in lines if ":" in line]
    docker = f'{{dockerPull: "{site.small}"}}'
    assert run(site, tmp_path, docker, network="true") == expected("is here", *networks)
