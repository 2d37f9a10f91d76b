"""``builder.force``: modes, tags and refusals."""

from __future__ import annotations

import pytest

from sundog.errors import UsageError
from sundog.image.builder.force import Force, preferred
from sundog.image.builder.run.inject import DEFAULT_HOOKS, Hook

HOOK = Hook("dnf", ("-x",))


def test_seccomp_has_the_apt_hook() -> None:
    force = Force.choose("seccomp")
    assert (force.instruction, force.seccomp, force.hooks) == ("RUN.S", True, DEFAULT_HOOKS)
    assert force.environment == {}


def test_force_cmd_replaces_the_apt_hook() -> None:
    assert Force.choose("seccomp", [HOOK]).hooks == (HOOK,)


def test_none_emulates_nothing() -> None:
    force = Force.choose("none")
    assert (force.instruction, force.seccomp, force.hooks) == ("RUN.N", False, ())
    assert force.environment == {"TAR_OPTIONS": "--no-same-owner"}


def test_fakeroot_changes_commands_by_itself() -> None:
    force = Force.choose("fakeroot")
    assert (force.instruction, force.fakeroot, force.hooks) == ("RUN.F", True, ())
    assert (force.seccomp, force.notify) == (False, False)
    assert force.environment["FAKEROOTDONTTRYCHOWN"] == "1"


def test_strict_is_notify_with_a_key_of_its_own() -> None:
    plain, strict = Force.choose("notify"), Force.choose("notify,strict")
    assert (strict.notify, strict.strict, strict.instruction) == (True, True, "RUN.C")
    assert (plain.strict, plain.key == strict.key) == (False, False)
    assert preferred("auto,strict") == "notify,strict"


@pytest.mark.parametrize(
    ("mode", "hooks", "message"),
    [
        ("fakeroot", [HOOK], "--force-cmd and --force=fakeroot are incompatible"),
        ("notify", [HOOK], "--force-cmd and --force=notify are incompatible"),
        ("x", [], "--force=x: no such mode"),
        ("seccomp,strict", [], "--force=seccomp,strict: no such mode"),
        ("notify,", [], "--force=notify,: no such mode"),
        ("none", [HOOK], "--force-cmd and --force=none are incompatible"),
    ],
)
def test_refused(mode: str, hooks: list[Hook], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Force.choose(mode, hooks)
    assert caught.value.message == message
    assert caught.value.hint
