"""Multi-stage builds and COPY --from, on each driver."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.image.builder.conftest import announced

if TYPE_CHECKING:
    from tests.image.builder.conftest import Workshop


def test_stages_by_name_and_number_and_images(workshop: Workshop) -> None:
    workshop.build("FROM bb\nRUN mkdir /data && echo image >/data/i\n", tag="other")
    workshop.build(
        """\
FROM bb AS Build
ENV FROM_BUILD=1
WORKDIR /out
RUN echo built >file && ln -s /out/file /link && mkdir dir && echo x >dir/x
FROM build AS more
RUN echo more >>file; echo [$FROM_BUILD] >env
FROM bb
COPY --from=build /link /from-link
COPY --from=1 /out/file /out/env /
COPY --from=more ../out/d*r /dir
COPY --from=other /data/ /data
"""
    )
    script = "cd /; cat from-link file env dir/x data/i; ls /out /link 2>/dev/null; env"
    output = workshop.run(script)
    assert output.startswith("built\nbuilt\nmore\n[1]\nx\nimage\n")
    assert "FROM_BUILD" not in output


def test_an_unneeded_stage_is_not_built(any_workshop: Workshop) -> None:
    done = any_workshop.build(
        "FROM nowhere AS a\nRUN exit 1\nADD x /\nFROM bb AS b\nRUN echo b\nFROM bb\nRUN echo c\n"
    )
    assert done.stdout == "c\n"
    assert [line for line, _, _ in announced(done)] == [6, 7]
    assert "grown in 2 instructions" in done.stderr


def test_announcement_of_from(any_workshop: Workshop) -> None:
    done = any_workshop.build("ARG B=bb\nFROM $B AS One\nFROM one AS two\n")
    assert [text for _, _, text in announced(done)][1:] == ["FROM bb AS one", "FROM one AS two"]


def test_what_from_names_is_not_there(any_workshop: Workshop) -> None:
    done = any_workshop.build("FROM nowhere:1\n", check=False)
    assert done.returncode == 1
    assert (
        "Dockerfile:1: not in storage: nowhere:1; and pulling it failed: can't reach" in done.stderr
    )
    assert "   1 | FROM nowhere:1\n     |      ~~~~~~~~^\n" in done.stderr
    done = any_workshop.build("FROM bb\nCOPY --from=nowhere / /\n", check=False)
    assert "Dockerfile:2: not in storage: nowhere" in done.stderr
    assert any_workshop.ch_image("list").stdout == "bb\n"


def test_copy_from_keeps_modes_and_follows_links_in_the_other_root(workshop: Workshop) -> None:
    workshop.build(
        """\
FROM bb AS one
RUN mkdir -p /d/sub && echo x >/d/x && chmod 4711 /d/x && chmod 700 /d/sub \\
 && ln -s /etc/passwd /d/absolute && ln -s /d /link && ln /d/x /d/sub/hard && echo y >/secret \\
 && chmod 0 /secret && mkfifo /d/fifo
FROM bb
COPY --from=one /link/ /copy/
COPY --from=one /secret /link/../d/absolute /etc/
"""
    )
    assert workshop.run("cd /copy; stat -c '%n %F %a %h' x sub absolute fifo | sort") == (
        "absolute symbolic link 777 1\nfifo fifo 644 1\nsub directory 700 2\n"
        "x regular file 4711 2\n"
    )
    assert workshop.run("readlink /copy/absolute; stat -c %a /etc/secret") == "/etc/passwd\n0\n"


def test_a_link_of_the_destination_leads_to_its_own_root(any_workshop: Workshop) -> None:
    any_workshop.build(
        """\
FROM bb AS one
RUN echo x >/f && mkdir /c
FROM bb
RUN mkdir -p /a/b /c && ln -s ../../c /a/b/up
COPY --from=one /f /a/b/up/g
"""
    )
    assert any_workshop.run("cat /c/g") == "x\n"


@pytest.mark.parametrize(
    ("instruction", "message"),
    [
        ("COPY --from=one /nothing /x", "source not found: /nothing"),
        ("COPY nothing /x", "source not found: nothing"),
        ("COPY ../Dockerfile /x", "source not found: ../Dockerfile"),
        ("COPY a b /file", "several files match, and the destination is not a directory"),
        ("COPY [ab] /file", "several files match, and the destination is not a directory"),
        ("COPY d /bin/busybox", "not a directory in the image: /bin/busybox"),
    ],
)
def test_copy_that_fails_changes_nothing(
    any_workshop: Workshop, instruction: str, message: str
) -> None:
    any_workshop.write({"a": "a", "b": "b", "d/x": "x"})
    done = any_workshop.build(f"FROM bb AS one\nRUN true\nFROM bb\n{instruction}\n", check=False)
    assert done.returncode == 1
    dockerfile = any_workshop.context.parent / "Dockerfile"
    assert f"error: {dockerfile}:4: {message}" in done.stderr
    assert f"   4 | {instruction}\n" in done.stderr
    assert "hint: " in done.stderr
    assert any_workshop.ch_image("list").stdout == "bb\n"


def test_no_context(any_workshop: Workshop) -> None:
    path = any_workshop.context.parent / "Dockerfile"
    path.write_text("FROM bb\nCOPY a /\n")
    done = any_workshop.ch_image("build", "-t", "img", "-f", path, "-", check=False)
    assert done.returncode == 1
    assert f'error: {path}:2: no context, because CONTEXT is "-"' in done.stderr
    path.write_text("FROM bb AS a\nRUN echo x >/f\nFROM bb\nCOPY --from=a /f /\n")
    any_workshop.ch_image("build", "-t", "img", "-f", path, "-")
    assert any_workshop.run("cat /f") == "x\n"
