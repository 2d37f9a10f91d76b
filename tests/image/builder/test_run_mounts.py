"""RUN with heredocs, --mount, --network and --security, on each driver."""

from __future__ import annotations

import base64
import os
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from tests.conftest import command
from tests.image.builder.conftest import announced

if TYPE_CHECKING:
    from pathlib import Path

    from tests.image.builder.conftest import Workshop

MODES = ["seccomp", "notify", "none"]


def layers_of(workshop: Workshop, image: str = "img") -> list[str]:
    entries = workshop.config(image)["history"]
    return [entry["created_by"] for entry in entries if not entry.get("empty_layer")]


# Heredocs


@pytest.mark.parametrize(
    ("run", "printed"),
    [
        ("RUN <<EOF\necho a\necho $0 b\nEOF", "a\n/bin/sh b\n"),
        ("RUN <<'EOF'\necho \"$HOME\"\nEOF", "/root\n"),
        ("RUN <<-EOF\n\techo a\n\t\techo b\n\tEOF", "a\nb\n"),
        ("RUN cat <<EOF\n$HOME\nEOF", "/root\n"),
        ("RUN cat <<'EOF'\n$HOME\nEOF", "$HOME\n"),
        ("RUN cat <<A && cat <<B\n1\nA\n2\nB", "1\n2\n"),
        ("RUN cat <<-A\n\tx\n\tA", "x\n"),
        ("RUN <<EOF cat\ntext\nEOF", "text\n"),
        ("RUN cat 3<<EOF <&3\nfd\nEOF", "fd\n"),
        ("RUN <<EOF\n#!/bin/cat\nbody\nEOF", "#!/bin/cat\nbody\n"),
        ("RUN <<-S\n\t#!/bin/sh\n\techo ${0##*/}\n\tS", "S\n"),
        ('SHELL ["/bin/sh", "-ec"]\nRUN <<EOF\nfalse || echo caught\nEOF', "caught\n"),
    ],
)
def test_heredocs(any_workshop: Workshop, run: str, printed: str) -> None:
    assert any_workshop.build(f"FROM bb\n{run}\n").stdout == printed


def test_a_heredoc_is_announced_by_its_beginning(any_workshop: Workshop) -> None:
    done = any_workshop.build("FROM bb\nRUN <<EOF\n\n  echo 1\necho 2\nEOF\n")
    assert announced(done)[1] == (2, ".", "RUN.S <<EOF (echo 1...)")


def test_a_script_leaves_no_trace(workshop: Workshop) -> None:
    workshop.build("FROM bb\nRUN <<EOF\n#!/bin/sh\ntrue\nEOF\n")
    assert layers_of(workshop) == ["bb"] or len(layers_of(workshop)) == 1


def test_a_heredoc_that_changes_runs_again(any_workshop: Workshop) -> None:
    dockerfile = "FROM bb\nRUN <<EOF\n#!/bin/sh\necho {} >/x\nEOF\n"
    any_workshop.build(dockerfile.format(1))
    assert any_workshop.statuses(dockerfile.format(1)) == "**"
    assert any_workshop.statuses(dockerfile.format(2)) == "*."


LONG = "".join(f": {number:0100}\n" for number in range(1300))  # 132 kB


LONG_RUNS = f"""\
RUN <<EOF
{LONG}echo 1
EOF
RUN <<-EOF
{LONG}\techo 2
\tEOF
RUN cat <<EOF | tail -n 1
{LONG}3
EOF
RUN <<EOF
#!/bin/sh
{LONG}echo 4
EOF
RUN {LONG.replace(chr(10), ";")} echo 5
RUN {LONG.replace(chr(10), ";" + chr(92) + chr(10))} echo 6
SHELL ["/bin/sh", "-euc"]
RUN <<EOF
{LONG}(echo $NONE) || echo 7
EOF
"""


@pytest.mark.parametrize("force", ["seccomp", "notify"])
def test_commands_longer_than_an_argument(any_workshop: Workshop, force: str) -> None:
    done = any_workshop.build(f"FROM bb\n{LONG_RUNS}", f"--force={force}")
    assert done.stdout == "1\n2\n3\n4\n5\n6\n7\n"
    assert len(layers_of(any_workshop)) == 1  # and the scripts left no trace
    assert set(any_workshop.statuses(f"FROM bb\n{LONG_RUNS}", f"--force={force}")) == {"*"}


