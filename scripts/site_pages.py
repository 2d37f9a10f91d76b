"""A hook of MkDocs: README.md is the first page of the site, and links lead to it.

In the checkout, README.md is above docs/, so its links begin with docs/.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

README = Path(__file__).parents[1] / "README.md"
FIRST = "index.md"


def on_files(files: Files, /, *, config: MkDocsConfig) -> Files:
    """Add README.md as the first page."""
    from mkdocs.structure.files import File  # noqa: PLC0415 - MkDocs alone imports this hook

    text = re.sub(r"\]\(docs/", "](", README.read_text(encoding="utf-8"))
    files.append(File.generated(config, FIRST, content=text))
    return files


def on_page_markdown(markdown: str, /, **_: Any) -> str:
    """Let links to README.md lead to the first page."""
    return markdown.replace("](../README.md", f"]({FIRST}")
