"""Several commands in one storage directory at the same time, and some of them killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.conftest import KILLS, command
from tests.image.layer.archives import file
from tests.image.pull.faulty import FaultyRegistry
from tests.image.pull.images import Shelf

if TYPE_CHECKING:
    from pathlib import Path

    from tests.image.builder.conftest import Workshop


class Together:
    """Starts commands that run side by side."""

    def __init__(self, workshop: Workshop, storage: Path) -> None:
        self._workshop = workshop
        self._env = os.environ | {"CH_IMAGE_STORAGE": str(storage)}
        self._count = 0

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*command("ch-image"), *arguments],
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def build(self, dockerfile: str, tag: str) -> subprocess.Popen[str]:
        self._count += 1
        path = self._workshop.context.parent / f"Dockerfile.{self._count}"
        path.write_text(dockerfile)
        return self.start("build", "-t", tag, "-f", str(path), str(self._workshop.context))


def test_what_two_builds_have_in_common_is_done_once(workshop: Workshop, storage: Path) -> None:
    together = Together(workshop, storage)
    marks = workshop.context.parent / "marks"
    marks.mkdir()
    option = f"--bind={marks}:/marks"
    dockerfile = "FROM bb\nRUN mktemp /marks/XXXXXX; sleep 1; echo common >/c\nRUN echo {0} >/own\n"
    builds = []
    for name in "abcdef":
        path = workshop.context.parent / f"Dockerfile.{name}"
        path.write_text(dockerfile.format(name))
        argv = ("build", option, "-t", name, "-f", str(path), str(workshop.context))
        builds.append(together.start(*argv))
    outputs = [build.communicate(timeout=120) for build in builds]
    assert [build.returncode for build in builds] == [0] * 6, outputs
    assert len(os.listdir(marks)) == 1
    assert [workshop.run("cat /c /own", name) for name in "abcdef"] == [
        f"common\n{name}\n" for name in "abcdef"
    ]
    assert [name for name in os.listdir(storage / "locks") if name.startswith("turn-")] == []


DOCKERFILE = """\
FROM bb AS one
RUN echo {shared} >/shared; mkdir /d && echo x >/d/x
RUN --mount=type=cache,target=/c,sharing={sharing} echo {n} >>/c/log; rm /d/x
FROM bb
COPY --from=one /shared /s
COPY f /f
RUN echo {n} >/n; cat /f >>/n
"""

DELETE = 5  # its index among the six
ROUNDS = max(1, KILLS // 4)  # of two kills each, on each driver


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_six_commands_and_kills(workshop: Workshop, busybox_tar: Path, storage: Path) -> None:
    """Whatever is killed, every listed image is whole, and the store works without repairs."""
    shelf = Shelf()
    base = shelf.tar_layer(busybox_tar.read_bytes())
    for number in range(ROUNDS):
        shelf.image(base, shelf.layer(file("number", b"%d\n" % number)), tag=f"a:{number}")
    with FaultyRegistry(shelf).serve() as registry:
        six_commands_and_kills(workshop, storage, registry.host)


def six_commands_and_kills(workshop: Workshop, storage: Path, registry: str) -> None:
    workshop.write({"f": "f\n"})
    together = Together(workshop, storage)
    chance = random.Random(20261124)
    started = time.monotonic()
    workshop.build(DOCKERFILE.format(n=0, shared=0, sharing="shared"), tag="base")
    duration = time.monotonic() - started
    for number in range(ROUNDS):
        text = [
            DOCKERFILE.format(
                n=n, shared=number, sharing=chance.choice(["shared", "locked", "private"])
            )
            for n in range(3)
        ]
        running = [together.build(text[n], f"i{n}") for n in range(3)]
        running += [
            together.start("list"),
            together.start("pull", f"{registry}/a:{number}", f"pulled{number % 2}"),
            together.start("delete", f"i{number % 3}", f"pulled{(number + 1) % 2}"),
        ]
        victims = chance.sample([0, 1, 2, 4, 5], 2)
        time.sleep(chance.uniform(0, duration * 2))
        for victim in victims:
            os.killpg(running[victim].pid, signal.SIGKILL)
        outputs = [each.communicate(timeout=120) for each in running]
        for index, (each, output) in enumerate(zip(running, outputs, strict=True)):
            if index in victims:
                continue
            # Only one thing may fail: to delete an image that does not exist, or not any more.
            missing = any(text in output[1] for text in ("not in storage", "no matching image"))
            assert each.returncode == 0 or (index == DELETE and missing), (index, output)
        for name in workshop.ch_image("list").stdout.split():
            assert workshop.run("echo whole", name) == "whole\n"
            if name.startswith("i"):
                assert workshop.run("cat /n", name) == f"{name[1:]}\nf\n"
    for n in range(3):
        workshop.build(DOCKERFILE.format(n=n, shared="last", sharing="locked"), tag=f"i{n}")
        assert workshop.run("cat /s /n", f"i{n}") == f"last\n{n}\nf\n"
    workshop.ch_image("build-cache", "--gc")
    assert os.listdir(storage / "cache-mounts") == []
    assert os.listdir(storage / "tmp") == ["trash"]
    assert [name for name in os.listdir(storage / "locks") if name.startswith("turn-")] == []
