"""Sundog escapes the text of others for people, at a terminal and in a pipe; not for programs.

Each case brings hostile text into a message or a table in a way of its own.
"""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from sundog.front.cli.output import print_line
from tests.conftest import command
from tests.image.builder.web import serving
from tests.image.layer.archives import archive, file, hard_link
from tests.image.pull.conftest import faulty, no_logins, shelf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import Runner
    from tests.image.builder.web import Web
    from tests.image.pull.faulty import Answer, Asked, FaultyRegistry

__all__ = ["faulty", "no_logins", "shelf"]

# ESC, BEL, DEL and C1; characters that reorder, hide and break lines; half a character; no newline.
CONTROLS = "\x1b]0\x07\x1b[31m\x7f\x9b2J\x85\u202e\u2066\u200b\u2028\ufeff\xad"
TEXT = f"BEGIN{CONTROLS}END"
LINES = f"BEGIN{CONTROLS}\ud800\r\n\t\v\x00END"  # as JSON text, which may have any characters
NAME = f"BEGIN{CONTROLS}\r\n\t\udcff\udc9bEND"  # as a name of a file, which may have any bytes
NAMED = os.fsencode(NAME)
SEEN = "\\x9b2"  # the part that survives everywhere: git removes C0


@dataclass
class World:
    """The place where a case makes what it needs; bb is in storage."""

    place: Path
    registry: FaultyRegistry
    web: Web
    ch_image: Runner

    def build(self, *lines: str, options: str = "", **files: str) -> list[str]:
        context = self.place / "context"
        context.mkdir()
        (context / "Dockerfile").write_bytes("\n".join(["FROM bb", *lines, ""]).encode())
        for name, content in files.items():
            (context / name).write_text(content)
        return ["ch-image", "build", *options.split(), "-t", "built", str(context)]

    def tar(self, *entries: Any) -> str:
        (self.place / "tar").write_bytes(archive(*entries).getvalue())
        return str(self.place / "tar")

    def configuration(self, **changes: Any) -> dict[str, Any]:
        """Return a configuration with hostile text in every string."""
        layer = self.registry.shelf.layer(file("a", b"a"))
        return {
            "created": LINES,
            "author": LINES,
            "architecture": "amd64",
            "os": "linux",
            "config": {
                "Env": [f"A={TEXT}", "PATH=/bin"],
                "Labels": {LINES: LINES},
                "WorkingDir": f"/{TEXT}",
                "Entrypoint": [f"/bin/{TEXT}"],
                "OnBuild": [f"RUN : '{TEXT}'"],
            },
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
            "history": [
                {"created": LINES, "created_by": LINES, "comment": LINES, "author": LINES},
                {"created": "2020", "comment": LINES, "empty_layer": True},
            ],
        } | changes

    def image(self, *, media_type: str = "", **changes: Any) -> str:
        """Put an image with that configuration into the registry; return its name."""
        types = "application/vnd.oci.image"
        on = self.registry.shelf
        layer = on.layer(file("a", b"a")).descriptor
        if media_type:
            layer = {**layer, "mediaType": media_type}
        content = json.dumps(self.configuration(**changes)).encode()
        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{types}.manifest.v1+json",
            "config": on.blob(content, f"{types}.config.v1+json"),
            "layers": [layer],
        }
        on.tag("evil:latest", on.document(manifest, f"{types}.manifest.v1+json"))
        return f"{self.registry.host}/evil"

    def pulled(self, **changes: Any) -> str:
        self.ch_image("pull", self.image(**changes), "evil")
        return "evil"

    def answers(self, change: Callable[[Asked, Answer], Answer]) -> None:
        self.registry.faults.append(change)


CASES: dict[str, Callable[[World], list[str | bytes]]] = {}


def case(make: Callable[[World], Any]) -> Callable[[World], Any]:
    """Add a case: the function makes what it needs, and returns a command line."""
    CASES[make.__name__] = make
    return make


# Text in an image


@case
def history(world: World) -> Any:
    return ["ch-image", "history", world.pulled()]


@case
def list_long(world: World) -> Any:
    world.pulled()
    return ["ch-image", "list", "-l", "*"]


@case
def list_details(world: World) -> Any:
    return ["ch-image", "list", world.pulled()]