def test_a_long_command_that_changes_runs_again(any_workshop: Workshop) -> None:
    dockerfile = f"FROM bb\nRUN <<EOF\n{LONG}echo {{}} >/x\nEOF\n"
    any_workshop.build(dockerfile.format(1))
    assert any_workshop.statuses(dockerfile.format(1)) == "**"
    assert any_workshop.statuses(dockerfile.format(2)) == "*."


def test_a_long_command_of_another_shell(any_workshop: Workshop) -> None:
    """Nobody knows how to make that shell read a file."""
    done = any_workshop.build(f'FROM bb\nSHELL ["/bin/echo"]\nRUN <<EOF\n{LONG}EOF', check=False)
    assert done.returncode == 1
    fault = f"an argument of the command has {len(LONG)} bytes; the kernel passes at most 131071"
    assert f":3: {fault}\n" in done.stderr


# Binds


def test_bind_of_the_context(workshop: Workshop) -> None:
    workshop.write({"d/f": "one", "link": ""})
    (workshop.context / "link").unlink()
    (workshop.context / "link").symlink_to("d/f")
    dockerfile = """\
FROM bb
WORKDIR /w
ARG D=d
RUN --mount=target=. cat d/f && ! touch new 2>/dev/null
RUN --mount=type=bind,source=$D/f,target=/a/b/file cat /a/b/file
RUN --mount=type=bind,source=link,target=/l cat /l
"""
    done = workshop.build(dockerfile)
    assert done.stdout == "oneoneone"
    assert workshop.run("ls -d /a /l /w/* 2>/dev/null; true") == ""
    assert workshop.statuses(dockerfile) == "******"
    workshop.write({"other": "of no account to two of them"})
    assert workshop.statuses(dockerfile) == "***.**"
    workshop.write({"d/f": "two"})
    assert workshop.build(dockerfile).stdout == "twotwotwo"


def test_bind_of_a_context_without_what_is_ignored(workshop: Workshop) -> None:
    workshop.write(
        {".dockerignore": "no\nd/*\n!d/yes\n", "no": "", "a": "a", "d/yes": "y", "d/no": ""}
    )
    dockerfile = """\
FROM bb
RUN --mount=target=/c ls -A /c /c/d
RUN --mount=source=d,target=/d,rw ls /d && touch /d/x
RUN --mount=source=a,target=/f cat /f
"""
    done = workshop.build(dockerfile)
    assert done.stdout.split() == ["/c:", ".dockerignore", "a", "d", "/c/d:", "yes", "yes", "a"]
    workshop.write({"no": "changed"})
    assert workshop.statuses(dockerfile) == "****"
    done = workshop.build("FROM bb\nRUN --mount=source=no,target=/x true\n", check=False)
    assert "Dockerfile:2: " in done.stderr


def test_writes_to_a_bind_are_discarded(workshop: Workshop) -> None:
    workshop.write({"f": "old", "d/x": "x"})
    workshop.build("FROM bb\nRUN echo stage >/s\n", tag="other")
    done = workshop.build(
        """\
FROM bb
RUN --mount=target=/c,rw --mount=type=bind,from=other,target=/o,rw \\
    echo new >/c/f && rm -r /c/d && echo changed >/o/s && cat /c/f /o/s && ls /o/dev /c
RUN --mount=target=/c --mount=type=bind,from=other,target=/o cat /c/f /c/d/x /o/s
"""
    )
    assert done.stdout.splitlines()[:2] == ["new", "changed"]
    assert done.stdout.endswith("oldxstage\n")
    assert (workshop.context / "f").read_text() == "old"


def test_writes_to_others_files(workshop: Workshop, foreign_tree: Path) -> None:
    """RUN, as root, may change all of the context in the build, including other users' files."""
    done = workshop.ch_image(
        "build",
        "-t",
        "img",
        "-f",
        dockerfile(
            workshop,
            """\
FROM bb
RUN --mount=source=spool,target=/c,rw cd /c && echo new >letter && echo x >more && cat letter && ls
RUN --mount=source=spool/letter,target=/l,rw echo new >/l && cat /l
RUN --mount=source=home,target=/h,rw echo new >>/h/mine && cat /h/mine
""",
        ),
        foreign_tree,
    )
    assert done.stdout == "new\nletter\nmore\nnew\nhome/mine\nnew\n"
    assert (foreign_tree / "spool/letter").read_text() == "spool/letter\n"


