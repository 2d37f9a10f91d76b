"""User namespaces that programs of a container make: IDs mean there what their map says."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.runtime.notify.conftest import Container

# Run `look` in a user namespace whose user 1000 and group 2000 are the container's root.
MAPPED = """
    mkfifo go
    unshare -U sh -c 'read x <go; . ./look' &
    own=$(readlink /proc/self/ns/user)
    while [ "$(readlink /proc/$!/ns/user)" = "$own" ]; do :; done
    echo 1000 0 1 >/proc/$!/uid_map
    echo deny >/proc/$!/setgroups
    echo 2000 0 1 >/proc/$!/gid_map
    echo >go
    wait
"""
# What each line of `look` prints, under real root, too.
LOOKS = {
    "id -u; id -g; id -G": "1000\n2000\n2000\n",
    "stat -c %u:%g roots theirs": "1000:2000\n65534:65534\n",
    ": >new; stat -c %u:%g new": "1000:2000\n",
    "chown 1000:2000 roots && echo done": "done\n",
    "chown 0 roots 2>/dev/null || echo no": "no\n",
    "grep -E '^[UG]id' /proc/self/status | tr -s '\\t' ' '": (
        "Uid: 1000 1000 1000 1000\nGid: 2000 2000 2000 2000\n"
    ),
}


def test_ids_by_the_map_of_a_user_namespace(busybox: Container) -> None:
    """The script begins with another identity than root's, so that the table has several."""
    files = ": >roots; : >theirs; chown 5:6 theirs; setpriv --nnp true"
    script = f'mkdir w; cd w; echo "$0" >look; {files}; {MAPPED} stat -c %u:%g new'
    done = busybox.run("sh", "-c", script, "\n".join(LOOKS), timeout=60)
    assert done.stdout == "".join(LOOKS.values()) + "0:0\n"
    assert done.stderr == ""


def test_ids_without_a_map(busybox: Container) -> None:
    script = "unshare -U sh -c 'id -u; id -g; stat -c %u:%g /bin/busybox'; id -u"
    assert busybox.sh(script) == "65534\n65534\n65534:65534\n0\n"


def test_map_of_root_alone(busybox: Container) -> None:
    script = "unshare -r sh -c 'id -u; id -G; chown 5 /f 2>/dev/null || echo no'"
    assert busybox.sh(f": >/f; chown 7 /f; {script}; stat -c %u /f") == "0\n0\nno\n7\n"
