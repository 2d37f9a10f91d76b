"""Both drivers make the same layer of a step, and it holds what the step did."""

from __future__ import annotations

import io
import os
import tarfile
from typing import TYPE_CHECKING

import pytest

from sundog.base.record.owners import OwnerRecord
from sundog.image.layer.below import LayerTree
from sundog.image.layer.flatten import flatten
from sundog.image.layer.scan import scan
from sundog.image.layer.write_tar import write_tar
from tests.image.layer.archives import Entry, directory, file, hard_link, symlink
from tests.image.layer.namespace import in_namespace
from tests.image.layer.steps import STEPS, layers_of, make_skeleton, run, shown
from tests.image.layer.trees import look

if TYPE_CHECKING:
    from collections.abc import Callable

    from sundog.base.record.owners import OwnersManifest
    from tests.image.layer.steps import Shown

CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
WHITEOUT = OwnerRecord("w")
BASE = [
    directory("./", mtime=1000),
    directory("bin"),
    file("bin/su", b"#!su", mode=0o4755, mtime=1000),
    file("bin/wall", b"#!wall", mode=0o2755, gid=5),
    file(
        "bin/ping",
        b"#!ping",
        mode=0o755,
        pax={"SCHILY.xattr.security.capability": CAPABILITY.decode("latin-1")},
    ),
    directory("etc", gid=4),
    file("etc/shadow", b"root\n", mode=0o640, gid=42),
    file("etc/passwd", b"root\n"),
    directory("srv", mode=0o2750, uid=100, gid=102),
    directory("srv/a"),
    file("srv/a/1", uid=7),
    file("srv/a/2", uid=7),
    directory("srv/a/b"),
    file("srv/a/b/3"),
    symlink("link", "etc", uid=9),
    file("hard1", b"hard\n", uid=3),
    hard_link("hard2", "hard1"),
    Entry("null", "c", device=(1, 3), mode=0o666, gid=8),
    Entry("fifo", "p", uid=6),
    directory("closed", mode=0o000),
    file("closed/in", mode=0o000),
    file(
        "label",
        uid=1,
        pax={"SCHILY.xattr.security.selinux": "old", "SCHILY.xattr.user.keep": "kept"},
    ),
]
UPPER = [file("srv/a/2", b"second layer\n", uid=8), file("later", uid=11)]

NULL = OwnerRecord("c", 0, 8, rdev=os.makedev(1, 3))
ETC = {b"etc": OwnerRecord("d", 0, 4)}
SRV = {b"srv": OwnerRecord("d", 100, 102)}


class Made:
    """A step's results: its layer, its own view, and the view of all layers and skeleton."""

    def __init__(self, place: bytes, driver: str, script: str, *archives: list[Entry]) -> None:
        os.makedirs(place)
        below = layers_of(place, *archives)
        skeleton = make_skeleton(place)
        self.layer: Shown | None = None
        self.owners: OwnersManifest | None = None
        self.xattrs: dict[bytes, tuple[tuple[str, bytes], ...]] = {}
        self.tar: dict[str, tarfile.TarInfo] = {}
        seen = place + b"/seen"
        layer = STEPS[driver](place, below, skeleton, script)
        bottom = LayerTree(skeleton, {})
        if layer is not None:
            self.layer = shown(layer.tree)
            self.owners = layer.owners
            self.xattrs = {p: s.xattrs for p, s in look(layer.tree).items() if s.xattrs}
            self.tar = members(layer)
        flatten([bottom, *below[::-1], *([layer] if layer else [])], seen)
        self.result = shown(seen)
        # The step's own view: the same script in a plain copy.
        plain = place + b"/plain"
        flatten([bottom, *below[::-1]], plain)
        run(plain, script)
        self.expected = shown(plain)


def members(layer: LayerTree) -> dict[str, tarfile.TarInfo]:
    out = io.BytesIO()
    write_tar(out, layer.tree, layer.owners)
    out.seek(0)
    with tarfile.open(fileobj=out) as tar:
        return {info.name: info for info in tar}


