"""Set-id bits: a layer lacks those that a RUN or the kernel removed, and has the others."""

from __future__ import annotations

import re
import tarfile
from typing import TYPE_CHECKING

import pytest

from sundog.image.store.store import Store

if TYPE_CHECKING:
    from tests.image.builder.conftest import Workshop

FILES = {"u": 0o4755, "g": 0o2755, "ug": 0o6755, "plain": 0o755, "locked": 0o2745}
BEFORE = {f"s/{name}": mode for name, mode in FILES.items()} | {"s/d": 0o2775}
FIRST = "FROM bb\nRUN mkdir -m 755 /s /s/d && chmod 2775 /s/d " + "".join(
    f"&& echo {name} >/s/{name} && chmod {mode:o} /s/{name} " for name, mode in FILES.items()
)
ALL_OFF = "find / -xdev -perm /6000 -exec chmod a-s {} +"


@pytest.fixture
def first(workshop: Workshop) -> Workshop:
    """Return a workshop with the image ``first``, which has set-id files in ``/s``."""
    workshop.build(f"{FIRST}\n", "--force=none", tag="first")
    assert _last_layer(workshop, "first") == {"s": 0o755} | BEFORE
    return workshop


def _last_layer(workshop: Workshop, image: str = "img") -> dict[str, int]:
    """Return the modes in the last layer of an image as a tar."""
    context = workshop.context.parent
    storage = workshop.ch_image("gestalt", "storage-path").stdout.strip()
    with Store.open(storage) as store:
        layers = store.images.get(image).layers
        store.layers.write_tar(layers[-1], bytes(context / "layer.tar"))
    with tarfile.open(context / "layer.tar") as archive:
        return {member.name.strip("/"): member.mode for member in archive if member.name != "."}


def _seen(workshop: Workshop) -> dict[str, int]:
    """Return the modes that a container of the image sees in ``/s``."""
    lines = workshop.run("cd / && stat -c '%a %n' s/*").splitlines()
    return {name: int(mode, 8) for mode, name in (line.split() for line in lines)}


def test_all_bits_are_taken_off(first: Workshop) -> None:
    first.build(f"FROM first\nRUN {ALL_OFF}\n")
    off = {name: mode & 0o777 for name, mode in BEFORE.items()}
    changed = {name: off[name] for name, mode in BEFORE.items() if mode & 0o6000}
    assert _last_layer(first) == {"s": 0o755} | changed
    assert _seen(first) == off


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("chmod u-s /s/u", "u"),
        ("chmod g-s /s/g", "g"),
        ("chmod a-s /s/ug", "ug"),
        ("cp /s/u /new && rm /s/u && cp /new /s/u && rm /new", "u"),
        ("cp /s/u /new && cp /new /s/u && rm /new", "u"),
        ("rm /s/ug && cp /s/plain /s/ug", "ug"),
        ("cp /s/ug /new && mv /new /s/ug", "ug"),
        ("echo new >/new && chmod 755 /new && mv -f /new /s/g", "g"),
    ],
)
def test_one_is_taken_off_or_replaced(first: Workshop, command: str, name: str) -> None:
    first.build(f"FROM first\nRUN {command}\n")
    assert _last_layer(first) == {"s": 0o755, f"s/{name}": 0o755}
    assert _seen(first) == BEFORE | {f"s/{name}": 0o755}


@pytest.mark.parametrize("command", ["echo more >>$f", ": >$f", "touch $f", "mv $f /x && mv /x $f"])
def test_the_layer_keeps_what_the_kernel_keeps(first: Workshop, command: str) -> None:
    """The layer has the bits that the command itself sees after a write or a move."""
    files = " ".join(f"s/{name}" for name in FILES)
    script = f"cd /; for f in {files}; do {command}; done; stat -c 'kept %a %n' {files}"
    done = first.build(f"FROM first\nRUN {script}\n", "--force=none")
    found = re.findall(r"^kept (\d+) (.+)$", done.stdout, re.MULTILINE)
    kept = {name: int(mode, 8) for mode, name in found}
    assert len(kept) == len(FILES)
    if command.startswith(("touch", "mv")):
        assert kept | {"s/d": 0o2775} == BEFORE
    else:
        assert kept["s/u"] == kept["s/ug"] == 0o755
    assert _last_layer(first) == {"s": 0o755} | kept
    assert _seen(first) == BEFORE | kept


