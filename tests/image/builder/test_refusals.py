"""A RUN fails because of a call that only real root may make: the hint names the call."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conftest import command, run_program

if TYPE_CHECKING:
    from tests.image.builder.conftest import Workshop

ADVICE = (
    "only real root may do that, whatever --force says; leave it out, or let it fail: || true; "
)


def hint(workshop: Workshop, line: str, force: str) -> str:
    """Return the hint of a build that fails at ``line``, up to the advice."""
    done = workshop.build(f"FROM bb\n{line}\n", f"--force={force}", check=False)
    assert done.returncode == 1
    (text,) = [line for line in done.stderr.splitlines() if line.startswith("hint: ")]
    told, advice, look = text.removeprefix("hint: ").partition(ADVICE)
    assert look.startswith("look at the state before it: ") or not advice
    return told


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("RUN swapon /etc/passwd", "swapon(2) by swapon"),
        ("RUN ionice -c1 -n1 true", "ioprio_set(2) by ionice"),
        ("RUN mkdir /m && mount -t proc proc /m", "mount(2) of proc by mount"),
        (
            "RUN swapon /etc/passwd || true; swapoff /etc/passwd",
            "swapon(2) by swapon and swapoff(2) by swapoff",
        ),
    ],
)
def test_a_call_that_the_supervisor_saw(any_workshop: Workshop, line: str, told: str) -> None:
    assert hint(any_workshop, line, "notify") == f"the kernel refused {told}: "


def test_sundog_build_tells_the_same(any_workshop: Workshop) -> None:
    any_workshop.write({"Dockerfile": "FROM bb\nRUN swapon /etc/passwd\n"})
    storage = any_workshop.ch_image("gestalt", "storage-path").stdout.strip()
    build = [*command("sundog"), "build", "--force=notify", str(any_workshop.context)]
    done = run_program(build, check=False, env={"CH_IMAGE_STORAGE": storage})
    assert f"\nhint: the kernel refused swapon(2) by swapon: {ADVICE}"[:-2] in done.stderr


def test_no_hint_without_such_a_call(any_workshop: Workshop) -> None:
    for line in ("RUN ionice -c2 true; false", "RUN : swapon; chown 5 /nothing"):
        assert hint(any_workshop, line, "notify").startswith("look at the state before it: ")


def test_another_user_would_not_be_allowed_either(any_workshop: Workshop) -> None:
    line = "USER 1815\nRUN swapon /etc/passwd"
    assert hint(any_workshop, line, "notify").startswith("look at the state before it: ")


@pytest.mark.parametrize("force", ["seccomp", "none"])
@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("RUN true && /bin/swapon /etc/passwd", "swapon(2) by swapon"),
        ('RUN ["ionice", "-c1", "true"]', "ioprio_set(2) by ionice"),
        ("RUN <<E\nset -e\nmount -t proc proc /etc\nE", "mount(2) by mount"),
    ],
)
def test_programs_by_their_names(any_workshop: Workshop, force: str, line: str, told: str) -> None:
    """Nobody sees calls there."""
    assert hint(any_workshop, line, force) == f"if {told} failed: "


def test_names_that_are_no_commands(any_workshop: Workshop) -> None:
    for line in ("RUN echo mount; ls /mount; exit 3", 'RUN ["ls", "mount"]'):
        assert hint(any_workshop, line, "seccomp").startswith("look at the state before it: ")


def test_a_program_that_the_image_has_not(any_workshop: Workshop) -> None:
    line = "RUN /nowhere/mount -t proc proc /m"
    assert hint(any_workshop, line, "seccomp").startswith("look at the state before it: ")
