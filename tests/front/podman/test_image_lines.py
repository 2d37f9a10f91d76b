"""Lines of ``sundog`` about images, and the lines of ``ch-image`` that they stand for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from scripts.place import CHECKOUT

from sundog.errors import UsageError
from sundog.front.cli.image_arguments import parse_arguments
from sundog.front.cli.sundog_help import described, names, subcommand_help
from sundog.front.options import TAKEN, scan
from sundog.front.podman.image_lines import SUBCOMMANDS
from sundog.front.podman.refused import REFUSED

if TYPE_CHECKING:
    from pathlib import Path


def translated(name: str, *words: str) -> list[list[str]]:
    subcommand = SUBCOMMANDS[name]
    return subcommand.lines(name, scan(words, subcommand.options, command=name))


@pytest.mark.parametrize(
    ("name", "words", "lines"),
    [
        ("build", "-t a --no-cache -f F C", ["build --tag=a --no-cache --file=F -- C"]),
        ("build", "", ["build -- ."]),
        ("build", "--pull --rm -", ["build --pull=true -- -"]),
        ("build", "--platform linux/arm64 -q", ["build --platform=linux/arm64 --quiet -- ."]),
        ("build", "-v /:/b:ro --build-arg X", ["build --bind=/:/b:ro --build-arg=X -- ."]),
        ("build", "-v /usr/:/b:z,rw", ["build --bind=/usr:/b:rw -- ."]),
        (
            "build",
            "--pull=IfNewer --progress plain",
            ["build --pull=IfNewer --progress=plain -- ."],
        ),
        ("build", "--pull=0 --provenance=false --sbom=false", ["build --pull=0 -- ."]),
        (
            "build",
            "--push --retry 2 --no-cache-filter a,b",
            ["build --push --retry=2 --no-cache-filter=a,b -- ."],
        ),
        (
            "build",
            "-o out -o type=oci,dest=x .",
            ["build --output=out --output=type=oci,dest=x -- ."],
        ),
        ("build", "--network host --security-opt label=disable", ["build --network=host -- ."]),
        ("build", "--net none --timestamp 5", ["build --network=none --timestamp=5 -- ."]),
        ("import", "--platform linux/s390x F a", ["import --arch=s390x -- F a"]),
        ("pull", "docker://a b", ["pull -- a", "pull -- b"]),
        ("pull", "--tls-verify=false --arch arm64 a", ["pull --tls-no-verify --arch=arm64 -- a"]),
        ("pull", "--tls-verify=false -q -q --tls-verify a", ["pull --quiet -- a"]),
        ("build", "--no-cache --no-cache=false --push=0 --push .", ["build --push -- ."]),
        ("push", "a docker://h.x/b", ["push -- a h.x/b"]),
        ("push", "--compression-format zstd a", ["push --compression=zstd -- a"]),
        (
            "push",
            "--compression-format estargz --first F a",
            ["push --compression=estargz --first=F -- a"],
        ),
        ("push", "--platform linux/arm64 a", ["push --arch=arm64 -- a"]),
        ("rmi", "-f a b", ["delete -- a b"]),
        ("rmi", "--platform linux/arm64 a", ["delete --arch=arm64 -- a"]),
        (
            "save",
            "--platform linux/arm64 -o F a",
            ["save --arch=arm64 --output=F --format=docker-archive -- a"],
        ),
        ("rmi", "--all", ["delete -- *"]),
        ("tag", "a b c", ["tag -- a b", "tag -- a c"]),
        ("imagetools inspect", "--raw docker://h.x/a", ["inspect --remote -- h.x/a"]),
        ("history", "--no-trunc a", ["history -- a"]),
        ("history", "--format json a", ["history --format=json -- a"]),
        ("save", "-o F a", ["save --output=F --format=docker-archive -- a"]),
        ("save", "--format oci-dir -o D a b", ["save --output=D --format=oci-dir -- a b"]),
        ("load", "-i F", ["load -- F"]),
        ("load", "", ["load -- -"]),
        ("import", "/x/Base.tar.gz", ["import -- /x/Base.tar.gz base"]),
        ("import", "- a", ["import -- /dev/stdin a"]),
        ("login", "-u me --password-stdin h.x", ["login --username=me --password-stdin -- h.x"]),
        ("login", "", ["login -- docker.io"]),
        ("logout", "h.x", ["logout -- h.x"]),
        ("system df", "-v", ["usage"]),
    ],
)
def test_lines(name: str, words: str, lines: list[str]) -> None:
    """Each translation is what it should be, and ch-image reads it."""
    found = translated(name, *words.split())
    assert [" ".join(line) for line in found] == lines
    for line in found:
        assert parse_arguments(line).subcommand == line[0]


@pytest.mark.parametrize(
    ("name", "words", "message", "hint"),
    [
        ("build", "a b", "build: too many operands", "sundog build [CONTEXT]"),
        ("build", "-v /dir .", "-v /dir: no directory of the host to show there", "SRC:DST[:ro]"),
        ("build", "-v name:/x .", "-v name:/x: there are no named volumes", "-v ./name:/x"),
        ("build", "-v /:/x:O .", "-v /:/x:O: no such mode here: O", "ro and rw"),
        ("pull", "", "pull: an operand is missing", "sundog pull IMAGE…"),
        ("pull", "--creds a:b c", "--creds a:b: every user of the machine", "sundog login"),
        ("build", "-f a -f b .", "--file: one Dockerfile at a time", "one file"),
        ("build", "--sbom=true .", "--sbom true: no attestation is made", "leave it out"),
        ("build", "--provenance .", "--provenance true: no attestation is made", "leave it out"),
        (
            "build",
            "--security-opt seccomp=f .",
            "--security-opt seccomp=f: RUN has",
            "leave it out",
        ),
        ("pull", "--policy never a", "--policy never: the registry is always asked", "leave it"),
        ("push", "--first F a", "--first: only eStargz", "--compression-format=estargz"),
        (
            "push",
            "--first F --compression-format zstd:chunked a",
            "--first: only eStargz",
            "--compression-format=estargz",
        ),
        ("rmi", "--all a", "rmi: --all and names of images", "one of them"),
        ("rmi", "", "rmi: no image", "sundog rmi --all"),
        ("rmi", "a zz*", "rmi: not the name of an image: zz*", "ch-image delete"),
        ("rmi", "z?", "rmi: not the name of an image: z?", "ch-image delete"),
        ("rmi", "[ab]", "rmi: not the name of an image: [ab]", "ch-image delete"),
        ("build", "--network bridge .", "--network bridge: there is no such network", "or none"),
        ("save", "--format tar a", "--format tar: no such format", "docker-archive"),
        ("import", "http://x/y a", "import: http://x/y: a URL", "fetch it first"),
        ("login", "-p secret h.x", "-p secret: every user of the machine", "--password-stdin"),
    ],
)
def test_mistakes(name: str, words: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        translated(name, *words.split())
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_dockerfiles(tmp_path: Path) -> None:
    """Podman takes a Containerfile first, and finds -f in the context, too."""
    (tmp_path / "Dockerfile").touch()
    assert translated("build", str(tmp_path))[0][1] == f"--file={tmp_path}/Dockerfile"
    (tmp_path / "Containerfile").touch()
    assert translated("build", str(tmp_path))[0][1] == f"--file={tmp_path}/Containerfile"
    (tmp_path / "Other").touch()
    assert translated("build", "-f", "Other", str(tmp_path))[0][1] == f"--file={tmp_path}/Other"


@pytest.mark.parametrize("name", names())
def test_help(name: str) -> None:
    """The help of each subcommand says which line it stands for, and lists all its options."""
    text = "\n".join(subcommand_help(name))
    _, summary, stands_for, options = described(name)
    assert f"It stands for: {stands_for}" in text
    assert summary[1:] in text
    assert all(option.names[0] in text for option in options)
    assert max(map(len, text.splitlines())) <= 90


def test_no_subcommand_is_had_and_refused() -> None:
    assert not set(names()) & REFUSED.keys()
    assert all(why and hint for why, hint in REFUSED.values())


MANUAL = (CHECKOUT / "docs" / "reference" / "sundog.md").read_text()
PAGES = sorted((CHECKOUT / "docs" / "reference").glob("apptainer*.md"))
APPTAINER = "".join(page.read_text() for page in PAGES)


@pytest.mark.parametrize("name", names())
def test_manual_has_all_options(name: str) -> None:
    """docs/reference/sundog.md names each subcommand, and each option that it takes.

    Those of Apptainer have pages of their own.
    """
    if name in ("run", "create", "exec"):
        text = MANUAL.partition("## Run")[2].partition("## ")[0]
    elif name.startswith("apptainer"):
        text = (
            APPTAINER
            if re.search(rf"(?:`|sundog apptainer ){name.partition(' ')[2]}\b", APPTAINER)
            else ""
        )
    else:
        start = re.compile(rf"^\| .*`{name}\b.*$", re.M)
        text = "".join(start.findall(MANUAL))
    assert text, name
    for option in described(name)[3]:
        if option.treatment == TAKEN and option.name != "help":
            for word in option.names:
                assert re.search(rf"(?<![\w-]){word}\b", text), word


def test_manual_names_no_other_options() -> None:
    known = {word for name in names() for option in described(name)[3] for word in option.names}
    written = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", MANUAL))
    assert written - known == {"--storage", "--root", "--gc", "--notify"}
