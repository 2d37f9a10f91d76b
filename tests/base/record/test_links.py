"""The list of files with several names: round trips; a missing or damaged one says nothing."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sundog.base.record.links import pack_links, read_links

_paths = st.frozensets(
    st.binary(min_size=1, max_size=12).map(lambda path: path.replace(b"\0", b"/"))
)


@given(_paths)
def test_links_round_trip(paths: frozenset[bytes]) -> None:
    file = os.memfd_create("links")
    try:
        os.write(file, pack_links(paths))
        assert read_links(b"/proc/self/fd/%d" % file) == paths
    finally:
        os.close(file)


def test_layer_of_an_earlier_version_has_none(tmp_path: Path) -> None:
    assert read_links(os.fsencode(tmp_path / "links")) is None


@pytest.mark.parametrize("data", [b"", b"sundog-links 2\na\0", b"sundog-links 1\na", b"a\0"])
def test_damaged_list_says_nothing(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "links").write_bytes(data)
    assert read_links(os.fsencode(tmp_path / "links")) is None
