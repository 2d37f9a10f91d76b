"""A tiny image, made here, goes through all that images go through on this machine."""

from __future__ import annotations

import os
import shutil
import time
from functools import partial

from sundog.base.installation import own_command
from sundog.errors import NotHere, SundogError
from sundog.front.doctor.commands import Commands
from sundog.front.doctor.outcome import Check
from sundog.front.doctor.tiny_image import make_tiny_image

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

IMAGE = "localhost/sundog-test/tiny:1"
_BUILT = "localhost/sundog-test/built:1"
_PULLED = "localhost/sundog-test/pulled:1"
_SQUASH_PROGRAMS = ("mksquashfs", "tar2sqfs")
_GROUP = 2  # processes
# Commands of RUN for each mode of root emulation; each also tests its effect.
_RUNS = {
    "none": "cat /etc/passwd > /made && chmod 0755 /made",
    "seccomp": "cat /etc/passwd > /made && chown 7:7 /made",
    "notify": 'cat /etc/passwd > /made && chown 7:8 /made && test "$(stat -c %u:%g /made)" = 7:8',
}
_SAYS = ("--", "/bin/sh", "-c", "echo works")


def image_checks(place: bytes) -> tuple[Check, ...]:
    """Return the checks of images in ``place``, an empty directory; the first makes the image."""
    commands = Commands(os.fsdecode(place))
    return tuple(
        Check(name, partial(act, commands), is_required=True, in_child=False)
        for name, act in _CHECKS
    )


def pull_check(place: bytes, name: str) -> Check:
    """Return the check that pulls an image from a registry, and deletes it."""
    return Check(f"pull {name}", partial(_pull, Commands(os.fsdecode(place)), name), in_child=False)


def slurm_check(place: bytes) -> Check:
    """Return the check that starts containers by Slurm's srun."""
    return Check("run by srun", partial(_srun, Commands(os.fsdecode(place))), in_child=False)


def _import(commands: Commands) -> str:
    tree = commands.at("tree")
    os.mkdir(tree)
    make_tiny_image(tree)
    commands.run("ch-image", "import", tree, IMAGE)
    return ""


def _build(mode: str, commands: Commands) -> str:
    context = commands.at(f"context-{mode}")
    os.mkdir(context)
    with open(os.path.join(context, "Dockerfile"), "w", encoding="ascii") as file:
        file.write(f'FROM {IMAGE}\nRUN {_RUNS[mode]}\nCOPY Dockerfile /\nCMD ["cat", "/made"]\n')
    words = ["--no-fallback"] if mode == "notify" else []
    commands.run("ch-image", "build", f"--force={mode}", *words, "-t", _BUILT, context)
    if "root:" not in commands.run("ch-run", _BUILT):
        raise SundogError("the image that was built lacks what RUN has made")
    return ""


def _run(commands: Commands) -> str:
    began = time.monotonic()
    _expect(commands, IMAGE, *_SAYS)
    return f"in {(time.monotonic() - began) * 1000:.0f} ms"


def _directory(commands: Commands) -> str:
    commands.run("ch-convert", "-q", IMAGE, "./directory")
    _expect(commands, "./directory", *_SAYS)
    return ""


def _squash(commands: Commands) -> str:
    if not any(map(shutil.which, _SQUASH_PROGRAMS)):
        raise NotHere(f"no {' or '.join(_SQUASH_PROGRAMS)} makes a SquashFS file")
    commands.run("ch-convert", "-q", IMAGE, "./tiny.sqfs")
    _expect(commands, "./tiny.sqfs", *_SAYS)
    return ""


def _write_fake(commands: Commands) -> str:
    _expect(commands, "-W", IMAGE, "--", "/bin/sh", "-c", "echo works > /new && cat /new")
    return ""


def _notify(commands: Commands) -> str:
    script = 'echo > /new && chown 7 /new && test "$(stat -c %u /new)" = 7 && echo works'
    words = ("-W", "--notify", "--no-fallback", IMAGE, "--", "/bin/sh", "-c", script)
    _expect(commands, *words)
    return ""


# A member prints its container, and waits for the others: a group ends with its last member.
_MEET = (
    "readlink /proc/self/ns/mnt; : >/home/$0;"
    f" for n in {' '.join(map(str, range(_GROUP)))}; do until test -e /home/$n; do :; done; done"
)


def _join(commands: Commands) -> str:
    members = commands.at("members")
    os.mkdir(members)
    words = (
        *(f"--join-ct={_GROUP}", f"--join-tag=sundog-test-{os.getpid()}"),
        *(f"--bind={members}:/home", IMAGE, "--", "/bin/sh", "-c", _MEET),
    )
    started = [commands.start("ch-run", *words, str(number)) for number in range(_GROUP)]
    try:
        said = {commands.finish(process) for process in started}
    finally:
        for process in started:  # it would wait for ever for one that has failed
            process.kill()
            process.communicate()
    if len(said) != 1:
        raise SundogError("processes of one group have containers of their own")
    return f"{_GROUP} processes in one container"


def _archives(commands: Commands) -> str:
    for form, name in (("tar", "./tiny.tar.gz"), ("oci-archive", "./tiny.oci.tar")):
        commands.run("ch-convert", "-q", "-o", form, IMAGE, name)
        commands.run("ch-convert", "-q", "-i", form, name, f"localhost/sundog-test/{form}:1")
        _expect(commands, f"localhost/sundog-test/{form}:1", *_SAYS)
    return "tar, OCI"


def _pull(commands: Commands, name: str) -> str:
    began = time.monotonic()
    commands.run("ch-image", "pull", name, _PULLED)
    commands.run("ch-image", "delete", _PULLED)
    return f"in {time.monotonic() - began:.1f} s"


def _srun(commands: Commands) -> str:
    if shutil.which("srun") is None:
        raise NotHere("no srun in $PATH")
    program = own_command("ch-run")
    words = ["srun", f"--ntasks={_GROUP}", *program, "--join", commands.at("tree"), *_SAYS]
    said = commands.run_program(words)
    if said.split() != ["works"] * _GROUP:
        raise SundogError(f"srun ch-run printed {said[:80]!r}", "is the storage on every node?")
    return f"{_GROUP} tasks"


def _expect(commands: Commands, *words: str) -> None:
    """Run a command of ours that prints "works"."""
    said = commands.run("ch-run", *words)
    if said != "works\n":
        raise SundogError(f"the command in the container printed {said[:80]!r}")


_CHECKS: tuple[tuple[str, Callable[[Commands], str]], ...] = (
    ("import", _import),
    *((f"build --force={mode}", partial(_build, mode)) for mode in _RUNS),
    ("run by name", _run),
    ("run a directory", _directory),
    ("run SquashFS", _squash),
    ("run -W", _write_fake),
    ("run --notify", _notify),
    ("run --join", _join),
    ("convert", _archives),
)
