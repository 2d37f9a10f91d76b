"""`make demo`: build Dockerfiles that need root as an ordinary user, and run the results.

As root, it installs missing packages, makes the base images and an ordinary user, and drops to him
for all that Sundog does. As anyone else, it does the same without the steps that only root can do.
A step with another result than expected ends the demonstration with exit status 1.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scripts import account, install, packages
from scripts.bases import makers
from scripts.place import CHECKOUT, WorkshopError, copy_tree, own

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

USER = "sundog"
# The base image, and its name in the Dockerfiles.
IMAGES = {"debian": "debian:trixie", "rpm": "rpmdistro:8", "alpine": "alpine:3.23"}


@dataclass(frozen=True)
class Step:
    """A command, whether it is to succeed, a pattern that its output must match, and the reason."""

    command: str
    succeeds: bool
    pattern: str
    why: str


def twin(tag: str, dockerfile: str, *, refusal: str, why: str, run: Step) -> list[Step]:
    """Return a Dockerfile's steps: a build without root emulation, one with it, and a run."""
    grown = rf"grown in \d+ instructions: {tag}"
    done = "the same Dockerfile, untouched: calls that need root are answered with success"
    return [
        Step(build("none", tag, dockerfile), False, refusal, why),
        Step(build("seccomp", tag, dockerfile), True, grown, done),
        run,
    ]


def build(mode: str, tag: str, dockerfile: str) -> str:
    """Return the command that builds an example."""
    return f"ch-image build --force={mode} -t {tag} -f examples/openssh/Dockerfile.{dockerfile} ."


def older(tag: str, dockerfile: str) -> list[Step]:
    """Return the steps of a Dockerfile's build by the program fakeroot, and of a run."""
    why = "the older way: fakeroot is first installed into the image, by this distribution's recipe"
    # The second line: an earlier demonstration has filled the build cache.
    command = r"--force: RUN: new command: \['fakeroot', .*\]|\d\* RUN\.F "
    return [Step(build("fakeroot", tag, dockerfile), True, command, why), ssh(tag)]


def ssh(tag: str) -> Step:
    """Return the step that runs an image's SSH client."""
    return Step(f"ch-run {tag} -- ssh -V", True, r"OpenSSH_\S+", "the result runs")


BUILDS = {
    "Debian: apt and dpkg": [
        *twin(
            "ssh",
            "debian",
            refusal=r"^E: set(?:e?[ug]id|groups) .*(?:Operation not permitted|Invalid argument)",
            why="apt wants to become the user _apt, but you have only yourself to become",
            run=ssh("ssh"),
        )[:1],
        Step(
            build("none", "ssh", "debian-none"),
            False,
            r"error setting ownership of .*: Invalid argument",
            "told not to, it gets further: now dpkg gives a file to a group that you are not in",
        ),
        *twin("ssh", "debian", refusal="", why="", run=ssh("ssh"))[1:],
        *older("ssh-fakeroot", "debian"),
    ],
    "An RPM distribution: dnf": [
        *twin(
            "ssh-rpm",
            "rpm",
            refusal=r"ssh-keysign.*chown failed",
            why="the package has a program of a group that only the package makes",
            run=ssh("ssh-rpm"),
        ),
        *older("ssh-rpm-fakeroot", "rpm"),
    ],
    "The same by zypper": twin(
        "ssh-zypper",
        "zypper",
        refusal=r"ssh-keysign.*chown failed",
        why="another front end to the same rpm",
        run=ssh("ssh-zypper"),
    ),
    "Alpine: apk": twin(
        "secret",
        "alpine",
        refusal=r"failed to preserve .*: owner",
        why="the package has files of group shadow and user mail",
        run=Step(
            "ch-run secret -- cat /usr/share/ownership-demo/secret",
            True,
            r"of group shadow",
            "installed, and readable: to your programs all of the image is yours",
        ),
    ),
}


