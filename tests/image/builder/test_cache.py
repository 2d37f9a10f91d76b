"""The build cache: the results that it finds again, and those that it does not."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.conftest import runner
from tests.image.builder.conftest import make_workshop

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Runner
    from tests.image.builder.conftest import Workshop

DOCKERFILE = """\
FROM bb
ENV A=1
COPY d /d
RUN cat /proc/sys/kernel/random/uuid >/when
RUN true
"""


FILES = {"d/file": "content", "d/sub/other": "x"}


@pytest.fixture
def built(workshop: Workshop) -> Workshop:
    """Return a workshop on each driver, in which DOCKERFILE was built."""
    workshop.write(FILES)
    assert workshop.statuses(DOCKERFILE) == "*...."
    return workshop


@pytest.fixture(scope="module")
def storage_with_img(
    tmp_path_factory: pytest.TempPathFactory, storage_with_busybox: Callable[[str], Path]
) -> Path:
    """Return a storage directory in which DOCKERFILE was built; tests get copies."""
    place = tmp_path_factory.mktemp("built")
    ch_image, ch_run = runner("ch-image", place / "storage"), runner("ch-run", place / "storage")
    workshop = make_workshop(place, storage_with_busybox(""), ch_image, ch_run)
    workshop.write(FILES)
    assert workshop.statuses(DOCKERFILE) == "*...."
    return place / "storage"


@pytest.fixture
def any_built(
    tmp_path: Path, storage_with_img: Path, run_ch_image: Runner, run_ch_run: Runner
) -> Workshop:
    """Return the same on any driver that works: the keys do not depend on the driver."""
    workshop = make_workshop(tmp_path, storage_with_img, run_ch_image, run_ch_run)
    workshop.write(FILES)
    return workshop


def test_everything_is_found_again(built: Workshop) -> None:
    when = built.run("cat /when")
    assert built.statuses(DOCKERFILE) == "*****"
    assert built.statuses(DOCKERFILE, tag="other") == "*****"
    assert built.run("cat /when", "other") == when


def test_a_cached_build_writes_nothing(built: Workshop) -> None:
    storage = built.context.parent / "storage"

    def state() -> dict[str, int]:
        return {
            os.fspath(path): path.lstat().st_ctime_ns
            for directory in ("images", "layers", "cache", "trees")
            for path in (storage / directory).rglob("*")
        }

    before = state()
    assert built.statuses(DOCKERFILE) == "*****"
    assert state() == before


def touch(context: Path) -> None:
    os.utime(context / "d/file", (1, 1))
    os.utime(context / "d/sub")


def same_size_and_time(context: Path) -> None:
    info = (context / "d/file").stat()
    (context / "d/file").write_text("CONTENT")
    os.utime(context / "d/file", ns=(info.st_atime_ns, info.st_mtime_ns))


def rename_context(context: Path) -> None:
    context.rename(context.parent / "renamed")
    (context.parent / "renamed").rename(context)


@pytest.mark.parametrize(
    ("change", "statuses"),
    [
        (touch, "*****"),
        (rename_context, "*****"),
        (lambda context: (context / "unrelated").write_text("x"), "*****"),
        (lambda context: context.chmod(0o700), "*****"),
        (same_size_and_time, "**..."),
        (lambda context: (context / "d/file").chmod(0o600), "**..."),
        (lambda context: (context / "d/new").write_text(""), "**..."),
        (lambda context: (context / "d/file").rename(context / "d/file2"), "**..."),
    ],
)
def test_changes_of_the_context(
    any_built: Workshop, change: Callable[[Path], object], statuses: str
) -> None:
    change(any_built.context)
    assert any_built.statuses(DOCKERFILE) == statuses


def test_another_context_with_the_same_files(any_built: Workshop) -> None:
    moved = any_built.context.rename(any_built.context.parent / "elsewhere")
    any_built.context = moved
    assert any_built.statuses(DOCKERFILE) == "*****"


def test_a_change_that_is_taken_back(any_built: Workshop) -> None:
    (any_built.context / "d/file").write_text("changed")
    assert any_built.statuses(DOCKERFILE) == "**..."
    (any_built.context / "d/file").write_text("content")
    assert any_built.statuses(DOCKERFILE) == "*****"


@pytest.mark.parametrize(
    ("old", "new", "statuses"),
    [
        ("RUN true", "RUN true ", "*****"),
        ("RUN true", "\n# comment\nrun  true", "*****"),
        ("RUN true", "RUN :", "****."),
        ("RUN true", 'RUN ["true"]', "****."),
        ("RUN cat", "RUN  \\\n  cat", "*****"),
        ("COPY d /d", "COPY ./d/ /d", "*****"),
        ("COPY d /d", "COPY d /d/", "**..."),
        ("COPY d /d", "COPY d /e", "**..."),
        ("COPY d", "COPY d*", "*****"),
        ("ENV A=1", "ENV A=2", "*.*.."),
        ("ENV A=1", "LABEL A=1", "*.*.."),
        ("ENV A=1", "ENV 'A'=\"1\"", "*****"),
        ("RUN true", "WORKDIR /d", "****."),
        ("FROM bb", "FROM bb:latest", "*****"),
    ],
)
def test_changes_of_the_dockerfile(any_built: Workshop, old: str, new: str, statuses: str) -> None:
    assert any_built.statuses(DOCKERFILE.replace(old, new)) == statuses


def test_a_label_does_not_make_commands_run_again(any_built: Workshop) -> None:
    changed = DOCKERFILE.replace("ENV A=1", "ENV A=1\nLABEL a=b\nEXPOSE 80")
    assert any_built.statuses(changed) == "**..***"


@pytest.mark.parametrize(
    ("options", "statuses"),
    [
        ([], "*****"),
        (["--force=none"], "***.."),
        (["--force-cmd=zypper,-x"], "*****"),
        (["--force-cmd=true,-x"], "****."),
        (["--rebuild"], "*...."),
        (["--no-cache"], "*...."),
    ],
)
def test_options(any_built: Workshop, options: list[str], statuses: str) -> None:
    assert any_built.statuses(DOCKERFILE, *options) == statuses


def test_rebuild_replaces_what_is_remembered(built: Workshop) -> None:
    before = built.run("cat /when")
    built.build(DOCKERFILE, "--rebuild")
    rebuilt = built.run("cat /when")
    assert rebuilt != before
    assert built.statuses(DOCKERFILE, tag="other") == "*****"
    assert built.run("cat /when", "other") == rebuilt


def test_no_cache_remembers_nothing(built: Workshop) -> None:
    before = built.run("cat /when")
    built.build(DOCKERFILE, "--no-cache", tag="fresh")
    assert built.run("cat /when", "fresh") != before
    built.build(DOCKERFILE, tag="other")
    assert built.run("cat /when", "other") == before


def test_cache_mode_of_the_environment(
    any_built: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CH_IMAGE_CACHE", "disabled")
    assert any_built.statuses(DOCKERFILE) == "*...."
    assert any_built.statuses(DOCKERFILE, "--cache") == "*****"
    monkeypatch.setenv("CH_IMAGE_CACHE", "rebuild")
    assert any_built.statuses(DOCKERFILE) == "*...."
    monkeypatch.setenv("CH_IMAGE_CACHE", "sometimes")
    done = any_built.build(DOCKERFILE, check=False)
    assert done.returncode == 2
    assert "error: $CH_IMAGE_CACHE: invalid build cache mode: sometimes" in done.stderr


def test_args_and_proxies(any_workshop: Workshop) -> None:
    dockerfile = "FROM bb\nARG A=1\nCOPY f /\nRUN echo $A\n"
    any_workshop.write({"f": ""})
    assert any_workshop.statuses(dockerfile) == "*..."
    assert any_workshop.statuses(dockerfile, "--build-arg", "A=1") == "****"
    # COPY does not see A: only RUN sees it.
    assert any_workshop.statuses(dockerfile, "--build-arg", "A=2") == "*.*."
    assert any_workshop.statuses(dockerfile, "--build-arg", "http_proxy=x") == "****"


def test_declared_proxies_are_neither_in_the_key_nor_in_the_image(any_workshop: Workshop) -> None:
    dockerfile = "FROM bb\nARG http_proxy\nRUN echo $http_proxy\n"
    done = any_workshop.build(dockerfile, "--build-arg", "http_proxy=http://me:secret@proxy")
    assert done.stdout == "http://me:secret@proxy\n"
    assert any_workshop.statuses(dockerfile, "--build-arg", "http_proxy=other") == "***"
    assert "secret" not in done.stderr
    assert "secret" not in repr(any_workshop.config())


def test_copy_from_a_stage_follows_its_layers(any_workshop: Workshop) -> None:
    dockerfile = """\