@case
def platform_of_an_image(world: World) -> Any:
    name = world.image(architecture=LINES, os=LINES, variant=LINES)
    return ["ch-image", "--arch=yolo", "pull", name, "x"]


@case
def wrong_platform(world: World) -> Any:
    return ["ch-image", "--arch=s390x", "pull", world.image(architecture=TEXT), "x"]


@case
def platforms_of_an_index(world: World) -> Any:
    descriptor = world.registry.shelf.image(world.registry.shelf.base())
    platform = {"architecture": TEXT, "os": TEXT, "variant": TEXT}
    world.registry.shelf.index({**descriptor, "platform": platform}, tag="evil:latest")
    return ["ch-image", "list", "--remote", f"{world.registry.host}/evil"]


@case
def media_type_of_a_layer(world: World) -> Any:
    return ["ch-image", "pull", world.image(media_type=TEXT), "x"]


@case
def onbuild(world: World) -> Any:
    world.pulled()
    (world.place / "Dockerfile").write_text("FROM evil\n")
    return ["ch-image", "build", "-t", "x", str(world.place)]


@case
def environment_of_an_image(world: World) -> Any:
    return ["ch-run", "-v", "--set-env", world.pulled(config={"Env": [f"A={TEXT}"]}), "--", "/a"]


@case
def working_directory_of_an_image(world: World) -> Any:
    return ["ch-run", world.pulled()]


@case
def entrypoint_of_an_image(world: World) -> Any:
    return ["ch-run", world.pulled(config={"Entrypoint": [f"/bin/{TEXT}"]})]


@case
def user_of_an_image(world: World) -> Any:
    return ["ch-run", "--notify", world.pulled(config={"User": TEXT, "Cmd": ["/a"]})]


# Text in a registry's answer


@case
def error_in_words(world: World) -> Any:
    def refuse(asked: Asked, answer: Answer) -> Answer:
        answer.status = 403
        answer.body = json.dumps({"errors": [{"code": TEXT, "message": LINES}]}).encode()
        return answer

    world.answers(refuse)
    return ["ch-image", "-vvv", "pull", f"{world.registry.host}/a"]


def header(world: World, status: int, **headers: str) -> list[str]:
    def add(asked: Asked, answer: Answer) -> Answer:
        answer.status = status or answer.status
        for name, value in headers.items():
            # As the bytes of UTF-8; a header ends at the end of its line.
            answer.headers[name.replace("_", "-")] = value.encode().decode("latin-1")
        return answer

    world.answers(add)
    return ["ch-image", "-vvv", "--always-download", "pull", world.image(), "x"]


@case
def rate_limit(world: World) -> Any:
    limit = {"RateLimit_Remaining": "9", "RateLimit_Limit": "9", "Docker_RateLimit_Source": TEXT}
    return header(world, 0, **limit)


@case
def scheme_of_a_location(world: World) -> Any:
    return header(world, 307, Location=f"gopher://x/{TEXT}")


@case
def challenge(world: World) -> Any:
    return header(world, 401, WWW_Authenticate=f'Bearer realm="{TEXT}",service="{TEXT}"')


# Text in an archive or a directory


@case
def link_target(world: World) -> Any:
    return ["ch-image", "import", world.tar(hard_link("a", NAMED)), "x"]


@case
def way_out(world: World) -> Any:
    return ["ch-image", "import", world.tar(file(b"../" + NAMED)), "x"]


@case
def long_name(world: World) -> Any:
    return ["ch-image", "import", world.tar(file(NAMED * 30)), "x"]


@case
def no_archive(world: World) -> Any:
    (world.place / NAME).write_text("text")
    return ["ch-image", "import", str(world.place / NAME), "x"]


@case
def archive_that_is_not_there(world: World) -> Any:
    return ["ch-image", "import", str(world.place / NAME), "x"]


@case
def directory_in_the_way_of_a_file(world: World) -> Any:
    return ["ch-image", "import", world.tar(file(NAMED), file(NAMED + b"/x"), file("a")), "x"]


# Text in a Dockerfile and its context


@case
def announcements(world: World) -> Any:
    return world.build(f"ENV A='{TEXT}'", f"LABEL a='{TEXT}'", f"RUN : '{TEXT}'", f"USER {TEXT}")


@case
def announcements_with_details(world: World) -> Any:
    return world.build(f"ARG A='{TEXT}'", "RUN : $A", options="-vv")