def test_mounts_of_what_cannot_be_read(any_workshop: Workshop, foreign_tree: Path) -> None:
    path = dockerfile(any_workshop, "FROM bb\nRUN --mount=source=open,target=/c,rw ls /c\n")
    unreadable = foreign_tree.parent / "unreadable"
    done = any_workshop.ch_image("build", "-t", "img", "-f", path, unreadable, check=False)
    assert done.returncode == 1
    assert "Dockerfile:2: can't copy: permission denied: other-secret\n" in done.stderr
    assert "hint: make it readable, or exclude it from the context" in done.stderr


@pytest.mark.parametrize("mode", MODES)
def test_read_only_binds_of_a_build(workshop: Workshop, tmp_path: Path, mode: str) -> None:
    shown = tmp_path / "shown"
    shown.mkdir()
    run = (
        "FROM bb\nRUN ! touch /mnt/x 2>/dev/null && mount -o remount,rw,bind /mnt; ! touch /mnt/x\n"
    )
    workshop.build(run, f"--bind={shown}:/mnt:ro", f"--force={mode}", "--rebuild")
    assert list(shown.iterdir()) == []
    workshop.build("FROM bb\nRUN touch /mnt/x\n", f"--bind={shown}:/mnt", f"--force={mode}")
    assert [path.name for path in shown.iterdir()] == ["x"]


def dockerfile(workshop: Workshop, text: str) -> Path:
    path = workshop.context / "Dockerfile"
    path.write_text(text)
    return path


def test_bind_of_stages_and_images(workshop: Workshop) -> None:
    workshop.build("FROM bb\nRUN mkdir /i && echo image >/i/f && ln -s /i /abs\n", tag="other")
    dockerfile = """\
FROM bb AS unneeded
RUN exit 1
FROM bb AS tools
RUN mkdir /t && echo stage >/t/f
FROM bb
RUN --mount=type=bind,from=tools,source=/t,target=/mnt/t \\
    --mount=from=other,source=abs/f,target=/f cat /mnt/t/f /f
RUN --mount=from=1,target=/whole ls /whole/t; ls -d /whole/dev/* 2>/dev/null; true
"""
    assert workshop.build(dockerfile).stdout == "stage\nimage\nf\n"
    assert workshop.statuses(dockerfile) == "*****"
    assert workshop.run("ls -d /mnt/t /f /whole 2>/dev/null; true") == ""


@pytest.mark.parametrize(
    ("mount", "message"),
    [
        ("source=missing,target=/x", "missing"),
        ("from=bb,source=missing,target=/x", "source not found: missing"),
        ("target=/", "--mount: the target is the root"),
        ("source=f,target=/bin", "one is a directory, the other is not"),
        ("target=/x --mount=type=tmpfs,target=/x/", "--mount: two at /x"),
        ("type=bind,from=later,target=/x", "--from: stage later is not complete"),
        ("type=secret,id=no,required", "secret not given: no"),
        ("type=ssh,required", "SSH agent not given: default"),
        ("from=nowhere,target=/x", "not in storage: nowhere"),
    ],
)
def test_what_cannot_be_mounted(any_workshop: Workshop, mount: str, message: str) -> None:
    any_workshop.write({"f": "f"})
    done = any_workshop.build(
        f"FROM bb AS a\nRUN --mount={mount} true\nFROM bb AS later\nCOPY --from=a / /\n",
        check=False,
    )
    assert done.returncode == 1
    assert message in done.stderr
    assert f"2 | RUN --mount={mount} true\n" in done.stderr


@pytest.mark.parametrize("mode", MODES)
def test_mount_points_leave_no_trace(workshop: Workshop, mode: str) -> None:
    """A missing mount point exists only for the mount; the directories above it do not change."""
    workshop.build(
        """\
FROM bb
RUN --mount=type=tmpfs,target=/usr/new/a --mount=type=cache,target=/etc/c --mount=target=/bind \\
    --mount=type=secret,id=x true
RUN --mount=type=tmpfs,target=/usr/new/a touch /usr/kept
""",
        f"--force={mode}",
    )
    assert workshop.run("ls -d /usr/new /etc/c /bind /run/secrets 2>/dev/null; true") == ""
    history = workshop.config()["history"]
    assert [entry.get("empty_layer", False) for entry in history][-2:] == [True, False]


# Caches