def environment(user: account.Account, programs: Path) -> dict[str, str]:
    """Return the environment of the demonstration's commands.

    Its images have a storage directory of their own: the user may have others by the same names.
    """
    storage = f"/var/tmp/{user.name}.sundog-demo"
    return account.environment(user, programs) | {"CH_IMAGE_STORAGE": storage}


@dataclass(frozen=True)
class Stage:
    """The demonstration's directory, user and environment."""

    user: account.Account
    environment: Mapping[str, str]
    cwd: Path
    log: Path

    def run(self, step: Step) -> None:
        """Run a step; print its result and the reason; raise WorkshopError if it is unexpected."""
        print(f"$ {step.command}", flush=True)
        started = time.monotonic()
        with self.log.open("w+", errors="replace") as log:
            status = account.run(
                self.user,
                shlex.split(step.command),
                env=self.environment,
                cwd=self.cwd,
                output=log,
            )
            log.seek(0)
            output = log.read()
        seconds = time.monotonic() - started
        found = re.search(f".*(?:{step.pattern}).*", output, re.M)
        if found is None or (status == 0) != step.succeeds:
            tail = "".join(f"  | {line}\n" for line in output.splitlines()[-25:])
            wanted = "succeed" if step.succeeds else "fail"
            expected = f" and to print /{step.pattern}/" if step.pattern else ""
            raise WorkshopError(
                f"unexpected: this was to {wanted}{expected}, and has exit status {status}."
                f" What it printed last:\n{tail}"
            )
        if step.pattern:
            print(f"  {found.group().strip()}")
        verdict = "" if step.succeeds else f"fails, as it should (exit status {status}): "
        print(f"  -> {verdict}{step.why} ({seconds:.1f} s)", flush=True)


def prepare() -> Stage:
    """Get all that the demonstration needs, from packages to its user."""
    packages.require(sorted({*account.NEEDS, *install.NEEDS, *makers.needs(list(IMAGES))}))
    root = os.geteuid() == 0
    user = account.ordinary(USER) if root else account.current()
    who = f"{user.name} (uid {user.uid})"
    print(f"Sundog runs here as {who}, an ordinary user.", flush=True)
    place = own("demo")
    cwd = CHECKOUT
    if root:  # the user may not be able to read the checkout
        cwd = place / "checkout"
        copy_tree(CHECKOUT / "examples", cwd / "examples")
    tarballs = {name: makers.base(name) for name in IMAGES}
    programs = install.environment("demo", install.SYSTEM_PYTHON, extra="[fast]")
    stage = Stage(user, environment(user, programs), cwd, place / "log")
    print("\nBase images, made from this machine's package sources", flush=True)
    for name, reference in IMAGES.items():
        tarball = shlex.quote(str(tarballs[name]))
        line = Step(f"ch-image import {tarball} {reference}", True, "", "in storage")
        stage.run(line)
    return stage


def main() -> int:
    """Run the demonstration; return the exit status."""
    started = time.monotonic()
    try:
        stage = prepare()
        for title, steps in BUILDS.items():
            print(f"\n{title}", flush=True)
            for step in steps:
                stage.run(step)
    except WorkshopError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"\nAll went as expected, in {time.monotonic() - started:.0f} s. To go on by hand:\n")
    if os.geteuid() == 0:
        print(f"  su - {stage.user.name}")
    print(f"  export PATH={stage.environment['PATH'].split(':')[0]}:$PATH")
    print(f"  export CH_IMAGE_STORAGE={stage.environment['CH_IMAGE_STORAGE']}")
    print("  ch-image list                            # the images of this demonstration")
    print("  ch-run -W ssh -- sh                      # a shell; changes go when you leave")
    print("  ch-image build -t mine -f Dockerfile .   # yours: FROM debian:trixie and go on")
    print("  ch-image pull debian:trixie              # from Docker Hub, if it is in reach")
    print("  ch-image build --force=notify ...        # mocked owners that programs can see, too")
    print("\ndocs/tutorial/image.md goes on from here.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
