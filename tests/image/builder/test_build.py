"""``ch-image build`` from Dockerfile to image: the meaning of instructions, on each driver."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from tests.image.builder.conftest import announced

if TYPE_CHECKING:
    from tests.image.builder.conftest import Workshop


def test_main_job(workshop: Workshop) -> None:
    workshop.write({"src/hello": "hello from the context\n"})
    dockerfile = """\
ARG BASE=bb
FROM ${BASE}
ENV GREETING=hi WHO="you there"
ARG N=3
WORKDIR /work
COPY src ./
RUN echo "$GREETING $WHO $N" >said && pwd >>said
RUN ["/bin/sh", "-c", "id -u >uid"]
CMD ["/bin/cat", "/work/said"]
"""
    done = workshop.build(dockerfile)
    assert announced(done) == [
        (1, " ", "ARG BASE='bb'"),
        (2, "*", "FROM bb"),
        (3, ".", "ENV GREETING='hi'"),
        (3, ".", "ENV WHO='you there'"),
        (4, ".", "ARG N='3'"),
        (5, ".", "WORKDIR /work"),
        (6, ".", "COPY ['src'] -> './'"),
        (7, ".", 'RUN.S echo "$GREETING $WHO $N" >said && pwd >>said'),
        (8, ".", 'RUN.S ["/bin/sh", "-c", "id -u >uid"]'),
        (9, ".", 'CMD ["/bin/cat", "/work/said"]'),
    ]
    assert done.stderr.splitlines()[-1] == "grown in 10 instructions: img"
    assert "modified" not in done.stderr  # all RUNs ran as they are written
    assert done.stdout == ""
    assert workshop.ch_run("img").stdout == "hi you there 3\n/work\n"
    assert workshop.run("cat /work/hello /work/uid") == "hello from the context\n0\n"
    again = workshop.build(dockerfile)
    assert [status for _, status, _ in announced(again)] == [" ", *"*********"]
    assert again.stderr.splitlines()[-1] == "grown in 10 instructions: img"
    assert "modified" not in again.stderr


def test_layers_stack_up(workshop: Workshop) -> None:
    workshop.build(
        """\
FROM bb
RUN echo 1 >/a && echo 1 >/b && mkdir /d && echo 1 >/d/x
RUN rm /a && echo 2 >>/b && mv /d /e
RUN rm -r /e && mkdir /e && echo 3 >/e/y
"""
    )
    assert workshop.run("cd /; ls a d 2>/dev/null; cat b; ls -A e; cat e/y") == "1\n2\ny\n3\n"


def test_scratch_with_one_static_program(workshop: Workshop, busybox_tree: object) -> None:
    os.symlink(f"{busybox_tree}/bin/busybox", workshop.context / "link")
    program = (workshop.context / "link").resolve()
    (workshop.context / "link").unlink()
    (workshop.context / "busybox").write_bytes(program.read_bytes())
    (workshop.context / "busybox").chmod(0o755)
    workshop.build(
        """\
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "mkdir", "/made"]
SHELL ["/bin/busybox", "sh", "-c"]
RUN /bin/busybox echo x >/made/file
"""
    )
    done = workshop.ch_run("img", "--", "/bin/busybox", "cat", "/made/file")
    assert done.stdout == "x\n"
    found = workshop.ch_run("img", "--", "/bin/busybox", "find", "/bin", "/made")
    assert found.stdout == "/bin\n/bin/busybox\n/made\n/made/file\n"


def test_output_of_run_streams_to_standard_output_and_error(any_workshop: Workshop) -> None:
    done = any_workshop.build("FROM bb\nRUN echo out; echo err >&2\n")
    assert done.stdout == "out\n"
    assert "\nerr\n" in done.stderr


@pytest.mark.parametrize(
    ("option", "stdout", "run_stderr", "announces"),
    [("-q", "out\n", True, False), ("-qq", "", True, False), ("-qqq", "", False, False)],
)
def test_quiet(
    any_workshop: Workshop, option: str, stdout: str, *, run_stderr: bool, announces: bool
) -> None:
    done = any_workshop.build("FROM bb\nRUN echo out; echo err >&2\n", option)
    assert done.stdout == stdout
    assert ("err\n" in done.stderr) == run_stderr
    assert bool(announced(done)) == announces


def test_run_gets_no_input_and_a_plain_environment(any_workshop: Workshop) -> None:
    done = any_workshop.build(
        "FROM bb\nENV A=1\nRUN cat; env | sort | grep -v ^SHLVL=; umask\n",
        env={"SECRET": "x", "http_proxy": "http://proxy"},
    )
    assert done.stdout.splitlines() == [
        "A=1",
        "APT_CONFIG=/ch/apt.conf",
        "CH_RUNNING=Weird Al Yankovic",
        "HOME=/root",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "PWD=/",
        f"USER={os.environ['USER']}",
        "http_proxy=http://proxy",
        "0022",
    ]
    assert any_workshop.config()["config"]["Env"] == ["A=1"]


def test_umask_of_the_user_is_of_no_account(workshop: Workshop) -> None:
    workshop.write({"d/sub/file": ""})
    umask = os.umask(0o077)
    try:
        workshop.build("FROM bb\nRUN mkdir /made && touch /made/file\nWORKDIR /w\nCOPY d /c/d\n")
    finally:
        os.umask(umask)
    assert workshop.run("stat -c %a /made /made/file /w /c /c/d /c/d/sub /c/d/sub/file") == (
        "755\n644\n755\n755\n755\n755\n644\n"
    )


def test_run_has_the_images_own_tmp(any_workshop: Workshop) -> None:
    any_workshop.build("FROM bb\nRUN echo x >/tmp/mine\n")
    done = any_workshop.ch_run("img", "-t", "--", "/bin/true")
    assert done.returncode == 0
    assert not os.path.exists("/tmp/mine")
    done = any_workshop.build("FROM img\nRUN cat /tmp/mine\n", tag="next")
    assert done.stdout == "x\n"


def test_bind_is_there_while_run_runs_only(any_workshop: Workshop) -> None:
    bound = any_workshop.context.parent / "bound"
    bound.mkdir()
    (bound / "file").write_text("bound\n")
    done = any_workshop.build("FROM bb\nRUN cat /mnt/b/file\n", "-b", f"{bound}:/mnt/b")
    assert done.stdout == "bound\n"
    assert any_workshop.run("ls /mnt/b 2>/dev/null; echo end") == "end\n"
    script = "FROM bb\nRUN for d in a b; do >/mnt/$d/new && echo $d; done 2>/dev/null; true\n"
    done = any_workshop.build(script, "-b", f"{bound}:/mnt/a:ro", "-b", f"{bound}:/mnt/b:rw")
    assert done.stdout == "b\n"


def test_user_workdir_and_the_rest_are_kept_in_the_configuration(any_workshop: Workshop) -> None:
    any_workshop.build(
        """\
