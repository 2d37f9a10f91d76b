"""Attributes of files in lower layers: a change of a record must reach the new layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sundog.base.record.owners import read_owners

if TYPE_CHECKING:
    from pathlib import Path

    from tests.runtime.notify.conftest import Container

TRUSTED = b"trusted.x"


def recorded(container: Container) -> dict[bytes, dict[bytes, bytes]]:
    """Return the attributes in the records of the new layer."""
    manifest = read_owners(f"{container.upper}/owners".encode())
    return {path: dict(record.xattrs) for path, record in manifest.items() if record.xattrs}


@pytest.fixture
def lower(busybox: Container, tmp_path: Path) -> Container:
    """Return an overlay on a layer with a directory, files, a link and an attribute."""
    below = busybox.on_overlay(tmp_path / "below")
    below.sh("mkdir d; echo x >f; echo y >g; ln -s f l; attribute set trusted.x 1 g; chmod 4755 f")
    return below.next_layer(tmp_path / "above")


def test_attribute_set_on_a_lower_file_stays_when_it_is_changed(lower: Container) -> None:
    script = "for n in d f l; do attribute set trusted.x $n $n; done; stat -c %a f; echo >>f"
    assert lower.sh(f"{script}; attribute get trusted.x f") == "4755\nf\n"
    assert recorded(lower) == {name: {TRUSTED: name} for name in (b"d", b"f", b"l")}


def test_attribute_removed_from_a_lower_file_is_gone_in_the_next_layer(
    lower: Container, tmp_path: Path
) -> None:
    assert lower.sh("attribute get trusted.x g; attribute remove trusted.x g") == "1\n"
    after = lower.next_layer(tmp_path / "next")
    assert after.run("attribute", "get", "trusted.x", "g", check=False).returncode == 1


def test_access_control_list_of_a_lower_directory_reaches_the_layer(lower: Container) -> None:
    # Version 2; user rwx, user 8 rwx, group r-x, mask rwx, others none.
    entries = ["01000700ffffffff", "0200070008000000", "04000500ffffffff", "10000700ffffffff"]
    acl = "02000000" + "".join(entries) + "20000000ffffffff"
    lower.sh(f"attribute set system.posix_acl_default 0x{acl} d")
    assert recorded(lower) == {b"d": {b"system.posix_acl_default": bytes.fromhex(acl)}}