@pytest.mark.parametrize("mode", MODES)
def test_a_cache_lives_on(workshop: Workshop, mode: str) -> None:
    script = "echo {} >>/var/cache/log; cat /var/cache/log; stat -c %a /var/cache"
    mount = "--mount=type=cache,target=/var/cache"
    option = f"--force={mode}"
    first = workshop.build(f"FROM bb\nRUN {mount} {script.format(1)}\n", option)
    assert first.stdout == "1\n755\n"
    second = workshop.build(f"FROM bb\nRUN {mount} {script.format(2)}\n", option, tag="second")
    assert second.stdout == "1\n2\n755\n"
    third = workshop.build(f"FROM bb\nRUN {mount},id=other,mode=700 {script.format(3)}\n", option)
    assert third.stdout == "3\n700\n"
    assert workshop.run("cat /var/cache/log 2>/dev/null; true") == ""
    # The contents of the cache do not decide either whether a step runs again.
    assert workshop.statuses(f"FROM bb\nRUN {mount} {script.format(1)}\n", option) == "**"


def test_owners_of_mounts_under_notify(workshop: Workshop) -> None:
    workshop.build(
        "FROM bb\nRUN mkdir -p /o/d && touch /o/d/f && chown 7:8 /o/d/f\n",
        "--force=notify",
        tag="other",
    )
    cache = "--mount=type=cache,target=/c,uid=1000,gid=100,mode=750"
    dockerfile = f"""\
FROM bb
RUN {cache} stat -c '%u:%g %a' /c; touch /c/f /c/g; chown 5:6 /c/f; ln /c/f /c/h
RUN {cache} stat -c '%n %u:%g' /c/*; chown 9:9 /c/g; rm /c/f
RUN {cache} stat -c '%n %u:%g' /c/* ; true
RUN --mount=type=secret,id=s,uid=33,gid=44,mode=640 stat -c '%u:%g %a' /run/secrets/s
RUN --mount=from=other,source=/o,target=/x stat -c '%u:%g' /x/d/f
RUN --mount=from=other,source=/o/d/f,target=/y,rw stat -c '%u:%g' /y
RUN --mount=from=other,target=/z cp -a /z/o/d/f /copy; stat -c '%u:%g' /copy
"""
    done = workshop.build(dockerfile, "--force=notify", "--secret=id=s,env=HOME")
    assert done.stdout.splitlines() == [
        "1000:100 750",
        "/c/f 5:6",
        "/c/g 0:0",
        "/c/h 5:6",
        "/c/g 9:9",
        "/c/h 5:6",
        "33:44 640",
        "7:8",
        "7:8",
        "7:8",
    ]


def test_a_user_does_not_own_mounts_of_a_run(workshop: Workshop) -> None:
    """Files of the caller belong to a container's user on volumes of a start alone."""
    workshop.write({"f": "text\n"})
    look = "stat -c %u:%g /x/f /c /vol /vol/f"
    refused = "(echo >>/vol/f) 2>/dev/null || echo no"
    dockerfile = f"""\
FROM bb
USER 1815:100
RUN --mount=target=/x --mount=type=cache,target=/c,mode=777 {look}; {refused}; touch /c/g
RUN --mount=type=cache,target=/c,mode=777 stat -c %u:%g /c/g
"""
    volume = f"--bind={workshop.context}:/vol"
    done = workshop.build(dockerfile, "--force=notify", volume)
    assert done.stdout.split() == [*["0:0"] * 4, "no", "1815:100"]


def test_a_cache_that_starts_from_a_stage(workshop: Workshop) -> None:
    dockerfile = """\
FROM bb AS seed
RUN mkdir -p /s/sub && echo seed >/s/sub/f
FROM bb
RUN --mount=type=cache,from=seed,source=/s/sub,target=/c echo {0} >>/c/f; cat /c/f
RUN --mount=type=cache,from=seed,source=/s/sub,target=/c,ro cat /c/f; ! touch /c/x 2>/dev/null
RUN --mount=type=cache,target=/c ls /c
"""
    done = workshop.build(dockerfile.format("a"))
    assert done.stdout == "seed\na\nseed\na\n"
    assert workshop.build(dockerfile.format("b")).stdout.startswith("seed\na\nb\n")


def test_caches_can_be_removed(any_workshop: Workshop, storage: Path) -> None:
    dockerfile = "FROM bb\nRUN --mount=type=cache,target=/c ls /c; touch /c/{}\n"
    any_workshop.build(dockerfile.format(1))
    assert os.listdir(storage / "cache-mounts")
    any_workshop.ch_image("build-cache", "--gc")
    assert os.listdir(storage / "cache-mounts") == []
    assert any_workshop.build(dockerfile.format(2)).stdout == ""
    any_workshop.ch_image("reset")
    assert not (storage / "cache-mounts").exists() or os.listdir(storage / "cache-mounts") == []