@case
def unknown_instruction(world: World) -> Any:
    return world.build(f"{TEXT} a b")


@case
def unknown_flag(world: World) -> Any:
    return world.build(f"RUN --{TEXT} a b")


@case
def directives(world: World) -> Any:
    world.build()
    (world.place / "context/Dockerfile").write_text(f"# syntax={TEXT}\nFROM bb\n")
    return ["ch-image", "build", "-v", "-t", "x", str(world.place / "context")]


@case
def finding(world: World) -> Any:
    return world.build(f"env A='{TEXT}' ", "RUN a", options="--check")


@case
def name_of_a_check(world: World) -> Any:
    world.build()
    (world.place / "context/Dockerfile").write_text(f"# check=skip={TEXT}\nFROM bb\n")
    return ["ch-image", "build", "--check", "-t", "x", str(world.place / "context")]


@case
def stage_that_is_not_there(world: World) -> Any:
    return world.build(f"COPY --from={TEXT} a b")


@case
def copy_of_nothing(world: World) -> Any:
    return world.build(f'COPY ["{TEXT}", "/a"]')


@case
def file_that_cannot_be_read(world: World) -> Any:
    words = world.build("COPY d /")
    (world.place / "context/d").mkdir()
    (world.place / "context/d" / NAME).touch(mode=0)
    return words


@case
def last_lines_of_a_run(world: World) -> Any:
    octal = "".join(f"\\{byte:03o}" for byte in f"BEGIN{CONTROLS}END".encode())
    return world.build(f"RUN printf '{octal}\\n'; exit 3", options="-qqq")


@case
def shell(world: World) -> Any:
    return world.build(f"SHELL ['{TEXT}']", "RUN a")


@case
def secret(world: World) -> Any:
    return world.build(f"RUN --mount=type=secret,required,id={TEXT} true")


@case
def secret_option(world: World) -> Any:
    return [*world.build("RUN true"), "--secret", TEXT]


@case
def repository(world: World) -> Any:
    """The server refuses in words of its own."""
    lines = ("# service=git-upload-pack\n", "", f"ERR {TEXT}")
    packets = [f"{len(line.encode()) + 4:04x}{line}" if line else "0000" for line in lines]
    url = "/x.git/info/refs?service=git-upload-pack"
    world.web.files[url] = "".join(packets).encode()
    kind = "application/x-git-upload-pack-advertisement"
    world.web.headers[url] = {"Content-Type": kind}
    return world.build(f"ADD {world.web.url}/x.git /x")


@case
def mount_type(world: World) -> Any:
    return world.build(f"RUN --mount=type={TEXT} true")


@case
def workdir_over_a_file(world: World) -> Any:
    return world.build(f"RUN touch '/{TEXT}'", f"WORKDIR '/{TEXT}'", f"WORKDIR /{TEXT}/a")


@case
def remote_file(world: World) -> Any:
    return world.build(f"ADD {world.web.url}/{TEXT} /a")


@case
def layers_that_were_built(world: World) -> Any:
    world.ch_image(*world.build(f"RUN : '{TEXT}' >/a")[1:])
    return ["ch-image", "build-cache", "--tree"]


@case
def layers_with_details(world: World) -> Any:
    world.ch_image(*world.build(f"RUN : '{TEXT}' >/a")[1:])
    return ["ch-image", "build-cache", "--tree", "-v"]


# Text on the command line: scripts put names there that they found


