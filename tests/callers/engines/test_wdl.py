"""The Workflow Description Language: miniwdl, as root in its containers, and Toil's runner."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from tests.callers.engines.conftest import owned

if TYPE_CHECKING:
    from pathlib import Path

    from tests.callers.engines.conftest import Site

WORKFLOW = """\
version 1.0
task hello {
  input { String name  File f }
  command <<<
    set -e
    echo "hello ~{name}"; cat ~{f}; id -u; echo "$IMAGE"
    echo made >made; touch /tmp/x /var/tmp/x
    test -z "$FROM_THE_HOST"
    if touch ~{f}; then exit 1; fi
  >>>
  output { Array[String] out = read_lines(stdout())  File made = "made" }
  runtime { docker: "IMAGE_NAME" cpu: 1 memory: "1G" }
}
workflow w {
  input { String name  File f }
  call hello { input: name = name, f = f }
  output { Array[String] out = hello.out  File made = hello.made }
}
"""


def prepare(site: Site, place: Path) -> None:
    (place / "f.txt").write_text("data\n")
    (place / "w.wdl").write_text(WORKFLOW.replace("IMAGE_NAME", site.small))
    (place / "in.json").write_text(json.dumps({"w.name": "x y", "w.f": str(place / "f.txt")}))


def test_miniwdl(site: Site, tmp_path: Path) -> None:
    """Its default is --containall --fakeroot."""
    prepare(site, tmp_path)
    words = [
        "miniwdl",
        "run",
        "w.wdl",
        "-i",
        "in.json",
        "--dir",
        "runs",
        "--no-color",
        "--verbose",
    ]
    env = {"MINIWDL__SCHEDULER__CONTAINER_BACKEND": "singularity", "FROM_THE_HOST": "yes"}
    done = site.run("miniwdl", *words, cwd=tmp_path, env=env)
    found = json.loads(done.stdout)["outputs"]
    assert found["w.out"] == ["hello x y", "data", "0", "is here"]
    made = next((tmp_path / "runs").glob("*/out/made/made"))
    assert owned(made.resolve()) == "made\n"


def test_toil(site: Site, tmp_path: Path) -> None:
    prepare(site, tmp_path)
    words = ["toil-wdl-runner", "w.wdl", "in.json", "--container=singularity"]
    words += ["--disableProgress", "-o", "out", "-m", "out.json"]
    site.run("toil", *words, cwd=tmp_path, env={"FROM_THE_HOST": "yes"})
    found = json.loads(owned(tmp_path / "out.json"))
    user = found["w.out"][2]
    assert user in ("0", str(os.geteuid()))  # root only with lines in /etc/subuid
    assert found["w.out"] == ["hello x y", "data", user, "is here"]
    assert list((tmp_path / "out").rglob("made"))
