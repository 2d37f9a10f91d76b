"""The documentation as a site: MkDocs makes it, and every link leads somewhere."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from scripts.place import CHECKOUT


def build(checkout: Path, target: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("mkdocs"), "build", "--strict", "--site-dir", target],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_site_is_made(tmp_path: Path) -> None:
    done = build(CHECKOUT, tmp_path)
    assert done.returncode == 0, done.stderr
    for page in (
        "index",
        "tutorial/image",
        "how-to/faq",
        "reference/ch-run",
        "explanation/concepts",
    ):
        assert (tmp_path / f"{page}.html").exists()
    assert "explanation/pictures/chown.svg" in {
        path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.svg")
    }
    assert "Use GPUs" in (tmp_path / "search" / "search_index.json").read_text()
    developers = (tmp_path / "CONTRIBUTING.html").read_text()
    assert "<code>src/sundog/runtime/launcher/help.py</code>" in developers
    assert 'href="tutorial/image.html"' in (tmp_path / "index.html").read_text()


@pytest.mark.slow
def test_a_link_that_leads_nowhere_is_an_error(tmp_path: Path) -> None:
    links = {  # and the part that the complaint has
        "../how-to/faq.md#no-such-heading": "faq.md#no-such-heading",
        "nothing.md": "nothing.md",
        "../../README.md#nothing": "index.md#nothing",
    }
    for name in ("mkdocs.yml", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"):
        shutil.copy(CHECKOUT / name, tmp_path)
    for name in ("docs", "scripts"):
        shutil.copytree(CHECKOUT / name, tmp_path / name)
    with (tmp_path / "docs/tutorial/image.md").open("a") as page:
        page.write("".join(f"\n[a link]({link})\n" for link in links))
    done = build(tmp_path, tmp_path / "site")
    assert done.returncode != 0
    told = [line for line in done.stderr.splitlines() if "tutorial/image.md" in line]
    for part in links.values():
        assert any(part in line for line in told), (part, told)
