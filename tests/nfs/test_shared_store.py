"""A shared store on NFS: read-only readers, and files that are removed under one."""

from __future__ import annotations

import hashlib
import random
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from scripts.vm import prepared

if TYPE_CHECKING:
    from pathlib import Path

    from scripts.vm.machine import Done

    from tests.nfs.conftest import Place

SECONDS = 120
BIG = random.Random(0).randbytes(32_000_000)
# It makes what BIG is, on a node.
MAKER = "import random, sys; sys.stdout.buffer.write(random.Random(0).randbytes(32_000_000))"
DOCKERFILE = "FROM busybox\nCOPY content /big\n"
READER = """\
sha256sum /usr/bin/env >/dev/null; touch /mnt/0/started
until test -e /mnt/0/gone; do sleep 0.1; done
sha256sum /big
"""


def published(place: Place) -> Path:
    """Publish the image ``big`` on the first node; return the shared store."""
    store = place.directory / "images"
    place.run(0, "ch-image", "import", str(prepared.base("busybox")), "busybox")
    place.run(0, "sh", "-c", f"python3 -c '{MAKER}' >content")
    place.run(0, "sh", "-c", "cat >Dockerfile", text=DOCKERFILE)
    place.run(0, "ch-image", "build", "-t", "big", ".")
    place.run(0, "ch-image", "publish", "big", str(store))
    return store


def read(place: Place, store: Path | str, *words: str | Path, check: bool = True) -> Done:
    """Run a command on the second node, whose own storage is not on NFS."""
    own = f"/tmp/{place.directory.parent.name}-{place.directory.name}"
    settings = (f"CH_IMAGE_STORAGE={own}", f"CH_IMAGE_STORES={store}")
    return place.run(1, "env", *settings, *words, check=check, timeout=SECONDS)


def test_readers_write_nothing(place: Place) -> None:
    """They see the store by a mount that is read-only, and the server takes root for nobody."""
    store = published(place)
    before = listing(place, store)
    read_only = f"/srv/{place.directory.name}"
    root = place.site.nodes[1]
    root.run("mkdir", "-p", read_only)
    root.run("mount", "--bind", str(store), read_only)
    try:
        root.run("mount", "-o", "remount,bind,ro", read_only)
        shown = read(place, read_only, "ch-run", "big", "--", "sha256sum", "/big").stdout
        assert shown.split()[0] == hashlib.sha256(BIG).hexdigest()
        dockerfile = "FROM big\nRUN sha256sum /big >/sum\n"
        place.run(1, "sh", "-c", "cat >own.df", text=dockerfile)
        read(place, read_only, "ch-image", "build", "-t", "own", "-f", "own.df", ".")
        assert read(place, read_only, "ch-run", "own", "--", "cat", "/sum").stdout == shown
    finally:
        root.run("umount", read_only)
    assert listing(place, store) == before
    place.run(0, "ch-image", "unpublish", "big", str(store))
    place.run(0, "ch-image", "publish", "--gc", str(store), "--grace", "0s")
    place.forget(1)
    assert read(place, store, "ch-run", "big", "--", "true", check=False).returncode == 31
    # What was built on it has copies of its layers.
    assert read(place, store, "ch-run", "own", "--", "cat", "/sum").stdout == shown


def listing(place: Place, store: Path) -> str:
    """Return names, modes, sizes and times of all that is in a store, as its server has them."""
    return place.run(0, "find", str(store), "-printf", "%p %m %s %T@ %C@\\n").stdout


def test_files_that_go_under_a_reader(place: Place) -> None:
    """A reader gets the right bytes or an error, at once; NFS 4 keeps what a client has open."""
    store = published(place)
    with ThreadPoolExecutor() as pool:
        bind = f"{place.directory}:/mnt/0"
        words = ("ch-run", "-b", bind, "big", "--", "sh", "-c", READER)
        reader = pool.submit(read, place, store, *words, check=False)
        wait_for(place, "started")
        place.run(0, "ch-image", "unpublish", "big", str(store))
        place.run(0, "ch-image", "publish", "--gc", str(store), "--grace", "0s")
        place.site.nodes[1].run("sh", "-c", "echo 3 >/proc/sys/vm/drop_caches")
        place.run(0, "touch", "gone")
        done = reader.result(SECONDS)
    if done.returncode:
        assert "Input/output error" in done.stderr
        assert done.stdout == ""
    else:
        assert done.stdout.split()[0] == hashlib.sha256(BIG).hexdigest()
    # The node goes on.
    assert place.run(1, "ch-run", "big", "--", "echo", "runs").stdout == "runs\n"


def wait_for(place: Place, name: str) -> None:
    end = time.monotonic() + SECONDS
    while place.run(0, "test", "-e", name, check=False).returncode:
        assert time.monotonic() < end, f"there is no {name}"
        time.sleep(0.2)
