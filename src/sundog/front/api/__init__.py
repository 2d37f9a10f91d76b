"""The functions for Python programs.  ``import sundog`` offers them.

docs/reference/api.md describes them.

They print nothing, read nothing from the terminal, and leave signals alone.  They raise what
``sundog.errors`` has, and OSError for files of the program's own.  What they take and return
changes only as semantic versioning allows.
"""

from __future__ import annotations

from sundog.base.cpython import RLock

# Held while a function loads modules, and while the program forks.  Threads that import modules in
# another order get modules that are not complete, and a fork would copy such a module.
LOADING = RLock()
