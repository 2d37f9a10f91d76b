"""Files that a RUN without records made count as the asker's own under ``ch-run --notify``."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING

import pytest

from sundog.runtime.emulation.notify.seccomp.trial import HAS_SUPERVISOR
from tests.conftest import copy_storage, runner
from tests.image.builder.conftest import Workshop

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Runner

pytestmark = pytest.mark.skipif(not HAS_SUPERVISOR, reason="no supervisor on this architecture")

# Three layers: recorded files, files whose owners nobody sees, recorded files again.
BELOW = """\
FROM bb
RUN echo app:x:42:43::/home/app:/bin/sh >>/etc/passwd && mkdir /known && echo k >/known/file \\
    && echo r >/recorded && chown 7:8 /recorded
"""
UNSEEN = """\
FROM below
RUN mkdir -p -m 700 /home/app/deep && echo u >/home/app/file && chmod 755 /home \\
    && chown -R 42:43 /home/app && echo n >/known/new && chmod 600 /known/new
"""
ABOVE = """\
FROM unseen
RUN echo a >/home/app/above
WORKDIR /home/app
USER app
"""
# In this order: what the image's user does, and whether it may.
DEEDS = (
    ("echo x >/home/app/made", True),
    ("mkdir /home/app/deep/made", True),
    ("echo more >>/home/app/file", True),
    ("chmod 640 /home/app/file", True),
    ("touch -t 202001010000 /home/app/file", True),
    ("mv /home/app/file /home/app/moved", True),
    ("rmdir /home/app/deep/made && rmdir /home/app/deep", True),
    ("echo more >>/known/new", True),
    ("echo x >/known/made", False),
    ("echo x >>/known/file", False),
    ("rm /known/new", False),
    ("echo x >>/recorded", False),
    ("mkdir /made", False),
    ("mkdir /home/made", False),
    ("echo x >>/home/app/above", False),
    ("chmod 666 /home/app/above", False),
)
LOST = (
    "refused: /known counts as root's, because the image has lost whose files its RUN "
    "instructions made: build it with --force=notify"
)
SCRIPT = "\n".join(f"({deed}) 2>/dev/null; echo $?" for deed, _ in DEEDS)
SHOWN = "stat -c %u:%g /home/app /home/app/file /known/new"


def made(place: Path, imported: Path) -> Workshop:
    copy_storage(imported, place / "storage")
    run = (runner(name, place / "storage") for name in ("ch-image", "ch-run"))
    workshop = Workshop(place, *run)
    workshop.build(BELOW, "--force=notify", tag="below")
    workshop.build(UNSEEN, "--force=seccomp", tag="unseen")
    workshop.build(ABOVE, "--force=notify", tag="img")
    return workshop


@pytest.fixture(scope="module", params=["overlay", "copy"])
def shop(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    storage_with_busybox: Callable[[str], Path],
) -> Workshop:
    """Return a workshop with the image ``img``, on each driver."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CH_IMAGE_DRIVER", request.param)
        place = tmp_path_factory.mktemp("guessed")
        return made(place, storage_with_busybox(request.param))


def outcomes(run: Runner, image: str | Path, *options: str) -> dict[str, bool]:
    """Return what the image's user may do in a container of ``image``."""
    done = run("-W", "--notify", "-t", "--user=app", *options, image, "--", "sh", "-c", SCRIPT)
    statuses = done.stdout.split()
    return {deed: status == "0" for (deed, _), status in zip(DEEDS, statuses, strict=True)}


def test_what_a_user_may_do(shop: Workshop) -> None:
    assert outcomes(shop.ch_run, "img") == dict(DEEDS)
    done = shop.ch_run("--notify", "img", "--", "sh", "-c", SHOWN)
    assert done.stdout.split() == ["0:0"] * 3


def test_a_run_under_a_supervisor(shop: Workshop) -> None:
    """What that RUN makes there has its owner."""
    text = "FROM unseen\nUSER app\nRUN echo >/home/app/x && ! echo x >/known/x\n"
    shop.build(text, "--force=notify", tag="run")
    look = ("stat", "-c", "%u:%g", "/home/app/x", "/home/app")
    assert shop.ch_run("--notify", "run", "--", *look).stdout.split() == ["42:43", "0:0"]


def test_without_the_mark_nothing_is_guessed(shop: Workshop) -> None:
    """The same files, from a RUN that a supervisor saw, are root's."""
    shop.build(UNSEEN.replace("chown", ": chown"), "--force=notify", tag="seen")
    shop.build(ABOVE.replace("unseen", "seen"), "--force=notify", tag="plain")
    assert not any(outcomes(shop.ch_run, "plain").values())