FROM bb
USER nobody
EXPOSE 80 443/udp
VOLUME /data
STOPSIGNAL SIGINT
LABEL a=b c="d e"
SHELL ["/bin/sh", "-ec"]
ENTRYPOINT ["/bin/echo"]
CMD hello
HEALTHCHECK --retries=2 CMD true
MAINTAINER me
WORKDIR /a
WORKDIR b
"""
    )
    config = any_workshop.config()
    assert config["author"] == "me"
    assert config["config"] == {
        "User": "nobody",
        "ExposedPorts": {"80/tcp": {}, "443/udp": {}},
        "WorkingDir": "/a/b",
        "Labels": {"a": "b", "c": "d e"},
        "Volumes": {"/data": {}},
        "StopSignal": "SIGINT",
        "Healthcheck": {"Test": ["CMD-SHELL", "true"], "Retries": 2},
        "Entrypoint": ["/bin/echo"],
        "Cmd": ["/bin/sh", "-ec", "hello"],
        "Shell": ["/bin/sh", "-ec"],
    }
    history = config["history"]
    assert [entry["created_by"] for entry in history][-2:] == ["WORKDIR /a", "WORKDIR /a/b"]
    assert sum(not entry.get("empty_layer", False) for entry in history) == len(
        config["rootfs"]["diff_ids"]
    )


def test_run_after_user_stays_root_and_says_so(any_workshop: Workshop) -> None:
    done = any_workshop.build("FROM bb\nUSER nobody\nRUN id -u\n")
    assert done.stdout == "0\n"
    assert "warning: RUN stays root after USER with --force=seccomp; notify runs it" in done.stderr
    done = any_workshop.build("FROM bb\nRUN id -u\nUSER nobody\n")
    assert "warning" not in done.stderr


def test_entrypoint_resets_the_command_of_the_base_image(any_workshop: Workshop) -> None:
    any_workshop.build('FROM bb\nCMD ["base"]\n', tag="base")
    any_workshop.build('FROM base\nENTRYPOINT ["e"]\n', tag="reset")
    any_workshop.build('FROM base\nCMD ["own"]\nENTRYPOINT ["e"]\n', tag="own")
    assert "Cmd" not in any_workshop.config("reset")["config"]
    assert any_workshop.config("own")["config"]["Cmd"] == ["own"]


def test_configuration_of_the_base_is_inherited(any_workshop: Workshop) -> None:
    any_workshop.build("FROM bb\nENV A=1 B=2\nWORKDIR /w\nLABEL l=1\n", tag="base")
    done = any_workshop.build("FROM base\nENV B=3\nRUN echo $A $B; pwd\n")
    assert done.stdout == "1 3\n/w\n"
    assert any_workshop.config()["config"]["Labels"] == {"l": "1"}


def test_workdir_that_is_there_makes_no_layer(workshop: Workshop) -> None:
    workshop.build("FROM bb\nWORKDIR /etc\nWORKDIR /new/dir\nRUN true\n")
    assert len(workshop.config()["rootfs"]["diff_ids"]) == 2
    assert workshop.run("stat -c '%a %u %g' /new /new/dir") == "755 0 0\n755 0 0\n"


def test_workdir_through_a_symlink_and_over_a_file(any_workshop: Workshop) -> None:
    any_workshop.build("FROM bb\nRUN ln -s /etc /link\nWORKDIR /link/sub\nRUN touch here\n")
    assert any_workshop.run("ls /etc/sub") == "here\n"
    done = any_workshop.build("FROM bb\nWORKDIR /bin/busybox/x\n", check=False)
    assert done.returncode == 1
    assert "not a directory in the image: /bin/busybox/x" in done.stderr


def test_force_none_runs_without_emulation(any_workshop: Workshop) -> None:
    dockerfile = "FROM bb\nRUN chown 12:34 /bin/busybox && echo worked || echo refused\n"
    assert any_workshop.build(dockerfile).stdout == "worked\n"
    done = any_workshop.build(dockerfile, "--force=none")
    assert done.stdout == "refused\n"
    assert announced(done)[1][2].startswith("RUN.N ")
    assert "modified" not in done.stderr


def test_force_cmd_changes_the_command(any_workshop: Workshop) -> None:
    done = any_workshop.build(
        "FROM bb\nRUN echo a; echo 'echo b'\nRUN true\n", "--force-cmd=echo,-n,x y"
    )
    assert done.stdout == "x y ax y echo b"
    command = ["/bin/sh", "-c", "echo -n 'x y' a; echo -n 'x y' 'echo b'"]
    assert f"--force: RUN: new command: {command!r}" in done.stderr
    assert "--force=seccomp: modified 1 RUN instructions" in done.stderr


def test_timers_at_verbose(any_workshop: Workshop) -> None:
    done = any_workshop.build("FROM bb\nRUN true\n", "-v")
    timers = [line for line in done.stderr.splitlines() if " took " in line]
    assert [line.split()[0] for line in timers] == ["FROM", "RUN"]
    assert all(line.endswith(" ms") for line in timers)


def test_dry_run_does_nothing(any_workshop: Workshop) -> None:
    dockerfile = "FROM bb\nRUN echo one\nENV A=1\nRUN echo two\n"
    done = any_workshop.build(dockerfile, "-n")
    assert [status for _, status, _ in announced(done)] == list("*...")
    assert (done.stdout, done.stderr.splitlines()[-1]) == ("", "dry run: nothing was built")
    assert any_workshop.ch_image("list").stdout == "bb\n"
    any_workshop.build(dockerfile)
    done = any_workshop.build(dockerfile.replace("two", "three"), "--dry-run")
    assert [status for _, status, _ in announced(done)] == list("***.")


def test_parse_only_needs_no_storage(any_workshop: Workshop) -> None:
    done = any_workshop.build("FROM nothing\nRUN x\n", "--parse-only", "-s", "/proc/nowhere")
    assert (done.stdout, done.stderr) == ("", "")


def test_name_is_inferred(any_workshop: Workshop) -> None:
    any_workshop.write({"Dockerfile.Other": "FROM bb\n", "Dockerfile": "FROM bb\n"})
    done = any_workshop.ch_image("build", any_workshop.context)
    assert "inferred image name: context" in done.stderr
    path = any_workshop.context / "Dockerfile.Other"
    any_workshop.ch_image("build", "-f", path, any_workshop.context)
    assert any_workshop.ch_image("list").stdout == "bb\ncontext\nother\n"


def test_an_image_can_be_built_on_what_had_its_name(workshop: Workshop) -> None:
    for number in range(3):
        workshop.build(f"FROM bb\nRUN echo {number} >>/log\n", tag="bb")
    assert workshop.run("cat /log", "bb") == "0\n1\n2\n"


def test_names_are_canonical(any_workshop: Workshop) -> None:
    any_workshop.build("FROM docker.io/library/bb:latest\n", tag="other:latest")
    any_workshop.build("FROM other\n", tag="docker.io/library/other")
    assert any_workshop.ch_image("list").stdout == "bb\nother:latest\n"


def test_files_that_run_hides_from_its_owner(workshop: Workshop) -> None:
    workshop.build("FROM bb\nRUN mkdir /x && echo s >/x/s && chmod 0 /x/s /x\nRUN cat /x/s >/y\n")
    assert workshop.run("cat /y") == "s\n"
    assert workshop.run("stat -c %a /x") == "0\n"


def test_modes_of_copied_files(workshop: Workshop) -> None:
    workshop.write({"a": "a", "d/b": "b"})
    (workshop.context / "a").chmod(0o640)
    (workshop.context / "d/b").chmod(stat.S_ISUID | 0o755)
    workshop.build("FROM bb\nCOPY a d /x/\n")
    assert workshop.run("stat -c '%a %u:%g' /x /x/a /x/b") == "755 0:0\n640 0:0\n4755 0:0\n"


def test_a_working_directory_that_is_gone_is_made(workshop: Workshop) -> None:
    """As in Docker; only the configuration of the base has the directory."""
    workshop.build("FROM bb\nWORKDIR /made/for/it\nRUN rmdir /made/for/it\n", tag="base")
    done = workshop.build("FROM base\nRUN pwd\n")
    assert done.stdout == "/made/for/it\n"
    assert workshop.run("ls -d /made/for/it") == "/made/for/it\n"
