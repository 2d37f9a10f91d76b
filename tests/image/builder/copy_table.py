"""COPY and ADD, one instruction or a few at a time, for comparison with another builder.

``record_copy.py`` recorded the results of buildah, run by real root.
"""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

TIME = 1_000_000_000

# path, contents (a symlink's after "->"), mode
CONTEXT = (
    ("a", "a", 0o644),
    ("b.txt", "b", 0o600),
    ("c.txt", "c", 0o755),
    ("readonly", "r", 0o400),
    ("d/x", "dx", 0o640),
    ("d/y.txt", "dy", 0o644),
    ("d/sub/z", "dz", 0o666),
    ("d/sub/deep/w", "dw", 0o644),
    ("e/x", "ex", 0o644),
    ("e/sub/z", "ez", 0o644),
    ("link", "->a", 0),
    ("dirlink", "->d", 0),
    ("withlinks/in", "->x", 0),
    ("withlinks/x", "wx", 0o644),
    ("withlinks/up", "->../a", 0),
    ("withlinks/absolute", "->/etc/passwd", 0),
    ("withlinks/broken", "->nothing", 0),
    ("arr[0].txt", "arr", 0o644),
    ("hidden/.h", "h", 0o644),
    ("hidden/v", "v", 0o644),
)
DIRECTORY_MODES = {"d/sub": 0o711, "e/sub": 0o750, "hidden": 0o700}
EMPTY = ("empty", "e/empty")
IGNORE = "*.log\nignored\n!ignored/kept\n"

# The image that the cases start from, and the image that they copy from.
PREPARED = """\
FROM bb
RUN mkdir -p /dir/sub /real && chmod 700 /dir/sub && echo old >/file && echo old >/dir/x \
 && ln -s /real /dirlink && ln -s /file /filelink && ln -s /newdir/target /dangling \
 && ln -s ../real /dir/rel && echo app:x:7:8::/:/bin/sh >>/etc/passwd \
 && echo grp:x:9: >>/etc/group && chmod 644 /etc/passwd /etc/group
"""

CASES = {
    # Destinations
    "file to new path": "COPY a /new",
    "file to new path below": "COPY a /new/deep/er",
    "file to new directory": "COPY a /new/",
    "file to directory without slash": "COPY a /dir",
    "file over file": "COPY a /file",
    "file over file in directory": "COPY d/x /dir/",
    "files to new directory": "COPY a b.txt c.txt /new/",
    "files to directory": "COPY a b.txt /dir/",
    "file to dot": "WORKDIR /w/d\nCOPY a .",
    "file to relative path": "WORKDIR /w/d\nCOPY a ../r/n",
    "file to dot dot": "WORKDIR /w/d\nCOPY a ../",
    "file to root": "COPY a /",
    "directory to new path": "COPY d /new",
    "directory to new directory": "COPY d /new/",
    "directory to directory": "COPY d /dir",
    "directory with slash": "COPY d/ /dir/",
    "directories to new directory": "COPY d e /new/",
    "directory twice": "COPY d /new/\nCOPY e /new/",
    "everything": "COPY . /new/",
    "file and directory": "COPY a d /new/",
    "empty directory": "COPY empty /new/",
    "directory to root": "COPY hidden /",
    # Symlinks
    "source symlink to file": "COPY link /new",
    "source symlink to file into directory": "COPY link /new/",
    "source symlink to directory": "COPY dirlink /new/",
    "path through source symlink": "COPY dirlink/sub/z /new/",
    "symlinks in directory": "COPY withlinks /new/",
    "through symlink to directory": "COPY a /dirlink/",
    "onto symlink to directory": "COPY a /dirlink",
    "below symlink to directory": "COPY a /dirlink/n/m",
    "directory to symlink to directory": "COPY d /dirlink",
    "onto relative symlink": "COPY a /dir/rel/",
    "onto symlink to file": "COPY a /filelink",
    # Wildcards
    "star": "COPY *.txt /new/",
    "star in directory": "COPY d/*.txt /new/",
    "star for directory": "COPY */x /new/",
    "question mark": "COPY ? /new/",
    "class": "COPY [a-b]* /new/",
    "escaped brackets": "COPY arr[[]0].txt /new/",
    "star and directories": "COPY e* /new/",
    "star matches hidden": "COPY hidden/* /new/",
    # Owners and modes
    "chown numbers": "COPY --chown=5:6 a /new/dir/f",
    "chown number": "COPY --chown=5 a /new",
    "chown name": "COPY --chown=app a /new",
    "chown name and group": "COPY --chown=app:grp d /new/",
    "chown number and group name": "COPY --chown=5:grp a /new",
    "chown over file": "COPY --chown=5:6 a /file",
    "chown directory over directory": "COPY --chown=5:6 d /dir/",
    "copy over chowned": "COPY --chown=5:6 a /new\nCOPY b.txt /new",
    "copy into chowned": "COPY --chown=5:6 d /new/\nCOPY e /new/",
    "chmod octal": "COPY --chmod=751 a /new",
    "chmod octal directory": "COPY --chmod=751 d /new/",
    "mode is kept": "COPY readonly b.txt c.txt /new/",
    # Other sources
    "from stage": "COPY --from=s /s/f /new",
    "from stage directory": "COPY --from=s /s /new/",
    "from stage chown": "COPY --from=s --chown=1:2 /s /new/",
    "from stage symlink": "COPY --from=s /slink /new/",
    "from stage relative": "COPY --from=s s/f /new/",
    "from stage wildcard": "COPY --from=s /s/* /new/",
    "heredoc": "COPY <<x /new\nhello\nx",
    "heredoc into directory": "COPY <<x <<y /new/\nhello\nx\nyou\ny",
    "add file": "ADD a /new/",
    "add directory": "ADD d /new/",
    "add tar": "ADD x.tar /new",
    "add tar into directory": "ADD x.tar /dir/",
    "add tar and file": "ADD x.tar a /new/",
    "add compressed tar": "ADD x.tgz /new/",
    "add tar chown": "ADD --chown=5:6 x.tar /new/",
    "copy tar": "COPY x.tar /new/",
    # The ignore file
    "ignored": "COPY . /new/\nCOPY ignored /n2/",
}
STAGE = """\
FROM bb
RUN mkdir -p /s/sub && echo f >/s/f && chown 3:4 /s/f && echo g >/s/sub/g && chmod 700 /s/sub \
 && chown 5:6 /s/sub && ln -s f /s/l && ln -s /s /slink && touch -d @1000000000 /s/f /s/sub/g
"""


