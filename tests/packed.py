"""A storage directory with images whose layers are files, for tests of several directories."""

from pathlib import Path

from tests.conftest import runner

DOCKERFILE = """\
FROM bb
RUN echo new >/etc/new && chown 5:6 /etc/new && rm /etc/motd && rm -r /etc/d && mkdir /etc/d
COPY --from=bb /etc/passwd /copied
"""


def make_packed(place: Path, busybox_tar: Path) -> Path:
    """Make a storage directory in ``place``: ``plain`` of trees, ``bb`` of files, ``mixed``."""
    image = runner("ch-image", place / "storage")
    image("import", busybox_tar, "base")
    (place / "Dockerfile").write_text(
        "FROM base\nRUN mkdir -p /etc/d && echo 1 >/etc/d/1 && echo motd >/etc/motd"
        " && chown 7:8 /etc/d/1 && chmod 4755 /etc/d/1\n"
        'CMD ["/bin/cat", "/etc/motd"]\n'
    )
    image("build", "--force=notify", "-t", "plain", place)
    image("tag", "plain", "bb")
    assert image("pack", "bb").stderr.splitlines()[-1] == "packed bb: 2 of 2 layers"
    assert image("pack", "bb").stderr.splitlines()[-1] == "packed bb: 0 of 2 layers"
    (place / "Dockerfile").write_text(DOCKERFILE)
    image("build", "--force=notify", "-t", "mixed", place)
    return place / "storage"
