"""The identity that USER gives: names, numbers, groups."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sundog.base.record.identity import find_identity
from sundog.errors import SundogError

PASSWD = b"""\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
not an entry
broken:x:one:1::/:/bin/sh
app:x:1000:100:App:/home/app:/bin/sh
homeless:x:1001:100:::/bin/sh
2000:x:7:8:A name of digits:/digits:/bin/sh
"""
GROUP = b"""\
root:x:0:root
daemon:x:1:
users:x:100:
video:x:44:app,daemon
audio:x:29:daemon,app
bad:x:x:app
short:x:55
"""


@pytest.mark.parametrize(
    ("words", "uid", "gid", "groups", "home"),
    [
        (b"root", 0, 0, (0,), b"/root"),
        (b"0", 0, 0, (0,), b"/root"),
        (b"", 0, 0, (0,), b"/root"),
        (b"app", 1000, 100, (29, 44, 100), b"/home/app"),
        (b"1000", 1000, 100, (29, 44, 100), b"/home/app"),
        (b"app:", 1000, 100, (29, 44, 100), b"/home/app"),
        (b"app:video", 1000, 44, (44,), b"/home/app"),
        (b"app:55", 1000, 55, (55,), b"/home/app"),
        (b"app:777", 1000, 777, (777,), b"/home/app"),
        (b"homeless", 1001, 100, (100,), b"/"),
        (b"4242", 4242, 0, (0,), b"/"),
        (b"4242:4343", 4242, 4343, (4343,), b"/"),
        (b":video", 0, 44, (44,), b"/root"),
        (b"2000", 7, 8, (8,), b"/digits"),
        (b"4294967294", 4294967294, 0, (0,), b"/"),
    ],
)
def test_who_it_is(words: bytes, uid: int, gid: int, groups: tuple[int, ...], home: bytes) -> None:
    who = find_identity(words, PASSWD, GROUP)
    assert (who.uid, who.gid, who.groups, who.home) == (uid, gid, groups, home)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (b"nobody", "no such user in the image: nobody"),
        (b"broken", "no such user in the image: broken"),
        (b"app:staff", "no such group in the image: staff"),
        (b"-1", "no such user in the image: -1"),
        (b"4294967295", "no such user in the image: 4294967295"),
        (b"app:bad", "no such group in the image: bad"),
    ],
)
def test_who_it_is_not(words: bytes, message: str) -> None:
    with pytest.raises(SundogError) as caught:
        find_identity(words, PASSWD, GROUP)
    assert caught.value.message == message
    assert caught.value.hint


def test_an_image_without_the_files() -> None:
    who = find_identity(b"33:44", b"", b"")
    assert (who.uid, who.gid, who.groups, who.home) == (33, 44, (44,), b"/")


@given(st.binary(max_size=20), st.binary(max_size=200), st.binary(max_size=200))
def test_any_bytes(words: bytes, passwd: bytes, group: bytes) -> None:
    try:
        who = find_identity(words, passwd, group)
    except SundogError:
        return
    assert who.gid in who.groups