# A build announces itself in the cache, waits for another one to do so, and prints what it saw.
MEETING = """\
FROM bb
RUN --mount=type=cache,id=m,target=/meeting \\
    --mount=type=cache,id=c,target=/c,sharing={sharing} \\
    touch /c/{name} /meeting/{name}; \\
    i=0; until test $i = {tenths} -o -e /meeting/{other}; do sleep 0.1; i=$((i+1)); done; \\
    ls /c | tr '\\n' ' '; {cleanup}
"""


@pytest.mark.parametrize(
    ("sharing", "tenths", "seen"),
    [
        ("shared", 300, [("a b ", "a b ")]),
        ("private", 300, [("a ", "b ")]),
        ("locked", 15, [("a ", "b ")]),
    ],
)
def test_sharing(
    any_workshop: Workshop, storage: Path, sharing: str, tenths: int, seen: list[tuple[str, str]]
) -> None:
    """Two builds at the same time: locked, the second begins when the first has ended."""
    outputs = {}

    def build(name: str, other: str) -> None:
        path = any_workshop.context.parent / f"Dockerfile.{name}"
        path.write_text(
            MEETING.format(
                sharing=sharing,
                name=name,
                other=other,
                tenths=tenths,
                cleanup="rm /c/*" if sharing == "locked" else "true",
            )
        )
        done = any_workshop.ch_image(
            "build", "-t", name, "-f", path, any_workshop.context, check=False
        )
        outputs[name] = done

    threads = [threading.Thread(target=build, args=names) for names in (("a", "b"), ("b", "a"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (outputs["a"].stdout, outputs["b"].stdout) in seen
    if sharing == "locked":
        waited = [
            done.stderr for done in outputs.values() if "waiting for another build" in done.stderr
        ]
        assert len(waited) == 1
    instances = 2 if sharing == "private" else 1
    assert len(os.listdir(storage / "cache-mounts")) == instances + 1


# Secrets and agents


@pytest.mark.parametrize("mode", MODES)
def test_secrets(workshop: Workshop, tmp_path: Path, mode: str) -> None:
    (tmp_path / "token").write_bytes(b"s3cret\0\xff")
    options = (f"--secret=id=tok,src={tmp_path}/token", "--secret", "id=PASS,env=PASSWORD")
    dockerfile = """\
FROM bb
RUN --mount=type=secret,id=tok od -An -c /run/secrets/tok; stat -c %a /run/secrets/tok
RUN --mount=type=secret,id=tok,target=/root/.x/t,mode=0440 stat -c '%a %s' /root/.x/t
RUN --mount=type=secret,id=PASS,env=P echo $P; ls /run/secrets 2>/dev/null; true
RUN --mount=type=secret,id=PASS,env=P,target=/p cat /p; echo " $P"
RUN --mount=type=secret,id=absent test ! -e /run/secrets/absent
"""
    env = {"PASSWORD": "from-env"}
    done = workshop.build(dockerfile, *options, f"--force={mode}", env=env)
    assert done.stdout.split("\n") == [
        "   s   3   c   r   e   t  \\0 377",
        "400",
        "440 8",
        "from-env",
        "from-env from-env",
        "",
    ]
    storage = workshop.ch_image("gestalt", "storage-path").stdout.strip()
    for needle in ("s3cret", "from-env"):
        assert subprocess.run(["grep", "-r", needle, storage], check=False).returncode == 1
    # Another secret does not make the step run again.
    done = workshop.build(dockerfile, "--secret=id=tok,env=HOME", f"--force={mode}", env=env)
    assert [status for _, status, _ in announced(done)] == ["*"] * 6


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--secret=src=x", "--secret: src=x: no id"),
        ("--secret=id=x,src=/nothing", "--secret: can't read /nothing: No such file or directory"),
        ("--secret=id=x,env=NO_SUCH", "--secret: not in environment: NO_SUCH"),
        ("--secret=id=x,type=odd", "--secret: no such type: odd"),
        ("--secret=name", "--secret: name: not a field: name"),
        ("--ssh=x=/nothing", "--ssh: no such file: /nothing"),
        ("--ssh=default", "--ssh: no agent: $SSH_AUTH_SOCK is not set"),
    ],
)
def test_wrong_secrets(any_workshop: Workshop, option: str, message: str) -> None:
    done = any_workshop.build("FROM bb\n", option, check=False, env={"SSH_AUTH_SOCK": ""})
    assert done.returncode == 2
    assert f"error: {message}" in done.stderr


def test_ssh_agents(any_workshop: Workshop, debian_tar: Path, tmp_path: Path) -> None:
    """The agent of the environment, and a new one for a key; each answers with that key."""
    key = tmp_path / "key"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "me", "-f", key], check=True
    )
    public = base64.b64decode(key.with_suffix(".pub").read_text().split()[1]).hex()
    any_workshop.ch_image("import", debian_tar, "debian")
    # An agent lists its keys in answer to the byte 11 (SSH_AGENTC_REQUEST_IDENTITIES).
    (any_workshop.context / "ask.pl").write_text(
        "use IO::Socket::UNIX; my $s = IO::Socket::UNIX->new($ENV{SSH_AUTH_SOCK})"
        ' or die "$ENV{SSH_AUTH_SOCK}: $!"; print $s "\\0\\0\\0\\1\\x0b"; $s->flush;'
        ' sysread $s, my $h, 4; sysread $s, my $b, unpack "N", $h; print unpack("H*", $b), "\\n";'
    )
    dockerfile = """\
FROM debian
RUN --mount=type=ssh --mount=target=/c echo $SSH_AUTH_SOCK; perl /c/ask.pl
RUN --mount=type=ssh,target=/tmp/agent --mount=target=/c echo $SSH_AUTH_SOCK; perl /c/ask.pl
RUN --mount=type=ssh,id=other echo [$SSH_AUTH_SOCK]
"""
    done = any_workshop.build(dockerfile, f"--ssh=default={key}", env={"SSH_AUTH_SOCK": ""})
    lines = done.stdout.splitlines()
    assert lines[0] == "/run/buildkit/ssh_agent.0"
    assert lines[2:] == ["/tmp/agent", lines[1], "[]"]
    assert public in lines[1]