FROM bb AS one
RUN echo 1 >/f
FROM bb
COPY --from=one /f /g
"""
    assert any_workshop.statuses(dockerfile) == "*.*."
    assert any_workshop.statuses(dockerfile) == "****"
    assert any_workshop.statuses(dockerfile.replace("echo 1", "echo 2")) == "*.*."
    assert any_workshop.run("cat /g") == "2\n"


def test_a_base_that_was_made_anew(any_workshop: Workshop) -> None:
    any_workshop.build("FROM bb\nRUN echo 1 >/f\n", tag="base")
    assert any_workshop.statuses("FROM base\nRUN cat /f >/g\n") == "*."
    any_workshop.build("FROM bb\nRUN echo 2 >/f\n", tag="base")
    assert any_workshop.statuses("FROM base\nRUN cat /f >/g\n") == "*."
    assert any_workshop.run("cat /g") == "2\n"
    any_workshop.build("FROM bb\nRUN echo 1 >/f\n", tag="base")
    assert any_workshop.statuses("FROM base\nRUN cat /f >/g\n") == "**"


def test_deleting_the_image_leaves_the_cache(any_workshop: Workshop) -> None:
    dockerfile = "FROM bb\nRUN cat /proc/sys/kernel/random/uuid >/when\n"
    any_workshop.build(dockerfile)
    when = any_workshop.run("cat /when")
    any_workshop.ch_image("delete", "img")
    assert any_workshop.statuses(dockerfile) == "**"
    assert any_workshop.run("cat /when") == when