def test_what_is_only_said_to_be_done_changes_nothing(first: Workshop) -> None:
    """A faked chown does not reach the kernel, so the kernel does not remove the bits."""
    first.build("FROM first\nRUN chown 0:0 /s/ug && chmod o+t /s/ug && chmod o-t /s/ug\n")
    assert _last_layer(first) == {"s": 0o755, "s/ug": 0o6755}


def test_before_a_later_instruction(first: Workshop) -> None:
    """Removed bits do not appear again when a later RUN changes the file."""
    first.build(f"FROM first\nRUN {ALL_OFF}\nRUN echo more >>/s/ug && touch /s/u\n")
    assert _last_layer(first) == {"s": 0o755, "s/ug": 0o755, "s/u": 0o755}


# The owner of a file made under seccomp is unknown, so it is not set-id outside the store.


def test_what_seccomp_made_has_its_bits_until_it_leaves(workshop: Workshop) -> None:
    workshop.build(f"{FIRST}\n")
    assert _seen(workshop) == BEFORE
    # The bits of a directory give no rights.
    without = {f"s/{name}": mode & 0o1777 for name, mode in FILES.items()}
    assert _last_layer(workshop) == {"s": 0o755} | without | {"s/d": 0o2775}


@pytest.mark.parametrize(
    "command", ["touch /s/u", "chmod o-r /s/u", "chmod u-s /s/u && chmod u+s /s/u"]
)
def test_later_runs_do_not_make_it_known(workshop: Workshop, command: str) -> None:
    workshop.build(f"{FIRST}\n", tag="first")
    for force in ("seccomp", "none", "notify"):
        workshop.build(f"FROM first\nRUN {command} && : {force}\n", f"--force={force}")
        assert _last_layer(workshop)["s/u"] & 0o7000 == 0, force
        assert _seen(workshop)["s/u"] & 0o7000 == 0o4000, force


@pytest.mark.parametrize("force", ["seccomp", "none"])
def test_bits_that_come_later_than_the_file(workshop: Workshop, force: str) -> None:
    workshop.build("FROM bb\nRUN echo >/f && chmod 755 /f && mkdir /s\n", tag="first")
    workshop.build("FROM first\nRUN chmod 4755 /f && cp /f /s/f\n", f"--force={force}")
    assert _last_layer(workshop)["f"] == 0o755


def test_a_supervisor_that_saw_the_new_owner_makes_it_known(workshop: Workshop) -> None:
    workshop.build(f"{FIRST}\n", tag="first")
    command = "chown 5:6 /s/u && chmod 4755 /s/u"
    workshop.build(f"FROM first\nRUN {command}\n", "--force=notify")
    assert _last_layer(workshop)["s/u"] == 0o4755


def test_a_file_that_moves_may_be_anybodys(first: Workshop) -> None:
    """Owners are known by path: under a new path, the file would belong to root."""
    first.build("FROM first\nRUN mv /s/u /s/new && ln /s/ug /s/a\n")
    layer = _last_layer(first)
    assert layer["s/a"] == layer["s/ug"] == 0o755
    assert layer["s/new"] == 0o755


def test_a_file_under_notify_keeps_its_bits(workshop: Workshop) -> None:
    workshop.build(f"{FIRST}\n", "--force=notify", tag="first")
    assert _last_layer(workshop, "first") == {"s": 0o755} | BEFORE
    workshop.build("FROM first\nRUN mv /s/u /s/new\n", "--force=notify")
    assert _last_layer(workshop)["s/new"] == 0o4755