# Network, security, devices


@pytest.mark.parametrize("mode", MODES)
def test_network_none(any_workshop: Workshop, mode: str) -> None:
    script = (
        "ip -o link | wc -l; ping -c1 -W1 127.0.0.1 >/dev/null && echo lo; "
        "tail -n +2 /proc/net/route | wc -l"
    )
    done = any_workshop.build(f"FROM bb\nRUN --network=none {script}\n", f"--force={mode}")
    assert done.stdout == "1\nlo\n0\n"
    assert any_workshop.statuses(f"FROM bb\nRUN {script}\n", f"--force={mode}") == "*."


def test_network_default_and_host_are_the_hosts(any_workshop: Workshop) -> None:
    link = "readlink /proc/self/ns/net"
    dockerfile = f"FROM bb\nRUN --network=host {link}\nRUN --network=default {link} ; true\n"
    own = os.readlink("/proc/self/ns/net")
    assert any_workshop.build(dockerfile).stdout == f"{own}\n{own}\n"


def test_security_is_accepted(any_workshop: Workshop) -> None:
    done = any_workshop.build(
        "FROM bb\nRUN --security=insecure id -u\nRUN --security=sandbox true\n"
    )
    assert done.stdout == "0\n"
    assert done.stderr.count("RUN --security=insecure has no effect") == 1


def test_mounts_on_mounts(workshop: Workshop) -> None:
    workshop.write({"package.json": "{}"})
    done = workshop.build(
        """\
FROM bb
WORKDIR /app
RUN --mount=type=bind,source=package.json,target=package.json \\
    --mount=type=cache,target=/app/node_modules --mount=type=tmpfs,target=/app,size=64k \\
    cat package.json; echo; ls; df -k /app | tail -1 | awk '{print $2}'
RUN --mount=type=cache,target=/app ls
"""
    )
    assert done.stdout == "{}\nnode_modules\npackage.json\n64\n"


def test_killed_while_it_waits_for_a_cache(any_workshop: Workshop, storage: Path) -> None:
    """A lock ends with its holder."""
    path = any_workshop.context.parent / "Dockerfile"
    path.write_text(
        "FROM bb\nRUN --mount=type=cache,target=/c,sharing=locked echo ready; sleep 98766\n"
    )
    argv = [*command("ch-image"), "build", "-t", "x", "-f", str(path), str(any_workshop.context)]
    environment = os.environ | {"CH_IMAGE_STORAGE": str(storage)}
    holder = subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"ready\n"
    holder.kill()
    holder.communicate()
    done = any_workshop.build(
        "FROM bb\nRUN --mount=type=cache,target=/c,sharing=locked echo mine\n"
    )
    assert done.stdout == "mine\n"