def both(place: bytes, script: str, *archives: list[Entry]) -> tuple[Made, Made]:
    def work(driver: str) -> Callable[[], Made]:
        return lambda: Made(os.path.join(place, driver.encode()), driver, script, *archives)

    return in_namespace(work("overlay")), in_namespace(work("copy"))


# name → (script, the layer's manifest, the paths in its tree without the directories above them)
STEPS_TAKEN: dict[str, tuple[str, OwnersManifest | None, set[bytes]]] = {
    "nothing": ("true", None, set()),
    "reading": ("cat etc/shadow > /dev/null; ls -lR . > /dev/null", None, set()),
    "a new file": ("echo new > etc/new", ETC, {b"etc/new"}),
    "a new tree": ("mkdir -p opt/a/b; echo x > opt/a/b/c; mkdir opt/empty", {}, {
        b"opt/a/b/c", b"opt/empty"}),
    "appending": ("echo more >> etc/shadow", {**ETC, b"etc/shadow": OwnerRecord("f", 0, 42)}, {
        b"etc/shadow"}),
    "replacing": ("echo other > x; mv x etc/shadow", {
        **ETC, b"etc/shadow": OwnerRecord("f", 0, 42)}, {b"etc/shadow"}),
    "in a directory of another": ("touch srv/new", SRV, {b"srv/new"}),
    "topmost layer decides": ("echo more >> srv/a/2; echo more >> srv/a/1", {
        **SRV, b"srv/a/1": OwnerRecord("f", 7), b"srv/a/2": OwnerRecord("f", 8)}, {
        b"srv/a/1", b"srv/a/2"}),
    "another type": ("rm -r srv/a; echo x > srv/a; rm etc/shadow; mkdir etc/shadow", {
        **ETC, **SRV}, {b"srv/a", b"etc/shadow"}),
    "chmod": ("chmod 600 srv/a/1", {**SRV, b"srv/a/1": OwnerRecord("f", 7)}, {b"srv/a/1"}),
    "chmod of a directory": ("chmod 711 srv", SRV, {b"srv"}),
    "chmod of the root": ("chmod 700 .", {}, {b""}),
    "deleting a file": ("rm etc/shadow later", {
        **ETC, b"etc/shadow": WHITEOUT, b"later": WHITEOUT}, {b"etc/shadow", b"later"}),
    "deleting a tree": ("rm -r srv", {b"srv": WHITEOUT}, {b"srv"}),
    "deleting what is new": ("echo x > new; mkdir dir; rm new; rmdir dir", None, set()),
    "emptying a directory": ("rm -r srv/a/*", {
        **SRV, b"srv/a/1": WHITEOUT, b"srv/a/2": WHITEOUT, b"srv/a/b": WHITEOUT}, {
        b"srv/a/1", b"srv/a/2", b"srv/a/b"}),
    "a directory anew": ("mv srv/a old; mkdir srv/a; echo x > srv/a/new; rm -r old", {
        **SRV, b"srv/a": OwnerRecord("d", opaque=True)}, {b"srv/a/new"}),
    "a directory anew, contents moved back": (
        "mv srv/a old; mkdir srv/a; mv old/b old/1 srv/a/; rm -r old",
        {**SRV, b"srv/a": OwnerRecord("d", opaque=True), b"srv/a/1": OwnerRecord("f", 7)},
        {b"srv/a/b/3", b"srv/a/1"}),
    "moving a file": ("mv srv/a/1 one", {**SRV, b"srv/a/1": WHITEOUT}, {b"srv/a/1", b"one"}),
    "a device's place": ("chmod 600 null", {b"null": NULL}, {b"null"}),
    "a file in a device's place": ("rm null; echo x > null", {}, {b"null"}),
    "a symlink anew": ("rm link; ln -s srv link", {b"link": OwnerRecord("l", 9)}, {b"link"}),
    "a FIFO": ("mkfifo new; chmod 600 fifo", {b"fifo": OwnerRecord("p", 6)}, {b"new", b"fifo"}),
    "closed directories": ("chmod 600 closed/in; : > closed/new", {}, {
        b"closed/in", b"closed/new"}),
    "attributes stay on the file": ("chmod 600 label", {
        b"label": OwnerRecord("f", 1, xattrs=((b"security.selinux", b"old"),))}, {b"label"}),
    "attributes go with the file": ("rm label; echo x > label", {
        b"label": OwnerRecord("f", 1)}, {b"label"}),
    "directories of the skeleton": ("touch tmp/x; rm tmp/x; chmod 1777 tmp; mkdir -p etc", None,
        set()),
    "files of the skeleton": ("chmod 644 etc/hosts; touch etc/hosts; : > tmp/x; rm tmp/x", None,
        set()),
    "in the skeleton": ("echo x > tmp/x", {}, {b"tmp/x"}),
    "of the skeleton, changed": ("chmod 700 tmp; echo x > etc/hosts", ETC, {
        b"tmp", b"etc/hosts"}),
    "of the skeleton, deleted": ("rm etc/hosts; rmdir tmp; touch etc/passwd", ETC, {
        b"etc/passwd"}),
    "of the skeleton, replaced": ("rmdir tmp; ln -s var/tmp tmp", {}, {b"tmp"}),
}  # fmt: skip


