"""Load a joined module, which the wheel has and a checkout has not: packaging/join_launcher.py."""

from __future__ import annotations

import sys
from _frozen_importlib_external import SourceFileLoader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PACKAGE = "/sundog/"  # between the packages' directory and a module of this one


def joined_module(name: str) -> Any:
    """Load the joined module ``name``; return None if there is none.

    An import would load the packages around it, too, and list their directories.
    """
    packages, _, _ = __file__.rpartition(_PACKAGE)
    path = f"{packages}/{name.replace('.', '/')}.py"
    try:
        code: Any = SourceFileLoader(name, path).get_code(name)
    except OSError:
        return None
    module = type(sys)(name)
    module.__file__ = path
    exec(code, module.__dict__)
    return module
