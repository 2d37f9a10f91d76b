"""BuildKit and Sundog make the same tree of a Dockerfile."""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING

from tests.image.seen import tree_of

if TYPE_CHECKING:
    from tests.buildkit.conftest import Builders

DOCKERFILE = r"""
FROM scratch AS files
COPY --chown=12:34 --chmod=0640 one two /first/
COPY deep /second/
COPY deep/. /third
COPY link /linked
ADD archive.tar /unpacked/
WORKDIR /made/by/workdir
COPY one renamed
COPY <<"EOF" <<'more' /heredocs/
$NOT_REPLACED
EOF
other
more
FROM scratch
COPY --from=files /first/two /second /
COPY --from=files --chown=9 /heredocs/ /again/
COPY --from=files / /all/
"""


def test_copies(builders: Builders) -> None:
    context = builders.directory("copies", DOCKERFILE)
    for name in ("one", "two", "deep/er/three"):
        (context / name).parent.mkdir(parents=True, exist_ok=True)
        (context / name).write_text(f"{name}\n")
    (context / "two").chmod(0o4755)
    (context / "deep/er").chmod(0o2751)
    (context / "link").symlink_to("deep/er/three")
    with tarfile.open(context / "archive.tar", "w") as tar:
        for name in ("one", "deep"):
            entry = tar.gettarinfo(context / name)
            entry.uid, entry.gid = 77, 88
            with (context / name).open("rb") if entry.isreg() else open("/dev/null", "rb") as file:
                tar.addfile(entry, file)
    trees = []
    for name in ("theirs", "ours"):
        out = builders.place / f"{name}.tar"
        output = f"--output=type=tar,dest={out}"
        if name == "theirs":
            builders.docker("buildx", "build", "--no-cache", output, context)
        else:
            builders.ch_image("build", "--no-cache", output, context)
        trees.append(tree_of(out))
    assert trees[0] == trees[1]
