"""``ch-run`` does what Charliecloud's does with the same command line, image and environment.

DEVIATIONS lists what differs, and why.
"""

import re
import shlex
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.runtime.launcher.conftest import make_image

REFERENCE = "/usr/bin/ch-run"
WHERE = re.compile(r" \([a-z_-]+\.c:\d+( \d+)?\)$")  # Charliecloud says where in its source

# Charliecloud 0.38 exits with 1 where 0.39 and Sundog exit with these.
OWN_STATUS = {31: 1, 49: 1}

SAME = [
    "{image} -- true",
    "{image} -- sh -c 'exit 7'",
    "{image} true",
    "{image} -- nope",
    "{image} -- /etc/passwd",
    "{image} -- pwd",
    # --bind
    "-b '' {image} -- true",
    "-b :/mnt {image} -- true",
    "-b /x: {image} -- true",
    "-b x {image} -- true",
    "-b x:y {image} -- true",
    "-b / {image} -- true",
    "-b /usr:/ {image} -- true",
    "-b /nope:/mnt {image} -- true",
    "-b data:/mnt {image} -- ls /mnt",
    "-b data:/mnt {image} -- sh -c 'echo x >/mnt/made; cat /mnt/made'",
    "-b data:/mnt -b data/sub:/mnt/sub {image} -- ls /mnt/sub",
    "-W -b data:/new/place {image} -- ls /new/place",
    # --cd
    "-c /nope {image} -- true",
    "-c /mnt {image} -- pwd",
    "-c etc {image} -- pwd",
    "{image} -c /mnt -- pwd",
    # --uid, --gid
    "-u -1 {image} -- true",
    "-u x {image} -- true",
    "-g 5x {image} -- true",
    "-g 99999999999 {image} -- true",
    "-u 5 -g 6 {image} -- sh -c 'id -u; id -g; cat /etc/passwd /etc/group'",
    "--no-passwd {image} -- cat /etc/passwd",
    "-u0 -g0 {image} -- cat /etc/passwd /etc/group",
    # the environment
    "{image} -- env",
    "--set-env=nofile {image} -- true",
    "--set-env=bad {image} -- true",
    "--set-env==x {image} -- true",
    "--set-env=variables {image} -- env",
    "--set-env0=variables0 {image} -- env",
    "--set-env {image} -- env",
    "--set-env --set-env=PATH=/opt:$PATH {image} -- env",
    "--set-env=A=$HOST:$NOT:b --env-no-expand {image} -- env",
    "--set-env=A=$HOST:$NOT:b {image} -- env",
    "\"--set-env=A='x'\" --unset-env=A {image} -- env",
    "--unset-env= {image} -- true",
    "'--unset-env=@(H|U)*' {image} -- env",
    "'--unset-env=!(PATH)' {image} -- env",
    "--unset-env=+([A-H])* {image} -- env",
    "--unset-env=?(H)OME {image} -- env",
    "'--unset-env=*(X|Y|HOST)' {image} -- env",
    "--unset-env=[!H]* {image} -- env",
    "--unset-env=* {image} -- env",
    # the rest
    "-t {image} -- sh -c 'ls /tmp; stat -c %a /tmp'",
    "-W {image} -- sh -c 'echo x >/x; cat /x'",
    "-q -v {image} -- true",
    "-v -q {image} -- true",
    "-q {image} -- ls /",
    "-qqq {image} -- ls /nope",
    "-s /nope {image} -- true",
    "--warnings=2",
    "--feature=extglob",
    "--home {image} -- true",
    "variables -- true",
    "{image} -- cat /tmp/in-tmp",
]


SBIN = ":/usr/local/sbin:/usr/sbin:/sbin"


class Deviation(NamedTuple):
    """A command line, the result that Sundog has, and the reason why it differs."""

    words: str
    status: int
    text: str
    reason: str


DEVIATIONS = [
    Deviation("-b data:/new {image} -- ls /new", 0, "sub\n", "a missing destination is made"),
    Deviation("-b data:/mnt:ro {image} -- ls /mnt", 0, "sub\n", "a bind may be read-only"),
    Deviation("-eA=1 --unset-env=!(A) {image} -- env", 0, "A=1\n", "-e is Sundog's"),
    Deviation("-b data:/dev/x {image} -- true", 31, "is missing below another", "other words"),
    Deviation("-b variables:/mnt {image} -- true", 31, "one is a directory", "other words"),
    Deviation("nope -- true", 31, "image not found: nope", "other words"),
    Deviation("-Wx {image} -- true", 31, "not a size: x", "other words"),
    Deviation("--nope", 64, "unrecognized option '--nope'", "all messages have one prefix"),
    Deviation("-qqqq {image} -- true", 31, "thrice", "an error is never silent"),
    Deviation("{image} -- env", 0, f"PATH=/usr/bin:/bin{SBIN}\n", "root's programs are found"),
    Deviation("{image} echo -v", 64, "an option behind the command", "it is COMMAND's"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("reference")
    image = make_image(place / "image")
    (image / "ch").mkdir()
    (image / "ch" / "environment").write_text("PATH=/bin:$PATH\nB='q'\n")
    (place / "data" / "sub").mkdir(parents=True)
    (place / "storage").mkdir(mode=0o700)
    (place / "tmp").mkdir()
    (place / "tmp" / "in-tmp").write_text("x\n")
    (place / "variables").write_text("V=1\n\nW=$V:x\nQ='a b'\n X= y\n")
    (place / "variables0").write_bytes(b"V=1\n\0W=$V\nx\0\0Q=''''")
    (place / "bad").write_text("V=1\nbad\n")
    return place


def outcome(command: str | Path, words: str, place: Path) -> tuple[int, list[bytes], list[str]]:
    """Return the status, the output, and the messages without prefix, place and hint."""
    arguments = shlex.split(words.replace("{image}", str(place / "image")))
    done = subprocess.run(
        [command, *arguments],
        env={
            "USER": "ada",
            "HOME": "/home/nobody-there",
            "PATH": "/usr/bin",
            "HOST": "host",
            "TMPDIR": str(place / "tmp"),
            "CH_IMAGE_STORAGE": str(place / "storage"),
        },
        cwd=place,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    told = []
    for line in done.stderr.decode().splitlines():
        text = WHERE.sub("", re.sub(r"^ch-run\[\d+\]: ", "", line))
        if not text.startswith("hint: "):
            told.append(text)
    return done.returncode, done.stdout.splitlines(), told


@pytest.mark.parametrize("words", SAME)
def test_same(installed: Path, place: Path, words: str) -> None:
    status, output, told = outcome(installed, words, place)
    output = [line.replace(SBIN.encode(), b"") for line in output]
    expected = outcome(REFERENCE, words, place)
    assert (OWN_STATUS.get(status, status), output, told) == expected


@pytest.mark.parametrize("deviation", DEVIATIONS, ids=lambda deviation: deviation.words)
def test_deviations(installed: Path, place: Path, deviation: Deviation) -> None:
    status, output, told = found = outcome(installed, deviation.words, place)
    assert status == deviation.status
    assert deviation.text in b"".join(line + b"\n" for line in output).decode() + "\n".join(told)
    assert outcome(REFERENCE, deviation.words, place) != found, "it is no deviation any more"
