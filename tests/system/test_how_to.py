"""The pages of how-to, executed; and no session of any page is left out without a reason."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from scripts.place import CHECKOUT

from tests.conftest import copy_storage, run_program
from tests.image.pull.conftest import flavours, tls
from tests.image.pull.flavours import PASSWORD, USER
from tests.image.registry.servers import InProcessRegistry
from tests.system.pages import Command, Reader, blocks, make_programs

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from tests.image.pull.flavours import Flavours

__all__ = ["flavours", "tls"]

DOCS = CHECKOUT / "docs"
PAGES = [*DOCS.rglob("*.md"), *(CHECKOUT / name for name in ("README.md", "CONTRIBUTING.md"))]
HOW_TO = sorted(DOCS.glob("how-to/*.md"))
# tests/system/test_tutorial.py runs these.
ELSEWHERE = {
    "README.md",
    "docs/tutorial/image.md",
    "docs/tutorial/pipeline.md",
    "docs/explanation/concepts.md",
}
RUN = [
    page.stem
    for page in HOW_TO
    if any(block.is_session and not block.not_run for block in blocks(page))
]


@pytest.fixture
def registry() -> Generator[InProcessRegistry]:
    with InProcessRegistry().serve() as registry:
        yield registry


@pytest.fixture
def reader(
    tmp_path: Path, storage_with_busybox: Callable[[str], Path], registry: InProcessRegistry
) -> Reader:
    """Return a reader whose debian:trixie is a small image, with a registry."""
    scratch, place = tmp_path / "scratch", tmp_path / "place"
    for directory in (scratch, place):
        directory.mkdir()
    copy_storage(storage_with_busybox(""), tmp_path / "storage")
    names = {"/scratch/you": str(scratch), "registry.example.com": registry.host}
    reader = Reader(place, make_programs(tmp_path / "bin"), names)
    reader.environment["CH_IMAGE_STORAGE"] = str(tmp_path / "storage")
    reader.run(Command("ch-image tag bb debian:trixie && ch-image delete bb", ()))
    return reader


def recipes() -> dict[str, list[str]]:
    """Return the command lines in the recipes of the page about CI."""
    text = (DOCS / "how-to/ci.md").read_text()
    gitlab, github = re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    _, _, script = github.partition("run: |\n")
    return {
        "GitLab": re.findall(r"^    - (.*)$", gitlab, re.MULTILINE),
        "GitHub": [line.strip() for line in script.splitlines()],
    }


def run_recipe(service: str, reader: Reader, host: str, tmp_path: Path) -> None:
    """Run two jobs, each with a storage directory of its own: the second one runs nothing."""
    reader.write("Dockerfile", "FROM debian:trixie\nCOPY list /\nRUN cat /list >/made\n")
    reader.write("list", "1")
    reader.environment |= {
        "REGISTRY_AUTH_FILE": str(tmp_path / "logins.json"),
        "CI_REGISTRY": host,
        "CI_REGISTRY_IMAGE": f"{host}/group/project",
        "CI_REGISTRY_USER": USER,
        "CI_REGISTRY_PASSWORD": PASSWORD,
        "CI_COMMIT_SHORT_SHA": "0123abcd",
        "GITHUB_ACTOR": USER,
        "GITHUB_REPOSITORY": "Me/Project",
        "GITHUB_SHA": "0123abcd" * 5,
        "TOKEN": PASSWORD,
    }
    lines = "\n".join(["set -e", *recipes()[service]]).replace("ghcr.io", host)
    said = []
    for number in ("1", "2"):
        copy_storage(tmp_path / "storage", tmp_path / number)
        done = subprocess.run(
            ["bash", "-c", lines],
            env=reader.environment | {"CH_IMAGE_STORAGE": str(tmp_path / number)},
            cwd=reader.place,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        said.append(done.stderr)
    assert re.search(r"  3\. RUN", said[0])
    assert re.search(r"  3\* RUN", said[1])
    assert "warning: " not in said[0] + said[1]


@pytest.mark.slow
@pytest.mark.parametrize("service", ["GitLab", "GitHub"])
def test_recipes_for_ci(
    service: str, reader: Reader, registry: InProcessRegistry, tmp_path: Path
) -> None:
    registry.token = "a-token"
    run_recipe(service, reader, registry.host, tmp_path)
    assert registry.count(r"PUT /v2/(group|me)/project/manifests/0123abcd") == 2
    assert registry.count(r"POST /v2/(group|me)/project/blobs/uploads/\?mount=.*") >= 1


@pytest.mark.slow
@pytest.mark.parametrize("service", ["GitLab", "GitHub"])
def test_recipes_for_ci_with_docker_registry(
    service: str, reader: Reader, flavours: Flavours, tmp_path: Path
) -> None:
    """Its version 2, with a token server: who may push has to log in."""
    run_recipe(service, reader, flavours.token, tmp_path)
    name = {"GitLab": "group", "GitHub": "me"}[service]
    pushed = f"docker://{flavours.token}/{name}/project:0123abcd"
    found = run_program(["skopeo", "inspect", "--tls-verify=false", pushed]).stdout
    assert len(json.loads(found)["Layers"]) == 3


@pytest.mark.slow
@pytest.mark.parametrize("name", RUN)
def test_a_page_goes_as_shown(name: str, reader: Reader) -> None:
    if name == "ci":  # CI has pulled the image into a storage directory of its own
        storage = Path(reader.environment["CH_IMAGE_STORAGE"])
        copy_storage(storage, Path(reader.names["/scratch/you"]) / "ci")
    assert reader.follow(DOCS / "how-to" / f"{name}.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_session_runs_or_says_why_not(page: Path) -> None:
    name = page.relative_to(CHECKOUT).as_posix()
    if name not in ELSEWHERE and page not in HOW_TO:
        assert all(block.not_run for block in blocks(page) if block.is_session)
    assert not re.search(r"^ +\$ ", page.read_text(), re.MULTILINE), "a session that is no block"


def test_a_page_has_no_more_than_250_lines() -> None:
    """But for the FAQ, the pages of commands, and those that a program writes."""
    free = {"faq.md", "ch-image.md", "ch-run.md", "benchmarks.md", "programs.md"}
    long = {
        page.name: lines
        for page in PAGES
        if page.name not in free and (lines := len(page.read_text().splitlines())) > 250
    }
    assert not long


def test_every_page_that_code_names_is_there() -> None:
    found = subprocess.run(
        ["grep", "-rhoE", r"docs/[a-z/-]+\.md", *("src", "scripts", "packaging", "bench", "tests")],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    names = set(found.stdout.split())
    assert len(names) > 10
    assert not [name for name in names if not (CHECKOUT / name).exists()]


def test_the_first_page_is_short() -> None:
    text = (CHECKOUT / "README.md").read_text()
    assert len(text.splitlines()) <= 90
    assert "make demo" in text
    assert "make test" in text


def test_there_are_four_shelves() -> None:
    assert {path.name for path in DOCS.iterdir()} == {
        *("tutorial", "how-to", "reference", "explanation"),
        *("install.md", "design.md"),
    }


def test_what_the_pages_for_developers_name_is_there() -> None:
    """Links and paths; and a test that a page names is in a file to which that page leads."""
    for page in (CHECKOUT / "CONTRIBUTING.md", DOCS / "design.md", DOCS / "explanation" / "map.md"):
        text = page.read_text()
        links = set(re.findall(r"\]\(([^)#:]+)", text))
        paths = set(
            re.findall(r"`((?:src|tests|docs|scripts|native|packaging|bench)/[\w./-]*)`", text)
        )
        rooms = set(re.findall(r"`((?:base|runtime|image|front)/[\w/]+)`", text))
        named = {page.parent / link for link in links}
        missing = [path for path in named if not path.exists()]
        missing += [path for path in map(CHECKOUT.joinpath, paths) if not path.exists()]
        missing += [
            path for path in map((CHECKOUT / "src/sundog").joinpath, rooms) if not path.exists()
        ]
        assert not missing, page
        programs = "".join(path.read_text() for path in named if path.suffix == ".py")
        tests = re.findall(r"`(test_\w+)`", text)
        assert not [name for name in tests if f"def {name}(" not in programs], page