def dockerfile(case: str) -> str:
    return f"FROM prepared\n{CASES[case]}\n"


def make_context(place: Path) -> None:
    """Make the files of the context, with the same modes and times everywhere."""
    place.mkdir(parents=True)
    for name, text, mode in CONTEXT:
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("->"):
            path.symlink_to(text[2:])
        else:
            path.write_text(text)
            path.chmod(mode)
    for name in EMPTY:
        (place / name).mkdir()
    for name in ("x.log", "ignored/no", "ignored/kept"):
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_text(name)
    (place / ".dockerignore").write_text(IGNORE)
    for name in ("x.tar", "x.tgz"):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            for member_name, kind, attributes in (
                ("t", tarfile.DIRTYPE, {"mode": 0o710, "uid": 11, "gid": 12}),
                ("t/f", tarfile.REGTYPE, {"mode": 0o640, "uid": 13, "gid": 14}),
                ("t/l", tarfile.SYMTYPE, {"linkname": "f"}),
                ("x", tarfile.REGTYPE, {"mode": 0o600}),
            ):
                member = tarfile.TarInfo(member_name)
                member.type = kind
                member.mtime = TIME
                for attribute, value in attributes.items():
                    setattr(member, attribute, value)
                data = b"tar" if kind == tarfile.REGTYPE else b""
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        data = out.getvalue()
        if name == "x.tgz":
            # Python versions write different operating systems into the header: 3 is Unix.
            packed = gzip.compress(data, mtime=0)
            data = packed[:9] + b"\x03" + packed[10:]
        (place / name).write_bytes(data)
    for directory, names, files in os.walk(place, topdown=False):
        for name in (*names, *files):
            entry = os.path.join(directory, name)
            if not os.path.islink(entry) and os.path.isdir(entry):
                os.chmod(entry, DIRECTORY_MODES.get(os.path.relpath(entry, place), 0o755))
            os.utime(entry, (TIME, TIME), follow_symlinks=False)


def line(path: str, kind: str, owner: str, *, mode: int, mtime: int, content: str) -> str:
    """Return an entry's record; it has times only for the context's files."""
    old = " old" if kind == "f" and mtime == TIME else ""
    shown = "" if kind == "l" else f" {mode:o}"
    return f"{path} {kind} {owner}{shown}{old} {content}".rstrip()