@pytest.mark.parametrize("name", STEPS_TAKEN)
def test_steps(name: str, place: bytes) -> None:
    script, owners, paths = STEPS_TAKEN[name]
    for made in both(place, script, BASE, UPPER):
        assert made.owners == owners
        if made.layer is None:
            continue
        leaves = {p for p in made.layer if not any(q.startswith(p + b"/") for q in made.layer)}
        assert leaves - {b""} == paths - {b""}
        deleted_of_skeleton = {b"etc/hosts", b"tmp"} if "deleted" in name else set()
        result = {p: s for p, s in made.result.items() if p not in deleted_of_skeleton}
        assert result == made.expected


@pytest.mark.parametrize("name", STEPS_TAKEN)
def test_drivers_make_the_same_layer(name: str, place: bytes) -> None:
    overlay, copy = both(place, STEPS_TAKEN[name][0], BASE, UPPER)
    assert overlay.layer == copy.layer
    assert overlay.owners == copy.owners
    assert overlay.xattrs == copy.xattrs
    assert overlay.tar.keys() == copy.tar.keys()


SETID_SCRIPTS = {
    "find and chmod": "find . -xdev -perm /6000 -exec chmod a-s {} +",
    "chmod": "chmod u-s bin/su; chmod g-s bin/wall srv",
    "replacing": "for f in bin/su bin/wall; do cp $f x; chmod 755 x; mv x $f; done; chmod g-s srv",
    "removing first": "for f in bin/su bin/wall; do rm $f; echo x > $f; done; chmod g-s srv",
}


@pytest.mark.parametrize("script", SETID_SCRIPTS)
def test_no_set_id_bit_comes_back(script: str, place: bytes) -> None:
    for made in both(place, SETID_SCRIPTS[script], BASE):
        assert {"bin/su", "bin/wall", "srv"} <= set(made.tar)
        assert [n for n, info in made.tar.items() if info.mode & 0o6000] == []
        assert [p for p, (_, mode, _, _) in made.result.items() if mode & 0o6000] == []
        assert (made.tar["bin/wall"].gid, made.tar["srv"].uid) == (5, 100)


def test_set_id_bits_that_a_step_sets_or_leaves(place: bytes) -> None:
    for made in both(place, "chmod 4711 bin/ping; touch bin/su", BASE):
        assert made.tar["bin/ping"].mode == 0o4711
        assert made.tar["bin/su"].mode == 0o4755


def test_capabilities_go_when_the_file_is_replaced(place: bytes) -> None:
    key = "SCHILY.xattr.security.capability"
    for made in both(place, "chmod 700 bin/ping", BASE):
        assert made.tar["bin/ping"].pax_headers[key].encode("latin-1", "surrogateescape") == (
            CAPABILITY
        )
        assert made.xattrs[b"bin/ping"] == (("security.capability", CAPABILITY),)
    for made in both(place + b"/2", "cp bin/ping x; mv x bin/ping", BASE):
        assert key not in made.tar["bin/ping"].pax_headers
    for made in both(place + b"/3", "echo x >> bin/ping", BASE):
        assert key not in made.tar["bin/ping"].pax_headers  # the kernel drops them


