"""ReFrame, a program that tests machines: both of its platforms, by the name of a registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.callers.engines.conftest import owned

if TYPE_CHECKING:
    from pathlib import Path

    from tests.callers.engines.conftest import Site

SETTINGS = """
site_configuration = {
    "systems": [{
        "name": "s", "hostnames": [".*"], "modules_system": "nomod",
        "partitions": [{
            "name": "p", "scheduler": "local", "launcher": "local", "environs": ["builtin"],
            "container_platforms": [{"type": "Singularity"}, {"type": "Apptainer"}],
        }],
    }],
    "environments": [{"name": "builtin", "cc": "cc"}],
}
"""
TEST = """
import reframe as rfm
import reframe.utility.sanity as sn

@rfm.simple_test
class Container(rfm.RunOnlyRegressionTest):
    platform = parameter(["Singularity", "Apptainer"])
    valid_systems = valid_prog_environs = ["*"]

    @run_before("run")
    def set_container(self):
        self.container_platform = self.platform
        self.container_platform.image = "docker://{image}"
        self.container_platform.command = "bash -c 'echo $IMAGE in $PWD; ls /data | tee out.txt'"
        self.container_platform.mount_points = [("{data}", "/data")]

    @sanity_function
    def is_right(self):
        return sn.all([
            sn.assert_found("is here in /rfm_workdir", self.stdout),
            sn.assert_found("^input$", self.stdout),
        ])
"""


def test_both_platforms(site: Site, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "input").touch()
    (tmp_path / "settings.py").write_text(SETTINGS)
    (tmp_path / "t.py").write_text(TEST.replace("{image}", site.small).replace("{data}", str(data)))
    words = ["--nocolor", "-C", "settings.py", "-c", "t.py", "--keep-stage-files", "-r"]
    done = site.run("reframe", "reframe", *words, cwd=tmp_path)
    assert "Ran 2/2 test case(s)" in done.stdout
    assert "[  PASSED  ]" in done.stdout
    made = list((tmp_path / "stage").rglob("out.txt"))
    assert [owned(path) for path in made] == ["input\n"] * 2
