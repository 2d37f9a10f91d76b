"""One storage directory that two nodes use by NFS, at the same time and one after the other."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from scripts.vm import nfs, prepared

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scripts.vm.machine import Done

    from tests.nfs.conftest import Place

BOTH = range(nfs.NODES)
SECONDS = 300
DOCKERFILE = """\
FROM busybox
RUN echo built >/built && chmod 600 /built && rm /etc/group
RUN mkdir /new && ln -s /built /new/link
"""
# It ends on one node only.
FOREVER = 'FROM busybox\nRUN test "$(hostname)" = node0 || sleep 9999\n'
# The server of NFS 4 takes the locks of a silent node away after the lease.  That of NFS 3 keeps
# them until the node tells that it has started again.
LEASES = tuple(version for version in nfs.VERSIONS if version.startswith("4"))


def on_both(place: Place, *commands: tuple[str, ...]) -> list[Done]:
    """Run a command on each node, at the same time."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda node: place.run(node, *commands[node]), BOTH))


def imported(place: Place, node: int, *names: str) -> None:
    for name in names:
        place.run(node, "ch-image", "import", str(prepared.base("busybox")), name)


def names(place: Place, node: int) -> set[str]:
    return {line.split()[0] for line in place.run(node, "ch-image", "list").stdout.splitlines()}


def test_imports_at_once(place: Place) -> None:
    """Each node finds what the other one imported, whatever it had looked at before."""
    imported(place, 0, "first")
    assert names(place, 1) == {"first"}
    base = str(prepared.base("busybox"))
    for image in ("zero", "one"), ("same", "same"):
        on_both(place, *[("ch-image", "import", base, image[node]) for node in BOTH])
    for node in BOTH:
        assert names(place, node) == {"first", "one", "same", "zero"}
        for name in ("zero", "one", "same"):
            shown = place.run(node, "ch-run", name, "--", "sh", "-c", "echo in; cat /etc/passwd")
            assert shown.stdout.startswith("in\nroot:"), shown


def test_builds_at_once(place: Place) -> None:
    """The nodes build one Dockerfile; one does the work, and both have the image."""
    imported(place, 0, "busybox")
    place.run(1, "sh", "-c", "cat >Dockerfile", text=DOCKERFILE)
    build = ("ch-image", "build", "-t", "built", "-f", "Dockerfile", ".")
    on_both(place, build, build)
    show = "cat /new/link; stat -c %a /built; test -e /etc/group && echo there"
    for node in BOTH:
        done = place.run(
            node, "ch-run", "--no-passwd", "built", "--", "sh", "-c", show, check=False
        )
        assert done.stdout.split() == ["built", "600"], done
    again = place.run(0, *build).stderr
    assert len(re.findall(r"^ +\d\* ", again, re.MULTILINE)) == 3, again


def test_deletions(place: Place) -> None:
    """A node deletes what the other one has imported; the rest stays."""
    imported(place, 0, "kept", "gone")
    place.run(1, "ch-image", "delete", "gone")
    assert names(place, 0) == {"kept"}
    assert place.run(0, "ch-run", "gone", "--", "true", check=False).returncode == 31
    assert place.run(0, "ch-run", "kept", "--", "echo", "runs").stdout == "runs\n"


def test_writing_over_layers_of_nfs(place: Place) -> None:
    imported(place, 0, "busybox")
    script = "echo more >>/etc/passwd && rm /etc/group && echo n >/new && tail -n1 /etc/passwd"
    done = place.run(1, "ch-run", "--no-passwd", "-W", "busybox", "--", "sh", "-c", script)
    assert done.stdout == "more\n"
    assert place.run(0, "ch-run", "busybox", "--", "ls", "/new", check=False).returncode == 1


def test_one_file(place: Place) -> None:
    imported(place, 0, "busybox")
    place.run(0, "ch-convert", "busybox", "image.sqfs")
    for options in ((), ("-W",), ("--join",)):
        done = place.run(1, "ch-run", *options, "image.sqfs", "--", "cat", "/etc/passwd")
        assert done.stdout.startswith("root:"), done


@contextlib.contextmanager
def running(place: Place, node: int, *words: str) -> Iterator[None]:
    """Run a command on a node that will lose its power."""
    work = threading.Thread(target=lambda: place.run(node, *words, check=False), daemon=True)
    work.start()
    yield
    work.join(60)


def test_a_node_without_power(place: Place) -> None:
    """A node loses its power in a build.  The other one goes on, and then the first one, too."""
    imported(place, 0, "busybox")
    place.run(0, "sh", "-c", "cat >forever", text=FOREVER)
    place.run(0, "sh", "-c", "cat >Dockerfile", text=DOCKERFILE)
    with running(place, 1, "ch-image", "build", "-t", "no", "-f", "forever", "."):
        end = time.monotonic() + SECONDS
        while place.site.nodes[1].run("pgrep", "-x", "sleep", check=False).returncode:
            assert time.monotonic() < end, "the build does not start"
        place.site.cut(1)
    place.run(0, "ch-image", "build", "-t", "built", "-f", "Dockerfile", ".")
    place.run(0, "ch-image", "import", str(prepared.base("alpine")), "alpine")
    place.run(0, "ch-image", "delete", "alpine")
    if place.directory.parent in map(nfs.mounted, LEASES):
        place.run(0, "ch-image", "build", "-t", "waited", "-f", "forever", ".")
        place.run(0, "ch-image", "delete", "waited")
    place.site.restart(1)
    assert names(place, 1) == {"busybox", "built"}
    assert place.run(1, "ch-run", "--no-passwd", "built", "--", "cat", "/built").stdout == "built\n"