def test_hard_links_break_on_overlay_and_hold_in_a_copy(place: bytes) -> None:
    overlay, copy = both(place, "echo more >> hard1", BASE)
    assert overlay.owners == {b"hard1": OwnerRecord("f", 3)}
    assert copy.owners == dict.fromkeys((b"hard1", b"hard2"), OwnerRecord("f", 3))
    assert copy.result == copy.expected
    assert copy.tar["hard2"].islnk()


def test_new_hard_links(place: bytes) -> None:
    for made in both(place, "echo x > a; ln a b; ln srv/a/1 c; ln -P link l2", BASE):
        assert made.layer is not None
        assert made.layer[b"b"][3] == b"a"
        assert made.layer[b"srv/a/1"][3] == made.layer[b"c"][3]
        assert made.result == made.expected
        assert made.tar["b"].islnk()


def test_over_a_layer_that_hides(place: bytes) -> None:
    """A step makes whiteouts and opaque directories over layers that have some already."""
    hiding = [
        file("srv/a/.wh.1", b""),
        file("etc/.wh..wh..opq", b""),
        file("etc/issue"),
        file(".wh.hard1", b""),
    ]
    script = "rm srv/a/2 etc/issue; mkdir srv/a/1; echo x > srv/a/1/x; echo x > etc/passwd"
    for made in both(place, script, BASE, hiding):
        # The hosts file of the skeleton may show in an overlay only.
        made.result.pop(b"etc/hosts", None)
        made.expected.pop(b"etc/hosts", None)
        assert made.result == made.expected
        assert made.owners is not None
        assert made.owners[b"etc/issue"] == made.owners[b"srv/a/2"] == WHITEOUT
        assert b"srv/a/1" not in made.owners


def test_from_scratch(place: bytes) -> None:
    for made in both(place, "mkdir -p usr/bin; echo x > usr/bin/x; chmod 755 ."):
        assert made.owners == {}
        assert made.layer is not None
        assert set(made.layer) == {b"", b"usr", b"usr/bin", b"usr/bin/x"}


def test_marks_of_the_kernel_are_gone(place: bytes) -> None:
    script = "chmod 600 srv/a/1; mkdir new; mv srv/a/b x; mkdir srv/a/b; rm -r x"
    for made in both(place, script, BASE):
        assert made.xattrs == {b"srv/a/b": (("user.overlay.opaque", b"y"),)}


def test_times_of_directories_are_the_steps(place: bytes) -> None:
    script = "rm etc/hosts; touch -d @1234 etc srv srv/a; rm srv/a/1; touch -d @1234 srv/a"
    for made in both(place, script, BASE):
        assert {made.tar[name].mtime for name in ("etc", "srv", "srv/a")} == {1234}


def test_a_scan_ends_when_later_changes_can_be_told(place: bytes) -> None:
    """A script changes files in place right after a scan, keeps sizes, and resets times."""
    name = place + b"/file"
    with open(name, "w") as out:
        out.write("0")
    for turn in range(50):
        before = scan(place).entries
        status = os.stat(name)
        with open(name, "r+") as out:
            out.write(str(turn % 10))
        os.utime(name, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert scan(place).entries[b"file"] != before[b"file"]


def test_sockets_stay_and_do_not_travel(place: bytes) -> None:
    script = (
        "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"sock\")'; echo x > file"
    )
    for made in both(place, script, BASE):
        assert made.layer is not None
        assert made.layer[b"sock"][0] == "s"
        assert "sock" not in made.tar
        assert "file" in made.tar


def test_marks_never_show_as_devices(place: bytes) -> None:
    for made in both(place, "mv srv x; mkdir srv; rm -r x etc/shadow", BASE):
        assert made.layer is not None
        marks = {p for p, seen in made.layer.items() if seen[0] == "c"}
        assert marks == {b"etc/shadow"}
        assert not [p for p, seen in made.result.items() if seen[0] == "c"]