def test_guesses_cost_no_notification(shop: Workshop) -> None:
    """The same script makes no more where owners are guessed than where they are known."""
    shop.build(UNSEEN.replace("chown", ": chown"), "--force=notify", tag="seen")
    shop.build(ABOVE.replace("unseen", "seen"), "--force=notify", tag="known")
    deeds = "cat /home/app/file; ls -l /home/app /known; stat /known/new; (: >>/home/app/file)"
    script = f"{deeds}; (: >>/known/file); find / -xdev; exec true"
    counts = []
    for image in ("img", "known"):
        words = ("-v", "-W", "--notify", "-t", "--user=app", image, "--", "sh", "-c", script)
        told = shop.ch_run(*words, check=False).stderr
        found = re.search(r"notify: (\d+) notifications", told)
        assert found, told
        counts.append(int(found[1]))
    assert 0 < counts[0] <= counts[1]


# The mark survives conversions


@pytest.mark.parametrize("suffix", ["", ".tar", ".sqfs", ".oci"])
def test_it_survives_a_conversion(shop: Workshop, tmp_path: Path, suffix: str) -> None:
    if suffix == ".sqfs" and shutil.which("mksquashfs") is None:
        pytest.skip("no mksquashfs")
    convert = runner("ch-convert", shop.context.parent / "storage")
    target, name = tmp_path / f"image{suffix}", f"again{suffix[1:]}"
    kind = {"": "dir", ".oci": "oci-dir"}.get(suffix, suffix[1:].replace("sqfs", "squash"))
    convert("-i", "ch-image", "-o", kind, "img", target)
    is_stored = suffix in (".tar", ".oci")
    if is_stored:
        convert("-i", kind, "-o", "ch-image", target, name)
    assert outcomes(shop.ch_run, name if is_stored else target) == dict(DEEDS)
    if suffix == ".tar":  # a list of the one layer, below more layers
        shop.build(f"FROM {name}\nUSER 0\nRUN mkdir /more\n", "--force=notify", tag=name)
        convert("-i", "ch-image", "-o", "dir", name, tmp_path / "tree")
        assert outcomes(shop.ch_run, tmp_path / "tree") == dict(DEEDS)


def test_a_format_without_the_mark(shop: Workshop, tmp_path: Path) -> None:
    """The first refusal says that the mark is lost, and only that one does."""
    convert = runner("ch-convert", shop.context.parent / "storage")
    convert("-i", "ch-image", "-o", "docker-archive", "img", tmp_path / "image.tar")
    convert, ch_run = (runner(name, tmp_path / "storage") for name in ("ch-convert", "ch-run"))
    convert("-i", "docker-archive", "-o", "ch-image", tmp_path / "image.tar", "lost")
    convert("-i", "docker-archive", "-o", "dir", tmp_path / "image.tar", tmp_path / "tree")
    script = "true >/dev/null; cd /; echo x >known/x; echo y >home/app/y; echo z >/tmp/z"
    for image in ("lost", tmp_path / "tree"):
        done = ch_run("-W", "--notify", "-t", "--user=app", image, "--", "sh", "-c", script)
        hints = [line.partition("hint: ")[2] for line in done.stderr.splitlines() if "hint" in line]
        assert hints == [LOST]
        assert done.stderr.count("Permission denied") == 2
    done = ch_run("-W", "--notify", "-t", "--user=root", "lost", "--", "sh", "-c", script)
    assert done.stderr == ""


@pytest.mark.parametrize("force", ["none", "seccomp", "notify"])
def test_the_mark_is_that_of_the_mode(shop: Workshop, force: str) -> None:
    shop.build("FROM below\nRUN mkdir /own\n", f"--force={force}", tag="mode")
    (described,) = json.loads(shop.ch_image("inspect", "mode").stdout)
    assert described["force"] == list(dict.fromkeys(["notify", force]))
    done = shop.ch_run(
        "-W", "--notify", "-u5", "mode", "--", "sh", "-c", "echo >/own/x", check=False
    )
    assert (done.returncode == 0) == (force != "notify")


def test_members_of_a_group(shop: Workshop) -> None:
    """The supervisor of a group knows the marks, too, and tells its hint at the end."""
    group = ("-W", "--notify", "--join", "--join-ct=1", "--user=app")
    script = "echo x >/home/app/made; echo y >/known/y"
    done = shop.ch_run(*group, "img", "--", "sh", "-c", script, check=False)
    assert done.stderr.count("Permission denied") == 1
    assert "/known/y" in done.stderr


# What builds say


def test_a_build_says_that_nobody_sees_owners(shop: Workshop) -> None:
    said = "USER app (line 3) and mkdir, chown: --force=seccomp records no owners"
    text = "FROM below\nRUN mkdir /o && chown app /o\nUSER app\n"
    for force, count in (("seccomp", 1), ("notify", 0), ("none", 0)):
        assert shop.build(text, f"--force={force}", "-n", tag="s").stderr.count(said) == count
    for harmless in ("FROM below\nRUN mkdir /o\nUSER root\n", "FROM below\nRUN true\nUSER app\n"):
        assert "records" not in shop.build(harmless, "-n", tag="s").stderr
