"""Record buildah's results for the cases in ``copy_table``: run this as root, with buildah.

python -m tests.image.builder.record_copy
"""

from __future__ import annotations

import os
import resource
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

from scripts.bases.makers import base

from tests.image.builder.copy_table import CASES, PREPARED, STAGE, dockerfile, line, make_context

EXPECTED = Path(__file__).parent / "expected" / "copy.txt"
KINDS = {stat.S_IFREG: "f", stat.S_IFDIR: "d", stat.S_IFLNK: "l"}


def buildah(*arguments: str) -> subprocess.CompletedProcess[str]:
    options = ["--storage-driver=vfs"]
    return subprocess.run(
        ["buildah", *options, *arguments], capture_output=True, text=True, check=False
    )


def listing(root: Path) -> set[str]:
    lines = set()
    for directory, names, files in os.walk(root):
        for name in (*names, *files):
            path = Path(directory) / name
            info = path.lstat()
            kind = KINDS.get(stat.S_IFMT(info.st_mode), "?")
            content = ""
            if kind == "f":
                content = path.read_bytes()[:20].hex()
            elif kind == "l":
                content = os.readlink(path)
            owner = f"{info.st_uid}:{info.st_gid}"
            mode = stat.S_IMODE(info.st_mode)
            relative = os.path.relpath(path, root)
            mtime = int(info.st_mtime)
            lines.add(line(relative, kind, owner, mode=mode, mtime=mtime, content=content))
    return lines


def tree(image: str) -> set[str]:
    container = buildah("from", image).stdout.strip()
    place = Path(buildah("mount", container).stdout.strip())
    lines = listing(place)
    buildah("rm", container)
    return lines


def build(tag: str, text: str, context: Path, work: Path) -> str:
    file = work / "Dockerfile"
    file.write_text(text)
    ulimits = (
        f"--ulimit={name}={':'.join(map(str, resource.getrlimit(limit)))}"
        for name, limit in (("nofile", resource.RLIMIT_NOFILE), ("nproc", resource.RLIMIT_NPROC))
    )
    arguments = (
        "--isolation=chroot",
        "--layers=false",
        *ulimits,
        "-t",
        tag,
        "-f",
        str(file),
        str(context),
    )
    done = buildah("bud", *arguments)
    return done.stderr if done.returncode else ""


def main() -> int:
    EXPECTED.parent.mkdir(exist_ok=True)
    out = []
    with tempfile.TemporaryDirectory(prefix="copy.") as place:
        work = Path(place)
        make_context(work / "context")
        base_context = work / "base"
        base_context.mkdir()
        (base_context / "base.tar").write_bytes(base("busybox").read_bytes())
        for tag, text in (
            ("bb", "FROM scratch\nADD base.tar /\n"),
            ("prepared", PREPARED),
            ("s", STAGE),
        ):
            if error := build(tag, text, base_context, work):
                raise SystemExit(error)
        before = tree("prepared")
        for case in CASES:
            error = build("case", dockerfile(case), work / "context", work)
            if error:
                print(case, error.splitlines()[-1], file=sys.stderr)
            lines = ["FAILS"] if error else sorted(tree("case") - before)
            out += [f"= {case}", *lines]
    EXPECTED.write_text("\n".join(out) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
