"""Surroundings of a RUN beside the image's files: variables, ``/ch``, and the kernel's refusals."""

from __future__ import annotations

import json
import socket
import tarfile
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.image.builder.conftest import Workshop

MODES = ("none", "seccomp", "notify")
LONG = "x" * 131_072


@pytest.mark.parametrize("force", MODES)
def test_variables_of_the_host(any_workshop: Workshop, force: str) -> None:
    """As in Charliecloud: the user's name and agent, and that this is a container."""
    dockerfile = 'FROM bb\nRUN echo "$CH_RUNNING, $USER, $SSH_AUTH_SOCK, [$OTHER]"\n'
    host = {"USER": "alice", "SSH_AUTH_SOCK": "/tmp/agent.1", "OTHER": "node7"}
    done = any_workshop.build(dockerfile, f"--force={force}", env=host)
    assert done.stdout == "Weird Al Yankovic, alice, /tmp/agent.1, []\n"
    # They are neither in the image nor in the cache key.
    assert all(value not in json.dumps(any_workshop.config()) for value in host.values())
    again = any_workshop.build(dockerfile, f"--force={force}", env=dict.fromkeys(host, "other"))
    assert again.stdout == ""


def test_variables_that_the_host_lacks(
    any_workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("USER", "SSH_AUTH_SOCK"):
        monkeypatch.delenv(name, raising=False)
    done = any_workshop.build("FROM bb\nRUN echo ${USER-unset} ${SSH_AUTH_SOCK-unset}\n")
    assert done.stdout == "unset unset\n"


def test_the_dockerfile_overrides_them(any_workshop: Workshop) -> None:
    dockerfile = "FROM bb\nARG USER=bob\nENV SSH_AUTH_SOCK=/a CH_RUNNING=no\n"
    dockerfile += "RUN echo $USER $SSH_AUTH_SOCK $CH_RUNNING\n"
    done = any_workshop.build(dockerfile, env={"USER": "alice", "SSH_AUTH_SOCK": "/b"})
    assert done.stdout == "bob /a no\n"


def test_the_users_agent_needs_a_bind(any_workshop: Workshop, tmp_path: Path) -> None:
    """Only its path is there without being asked for."""
    path = tmp_path / "agent"
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(str(path))
        dockerfile = 'FROM bb\nRUN test -S "$SSH_AUTH_SOCK" && echo there || echo absent\n'
        host = {"SSH_AUTH_SOCK": str(path)}
        assert any_workshop.build(dockerfile, env=host).stdout == "absent\n"
        options = ("--no-cache", "-b", str(path))
        assert any_workshop.build(dockerfile, *options, env=host).stdout == "there\n"


@pytest.mark.parametrize("force", MODES)
def test_metadata(workshop: Workshop, force: str) -> None:
    """/ch tells about the image so far, can't be changed, and leaves no trace."""
    done = workshop.build(
        'FROM bb\nENV A="b c"\nLABEL l=m\nWORKDIR /w\nSHELL ["/bin/sh", "-ec"]\n'
        "RUN cat /ch/environment; cat /ch/metadata.json\n"
        "RUN ! echo x 2>/dev/null >/ch/environment\n",
        f"--force={force}",
    )
    variables, text = done.stdout.split("{", 1)
    assert "A=b c\n" in variables
    metadata = json.loads("{" + text)
    assert metadata["labels"] == {"l": "m"}
    assert metadata["cwd"] == "/w"
    assert metadata["shell"] == ["/bin/sh", "-ec"]
    assert metadata["env"]["A"] == "b c"
    *_, first, second = workshop.config()["history"]
    assert (first["empty_layer"], second["empty_layer"]) == (True, True)


@pytest.mark.parametrize(
    "line", ["COPY <<E /ch/environment\nown\nE", "COPY <<E /ch\nE", "ADD link.tar /"]
)
def test_an_image_with_a_ch_of_its_own(workshop: Workshop, line: str) -> None:
    """RUN sees the image so far in place of a file, and does without where there is no place."""
    with tarfile.open(workshop.context / "link.tar", "w") as tar:
        link = tarfile.TarInfo("ch")
        link.type, link.linkname = tarfile.SYMTYPE, "nowhere"
        tar.addfile(link)
    dockerfile = f"FROM bb\n{line}\nRUN echo ran; ! grep own /ch/environment\n"
    assert workshop.build(dockerfile).stdout == "ran\n"
    assert workshop.config()["history"][-1]["empty_layer"]


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        (f"ENV BIG={LONG}\nRUN true", "the variable BIG has 131076 bytes"),
        (f"ARG BIG={LONG}\nRUN true", "the variable BIG has 131076 bytes"),
        (f'RUN ["echo", "{LONG}"]', "an argument of the command has 131072 bytes"),
    ],
)
def test_strings_that_the_kernel_does_not_pass(
    any_workshop: Workshop, lines: str, fault: str
) -> None:
    done = any_workshop.build(f"FROM bb\n{lines}\n", check=False)
    assert done.returncode == 1
    assert f"{fault}; the kernel passes at most 131071\n" in done.stderr
    assert "\nhint: put the text into a file: COPY <<EOF /FILE; or " in done.stderr


def test_the_longest_strings(any_workshop: Workshop) -> None:
    value = LONG[len("BIG=") + 1 :]
    done = any_workshop.build(
        f'FROM bb\nENV BIG={value}\nRUN ["/bin/sh", "-c", "echo ${{#BIG}}"]\n'
    )
    assert done.stdout == f"{len(value)}\n"


def test_too_much_in_all(any_workshop: Workshop) -> None:
    lines = "".join(f"ENV V{number}={LONG[1000:]}\n" for number in range(70))
    done = any_workshop.build(f"FROM bb\n{lines}RUN true\n", "-q", check=False)
    assert "can't execve(2): /bin/sh: Argument list too long" in done.stderr
    assert "hint: its arguments and variables are too long: " in done.stderr


def test_a_heredoc_with_a_long_first_line_is_cut_in_the_output(any_workshop: Workshop) -> None:
    done = any_workshop.build(f"FROM bb\nRUN <<E\n: {LONG}{LONG}\nE\n")
    assert max(map(len, done.stderr.splitlines())) < 300
