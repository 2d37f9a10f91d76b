"""A RUN that fails under ``seccomp``, the default, is tried again under ``notify``."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest

from sundog.image.builder.run.signs import sign_of
from tests.image.builder.conftest import announced

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Completed
    from tests.image.builder.conftest import Workshop

CHECK = "echo tried && test ! -e /f && touch /f && chown 5:6 /f && test $(stat -c %u:%g /f) = 5:6"
CHECKED = f"FROM bb\nRUN echo below\nRUN {CHECK}\nRUN stat -c 'later %u:%g' /f\n"
# The first RUN succeeds and forgets; the second can't succeed on what the first made.
FORGOTTEN = """\
FROM bb
RUN echo first && touch /f && chown 5:6 /f
RUN echo second; stat -c %u:%g /f | grep 5:6
"""
HOMES = """\
FROM bb AS made
RUN echo app:x:42:43::/home/app:/bin/sh >>/etc/passwd && mkdir -p /home/app && chown 42:43 /home/app
USER app
RUN echo tool >~/tool
FROM bb
COPY --from=made /home/app/tool /tool
"""
MOUNTED = "RUN --mount=from=made,source=/home/app/tool,target=/mnt cp /mnt /tool"
TRYING = "trying it again under notify"
REBUILDING = "building again from the start under notify"


def told(done: Completed) -> list[str]:
    """Return the lines about new tries."""
    return [line for line in done.stderr.splitlines() if line.startswith("line ")]


def runs(done: Completed) -> list[str]:
    """Return the status and the tag of each RUN."""
    return [f"{status}{text[4]}" for _, status, text in announced(done) if text.startswith("RUN.")]


def test_a_check_of_an_owner(workshop: Workshop) -> None:
    """It runs again from the state before it; later RUNs and builds know that."""
    done = workshop.build(CHECKED)
    line = (
        "line 3: RUN exited with 1, and it has stat: trying it again under notify, from the state "
        "before it; later RUNs have notify, too"
    )
    assert told(done) == [line]
    assert runs(done) == [".S", ".S", ".C"]
    assert done.stdout.splitlines() == ["below", "tried", "tried", "later 5:6"]
    assert "grown in 4 instructions: img" in done.stderr
    entries = [(entry["created_by"][:5], entry.get("comment")) for entry in runs_of(workshop)]
    assert entries == [("RUN.S", None), ("RUN.C", "seccomp failed, so notify"), ("RUN.C", None)]
    (described,) = json.loads(workshop.ch_image("inspect", "img").stdout)
    assert described["force"] == ["seccomp", "notify"]
    again = workshop.build(CHECKED)
    assert runs(again) == ["*S", "*C", "*C"]
    assert again.stdout == ""
    assert told(again) == ["line 3: RUN under notify from here on: under seccomp, it failed before"]
    assert runs_of(workshop)[1]["comment"] == "seccomp failed, so notify"
    dry = workshop.build(CHECKED, "-n")
    assert runs(dry) == ["*S", "*C", "*C"]
    assert runs(workshop.build(CHECKED, "--no-cache")) == [".S", ".S", ".C"]


def runs_of(workshop: Workshop) -> list[dict[str, str]]:
    history = workshop.config()["history"]
    return [entry for entry in history if entry["created_by"].startswith("RUN")]


def test_owners_that_an_earlier_run_forgot(any_workshop: Workshop) -> None:
    """Then the build begins again, as a build under ``notify``; the next build has no failure."""
    done = any_workshop.build(FORGOTTEN)
    assert [REBUILDING in line for line in told(done)] == [False, True]
    assert runs(done) == [".S", ".S", ".C", ".C"]
    assert done.stdout.splitlines() == ["first", "second", "second", "first", "second", "5:6"]
    assert any_workshop.ch_image("list").stdout.split() == ["bb", "img"]
    again = any_workshop.build(FORGOTTEN)
    assert again.stdout == ""
    assert runs(again) == ["*S", "*C", "*C"]
    assert len(told(again)) == 1
    assert runs(any_workshop.build(FORGOTTEN, "--force=notify")) == ["*C", "*C"]


def test_files_that_a_run_made_in_the_home_of_root(any_workshop: Workshop) -> None:
    done = any_workshop.build(HOMES)
    assert any_workshop.run("cat /tool") == "tool\n"
    assert [REBUILDING in line for line in told(done)] == [True]
    mounted = HOMES.replace("COPY --from=made /home/app/tool /tool", MOUNTED)
    assert [REBUILDING in line for line in told(any_workshop.build(mounted))] == [True]
    missing = HOMES.replace("made /home", "bb /home")
    done = any_workshop.build(missing, check=False)
    assert (done.returncode, told(done)) == (1, [])


@pytest.mark.parametrize(
    ("lines", "count"),
    [
        (("USER 5", "RUN test $(id -u) = 5"), 1),
        (("USER 5", "RUN true", "RUN test $(id -u) = 5"), 2),
        (("RUN touch /f && chown 7 /f", "USER 5", "RUN true", "RUN stat -c %u /f | grep 7"), 1),
    ],
    ids=["the RUN began again", "another RUN stayed root", "the build began again"],
)
def test_a_warning_that_does_not_hold_is_not_printed_again(
    any_workshop: Workshop, lines: tuple[str, ...], count: int
) -> None:
    done = any_workshop.build("\n".join(("FROM bb", *lines, "")))
    assert done.stderr.count("warning: RUN stays root after USER") == count
    assert done.stderr.count("reprinting") == count - 1
    assert len(told(done)) >= 1


@pytest.mark.parametrize(
    ("options", "environment", "settings"),
    [
        (["--force=seccomp"], {}, ""),
        (["--force=none"], {}, ""),
        (["--force-cmd=touch,-c"], {}, ""),
        (["--no-retry"], {}, ""),
        ([], {"CH_IMAGE_FORCE": "seccomp"}, ""),
        ([], {}, 'force = "seccomp"'),
        ([], {}, "retry = false"),
        (["--emulation-default=none"], {}, ""),
    ],
    ids=str,
)
def test_a_choice_of_the_user_stays(
    any_workshop: Workshop,
    tmp_path: Path,
    options: list[str],
    environment: dict[str, str],
    settings: str,
) -> None:
    (tmp_path / "sundog").mkdir()
    (tmp_path / "sundog/build.toml").write_text(settings)
    env = {"XDG_CONFIG_HOME": str(tmp_path), **environment}
    done = any_workshop.build(f"FROM bb\nRUN {CHECK}\n", *options, env=env, check=False)
    assert (done.returncode, told(done), len(runs(done))) == (1, [], 1)


def test_a_second_failure_is_the_one_that_counts(workshop: Workshop) -> None:
    run = "RUN touch /f && chown 5 /f; exit $((1 + $(stat -c %u /f)))\n"
    done = workshop.build(f"FROM bb\nENV A=1\n{run}", check=False)
    assert [TRYING in line for line in told(done)] == [True]
    assert "Dockerfile:3: build failed: RUN command exited with 6\n" in done.stderr
    look = "look at the state before it: ch-run -W --set-env"
    assert done.stderr.splitlines()[-1] == (
        f"hint: under seccomp, it exited with 1; {look} bb -- /bin/sh"
    )
    # With files below that seccomp forgot, it fails a third time.
    done = workshop.build(f"FROM bb\nRUN touch /g && chown 7 /g\n{run}", check=False)
    assert [REBUILDING in line for line in told(done)] == [False, True]
    assert "Dockerfile:3: build failed: RUN command exited with 6\n" in done.stderr
    assert done.stderr.splitlines()[-1] == f"hint: {look} img:latest_failed -- /bin/sh"
    stat = ("-W", "--notify", "img:latest_failed", "--", "sh", "-c", "stat -c %u /g; ls /f")
    assert workshop.ch_run(*stat, check=False).stdout == "7\n"


def test_what_only_real_root_may_do(any_workshop: Workshop) -> None:
    """No emulation helps, so at most the RUN is tried again, and not the build."""
    below = "FROM bb\nRUN echo below\nRUN "
    done = any_workshop.build(f"{below}swapon /etc/passwd\n", check=False)
    assert (done.returncode, told(done)) == (1, [])
    assert "hint: if swapon(2) by swapon failed: " in done.stderr
    done = any_workshop.build(f"{below}id && swapon /etc/passwd\n", check=False)
    assert [TRYING in line for line in told(done)] == [True]
    assert "the kernel refused swapon(2) by swapon: " in done.stderr


def test_a_failure_without_a_sign(any_workshop: Workshop) -> None:
    for script in ("exit 3", "kill -9 $$", "nosuchcommand", "echo Permission denied; exit 126"):
        done = any_workshop.build(f"FROM bb\nRUN {script}\n", check=False)
        assert (done.returncode, told(done)) == (1, []), script


def test_a_script_of_the_image(workshop: Workshop) -> None:
    """It fails without a word; the RUN names it by $PATH, after cd, or for an interpreter."""
    script = "#!/bin/sh\nset -e\ntouch /f\nchown 5 /f\ntest $(stat -c %u /f) = 5\n"
    workshop.write({"set-up": script})
    below = "FROM bb\nCOPY --chmod=755 set-up /opt/tools/\nENV PATH=/opt/tools:/bin:/usr/bin\n"
    for run in ("set-up", "cd /opt && ./tools/set-up", "sh -e /opt/tools/set-up"):
        assert "and its script has stat: " in told(workshop.build(f"{below}RUN {run}\n"))[0]
    hostile = "ln -s / /opt/tools/a; mkfifo /opt/tools/b; ln -s d /opt/tools/d"
    dockerfile = f"{below}RUN {hostile}\nRUN exit 1; a; b; ./b; d; /etc; /opt/tools/a/f; '\\0'\n"
    done = workshop.build(dockerfile, check=False)
    assert (done.returncode, told(done)) == (1, [])


def test_the_end_of_a_long_output(any_workshop: Workshop) -> None:
    """Also where the user does not see it."""
    script = "yes | head -c 999999; echo must not run as root >&2; yes | head -c 50000; echo end"
    script += "; exit 1"
    done = any_workshop.build(f"FROM bb\nRUN {script}\n", check=False)
    assert "line 2: RUN exited with 1, and it printed “as root”: trying" in told(done)[0]
    quiet = any_workshop.build(f"FROM bb\nRUN {script}\n", "-qqq", check=False)
    assert told(quiet) == []
    assert quiet.stderr.count("   end\n") == 1


def test_where_notify_is_not_possible(any_workshop: Workshop) -> None:
    """Then nothing is tried again, and ``auto`` says why it is ``seccomp``.

    That also holds if the cache knows from another machine that notify helps.
    """
    path = any_workshop.context.parent / "Dockerfile"
    path.write_text(CHECKED)
    words = ("build", "-t", "img", "-f", str(path), str(any_workshop.context))
    for options in ((), ("--force=auto",), ()):
        done = any_workshop.under_a_listener(*words, *options)
        assert (done.returncode, told(done)) == (1, [])
        assert done.stderr.count("notify is not possible") == len(options)
        any_workshop.build(CHECKED)


def test_progress_in_json_has_no_error(any_workshop: Workshop) -> None:
    done = any_workshop.build(FORGOTTEN, "--progress=rawjson")
    objects = [json.loads(line) for line in done.stderr.splitlines()]
    vertexes = [vertex for each in objects for vertex in each.get("vertexes", ())]
    assert not [vertex for vertex in vertexes if vertex.get("error")]
    logs = [base64.b64decode(log["data"]) for each in objects for log in each.get("logs", ())]
    assert sum(TRYING.encode() in log for log in logs) == 1


def test_modify(any_workshop: Workshop) -> None:
    done = any_workshop.ch_image("modify", "-c", "echo a", "-c", CHECK, "bb", "img")
    assert [TRYING in line for line in told(done)] == [True]
    assert runs(done) == [".S", ".S"]
    done = any_workshop.ch_image("modify", "--no-retry", "-c", CHECK, "bb", "no", check=False)
    assert (done.returncode, told(done)) == (1, [])


def test_what_reached_a_cache_mount_stays(any_workshop: Workshop) -> None:
    count = "RUN --mount=type=cache,target=/c echo x >>/c/n; cp /c/n /n; "
    any_workshop.build(f"FROM bb\n{count}chown 5 /n && test $(stat -c %u /n) = 5\n")
    assert any_workshop.run("cat /n") == "x\nx\n"


@pytest.mark.parametrize(
    ("script", "user", "output", "sign"),
    [
        ("true", "app", "", "it comes after USER app"),
        ("true", "0:0", "", ""),
        ("a && /usr/bin/stat x", "", "", "it has stat"),
        ("echo $(id -u)", "", "", "it has id"),
        ("sudo -u app make", "", "", "it has sudo"),
        ("rpm -V bash", "", "", "it has rpm"),
        ("sh -c 'if [ -O /x ]; then y; fi'", "", "", "it has ["),
        ("test ! -c /dev/x", "", "", "it has test"),
        ("find / -user app", "", "", "it has find"),
        ("ls -la | grep app", "", "", "it has ls"),
        ("python3 -c 'import os; assert os.getuid()'", "", "", "it has getuid"),
        ("apt-get install -y sudo su stat; find . -name id; ls -C; test -e /x", "", "", ""),
        (
            "x",
            "",
            "chown: changing ownership of 'a': Invalid argument",
            "it printed “changing owner”",
        ),
        ("x", "", "setfacl: a: Invalid argument\nmore", "it printed “Invalid argument”"),
        ("x", "", "open: operation not permitted", "it printed “operation not permitted”"),
        ("x", "", "[Errno 13] Permission denied: 'x'", "it printed “[Errno 13]”"),
        ("x", "", "Error: EPERM, mkdir", "it printed “EPERM”"),
        ("x", "", '"root" execution of the server is not permitted', ""),
        ("x", "", "initdb: error: cannot be run as root", "it printed “as root”"),
        ("x", "", "fatal: detected dubious ownership in repository", "it printed “dubious owner”"),
        ("x", "", "failed to drop privileges", "it printed “drop privileges”"),
        ("x", "", "setgid(33) failed", "it printed “setgid”"),
        ("x", "", "WARNING: Running pip as the 'root' user can result in broken", ""),
        ("x", "", "git@host: Permission denied (publickey).", ""),
        ("x", "", "error: no such file or directory", ""),
        ("(" * 3000, "", "", ""),
        ("env " * 8000, "", "", ""),
        ("x", "", "chang" * 6000, ""),
    ],
)
def test_signs(script: str, user: str, output: str, sign: str) -> None:
    printed = output.encode()
    assert sign_of(("/bin/sh", "-c", script), (), user, 1, printed) == sign
    assert sign_of(("/run/script",), (script,), user, 1, printed) == sign
    assert not sign_of(("/bin/sh", "-c", script), (), user, -9, printed)