for _name, _words in {
    "option": ["ch-image", "list", f"--{TEXT}"],
    "subcommand": ["ch-image", TEXT],
    "image_to_delete": ["ch-image", "delete", NAME],
    "image_to_inspect": ["ch-image", "inspect", NAME],
    "name_of_a_tag": ["ch-image", "tag", "bb", NAME],
    "image_to_show": ["ch-image", "history", NAME],
    "architecture": ["ch-image", f"--arch={TEXT}", "pull", "x"],
    "storage": ["ch-image", "-s", f"/dev/null/{NAME}", "list"],
    "dockerfile": ["ch-image", "build", "-t", "x", "-f", NAME, "."],
    "build_argument": ["ch-image", "build", "-t", "x", "--build-arg", TEXT, "."],
    "registry_to_leave": ["ch-image", "logout", TEXT],
    "image_to_run": ["ch-run", NAME, "--", "true"],
    "option_of_run": ["ch-run", f"--{NAME}", "bb"],
    "source_of_a_bind": ["ch-run", "-b", f"/{NAME}:/mnt", "bb", "--", "true"],
    "destination_of_a_bind": ["ch-run", "-b", f"/tmp:/proc/{NAME}", "bb", "--", "true"],
    "directory": ["ch-run", "-c", f"/{NAME}", "bb", "--", "true"],
    "variables": ["ch-run", f"--set-env=/{NAME}", "bb", "--", "true"],
    "variable": ["ch-run", "-v", f"--set-env=A={NAME}", "bb", "--", "true"],
    "program": ["ch-run", "bb", "--", NAME],
    "command_line": ["ch-run", "-v", "bb", "--", "true", NAME],
    "storage_of_run": ["ch-run", "-s", f"/{NAME}", "bb", "--", "true"],
    "feature": ["ch-run", f"--feature={NAME}"],
}.items():
    CASES[_name] = lambda _, words=_words: words  # type: ignore[misc]


@pytest.fixture
def world(tmp_path: Path, faulty: FaultyRegistry, run_ch_image: Runner, bb: str) -> Iterator[World]:
    with serving() as web:
        yield World(tmp_path, faulty, web, run_ch_image)


def in_pipe(argv: list[Any], storage: Path) -> bytes:
    done = subprocess.run(
        [*command(argv[0]), *argv[1:]],
        env=os.environ | {"CH_IMAGE_STORAGE": str(storage)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
        check=False,
    )
    return done.stdout


def at_terminal(argv: list[Any], storage: Path) -> bytes:
    """Run a command at a terminal without colours; the terminal converts newlines to CR LF."""
    pid, terminal = pty.fork()
    if not pid:
        environment = {"CH_IMAGE_STORAGE": str(storage), "TERM": "dumb", "NO_COLOR": ""}
        program = command(argv[0])
        os.execve(program[0], [*program, *argv[1:]], os.environ | environment)
    said = b""
    try:
        while part := os.read(terminal, 65536):
            said += part
    except OSError:  # EIO: the command has ended
        pass
    os.close(terminal)
    os.waitpid(pid, 0)
    return said.replace(b"\r\n", b"\n")


@pytest.mark.parametrize("name", CASES)
def test_people_see_what_was_hidden(name: str, world: World, storage: Path) -> None:
    argv = CASES[name](world)
    for run in (in_pipe, at_terminal):
        said = run(argv, storage).decode()
        harmful = [char for char in said if not char.isprintable() and char != "\n"]
        assert harmful == [], said
        assert "Traceback" not in said
        # The text did get there, and its characters did not split it.
        assert SEEN in said, said


# Output for programs


def test_json_has_it_as_it_is(world: World) -> None:
    world.pulled()
    config = world.configuration()
    first, second = json.loads(world.ch_image("history", "--format=json", "evil").stdout)
    assert {**config["history"][0], **first} == first
    assert second["comment"] == LINES
    (image,) = json.loads(world.ch_image("inspect", "evil").stdout)
    assert image["created"] == LINES
    assert image["config"]["config"]["Labels"] == {LINES: LINES}
    (listed,) = json.loads(world.ch_image("list", "--format=json", "evil").stdout)
    assert listed["created"] == LINES
    world.ch_image(*world.build(f"RUN : '{TEXT}' >/a")[1:])
    tree = json.loads(world.ch_image("build-cache", "--tree", "--format=json").stdout)["tree"]
    assert any(TEXT in node["origin"] for node in tree)


def test_what_a_command_prints_is_its_own(world: World, storage: Path) -> None:
    printed = f"BEGIN{CONTROLS}\tEND".encode() + b"\xff"
    octal = "".join(f"\\{byte:03o}" for byte in printed)
    build = world.build(f"RUN printf '{octal}'; printf '{octal}' >&2")
    assert in_pipe(build, storage).count(printed) == 2
    run = ["ch-run", "bb", "--", "/bin/sh", "-c", f"printf '{octal}'; printf '{octal}' >&2"]
    assert in_pipe(run, storage) == printed * 2


def test_a_terminal_that_lacks_a_letter_gets_it_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    """In Latin-1, the second byte of this letter's UTF-8 would be a control character."""
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "latin-1", write_through=True))
    print_line("\u011b")
    assert written.getvalue() == b"\\u011b\n"
