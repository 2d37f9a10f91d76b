"""A hook of MkDocs: the pages above docs/ are pages of the site, README.md the first.

Their links to other pages begin with docs/.  The site has no source, so of a link to that only
the path stays.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

TOP = Path(__file__).parents[1]
FIRST = "index.md"
OTHERS = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
SOURCE = re.compile(r"\[[^]]*\]\(((?:bench|native|packaging|scripts|src|tests)/[^)]*)\)")
PAGES = {FIRST: "README.md", **{name: name for name in OTHERS}}


def on_files(files: Files, /, *, config: MkDocsConfig) -> Files:
    """Add the pages that are not in docs/."""
    from mkdocs.structure.files import File  # noqa: PLC0415 - MkDocs alone imports this hook

    for page, name in PAGES.items():
        text = re.sub(r"\]\(docs/", "](", (TOP / name).read_text(encoding="utf-8"))
        text = SOURCE.sub(r"`\1`", text)
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, /, *, page: Page, **_: Any) -> str:
    """Let links to the pages above docs/ lead to those of the site."""
    up = "../" * page.file.src_uri.count("/")
    for target, name in PAGES.items():
        markdown = markdown.replace(f"]({up}../{name}", f"]({up}{target}")
    return markdown
