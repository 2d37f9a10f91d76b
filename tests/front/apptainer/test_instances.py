"""Lines about instances, and the lines of ``ch-run`` that they stand for."""

from __future__ import annotations

import pytest

from sundog.base.kernel.living_process import Process
from sundog.front.apptainer.apps import App
from sundog.front.apptainer.host import Host
from sundog.front.apptainer.image import ImageFacts
from sundog.front.apptainer.instance_options import INSTANCE_START
from sundog.front.apptainer.instance_plan import instance_plan, member_plan, unused_options
from sundog.front.apptainer.instances import Instance
from sundog.front.apptainer.line import scan_action, scan_line
from sundog.front.apptainer.site import Site

IMAGE = ImageFacts("/d/x.sif", "/d/x.sif", startscript=True)
STARTED = App("a", ["scif/startscript"], ())


def host(cwd: str = "/work") -> Host:
    return Host(
        {"HOME": "/home/ada", "SUNDOG_IDLE": "3", "SUNDOG_JOIN": "x", "TMPDIR": "/t"},
        *(cwd, "/home/ada"),
        exists=lambda _: True,
        has_devices=lambda _: False,
        read_file=str,
        read_script=lambda _: None,
        site=Site(),
    )


def instance(*, contains: bool) -> Instance:
    return Instance(
        "web",
        Process(7, 8, "boot"),
        word="/d/x.sif",
        image="/d/x.sif",
        identity=["--notify", "--uid=0"],
        home="/root",
        contains=contains,
        binds="/a:/b",
        out="",
        err="",
    )


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (IMAGE, ["/.singularity.d/startscript", "x", "y z"]),
        (ImageFacts("bb", "docker://bb"), None),
        (ImageFacts("/d", "/d", startscript=True, app=App("a", [], ())), None),
        (ImageFacts("/d", "/d", app=STARTED), ["/scif/apps/a/scif/startscript", "x", "y z"]),
    ],
)
def test_the_startscript(image: ImageFacts, expected: list[str] | None) -> None:
    line = scan_line("instance start", ["IMAGE", "x", "y z"], INSTANCE_START, {}, permute=False)
    plan = member_plan("start", line, image, host(), instance(contains=False))
    assert (None if plan is None else plan.arguments[-3:]) == expected


@pytest.mark.parametrize(
    ("contains", "expected"),
    [(False, "/work"), (True, "/root")],
)
def test_a_member(contains: bool, expected: str) -> None:
    """It has the user and the tag of the instance, and starts where the caller is, or at home."""
    line = scan_action("exec", ["instance://web", "true"], {})
    plan = member_plan("exec", line, IMAGE, host("/work"), instance(contains=contains))
    assert plan is not None
    assert plan.arguments[:4] == [
        *("--notify", "--uid=0", "--join-tag=instance/7/8", f"--cd={expected}"),
    ]
    assert not {"SUNDOG_IDLE", "SUNDOG_JOIN", "TMPDIR"} & plan.environment.keys()


def test_the_container() -> None:
    """Its options are those of exec; it always has a PID namespace, and no command."""
    words = ["--fakeroot", "--contain", "-B", "/a:/b", "--ipc", "IMAGE"]
    line = scan_line("instance start", words, INSTANCE_START, {}, permute=False)
    plan = instance_plan(line, IMAGE, host())
    assert plan.container.namespaces == ["ipc", "pid"]
    assert (plan.contains, plan.home, plan.binds) == (True, "/root", "/a:/b")
    assert plan.identity == ["--notify", "--uid=0", "--gid=0"]
    assert plan.container.arguments[-3:] == ["/d/x.sif", "--", "idle"]
    assert list(unused_options(line)) == [
        f"--{name} has no effect: the instance runs already"
        for name in ("fakeroot", "contain", "bind", "ipc")
    ]
