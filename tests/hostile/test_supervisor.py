"""The supervisor of ``notify`` against the processes whose memory and paths it reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.runtime.notify import conftest as notify

if TYPE_CHECKING:
    from tests.runtime.notify.conftest import Container

# Fixtures of the tests of notify.
busybox = notify.busybox
programs = notify.programs

# The program that runs meanwhile, and must get its answers.
OTHER = "while chown 7:8 /other; stat -c %u:%g /other; [ ! -e end ]; do :; done | sort | uniq"


def within(hostile: str) -> str:
    """Return a script that runs ``hostile`` beside another process, whose output is in ``seen``."""
    prepare = "echo >/other; echo >file; mkdir w"
    return f"{prepare}; ({OTHER}) >seen & {hostile}; : >end; wait; cat seen"


@pytest.mark.parametrize("what", ["sizes", "faults"])
def test_bad_arguments_get_the_kernels_answers(busybox: Container, what: str) -> None:
    """Almost: things that only root may do are no error under the supervisor."""
    script = f"echo >file; hostile {what}"
    plain = busybox.run("sh", "-c", script, mode="none").stdout.splitlines()
    done = busybox.run("sh", "-c", script)
    supervised = done.stdout.splitlines()
    assert len(plain) == len(supervised) > 10
    differing = [
        (before, after)
        for before, after in zip(plain, supervised, strict=True)
        if before != after and not before.endswith(("not permitted", "Invalid argument"))
    ]
    assert differing == []
    assert done.stderr == ""


@pytest.mark.parametrize("what", ["sizes", "faults"])
def test_others_are_answered_meanwhile(busybox: Container, what: str) -> None:
    done = busybox.run("sh", "-c", within(f"hostile {what} >/dev/null"))
    assert done.stdout == "7:8\n"
    assert done.stderr == ""


def test_paths_that_change_while_they_are_looked_at(busybox: Container) -> None:
    """A FIFO in place of a program must not stop the supervisor when it reads the program."""
    prepare = "chmod 777 .; cp /bin/busybox target; chown 5 target; echo >shell"
    script = f"mkdir r; cd r; {prepare}; chmod u+s target; hostile races 300"
    done = busybox.run("sh", "-c", within(f"sh -c '{script}'"), timeout=60)
    assert done.stdout == "done\n7:8\n"
