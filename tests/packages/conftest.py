"""Packages of distributions, and the archive of wheels: `make packages`, `make offline`.

Other runs do not collect these tests: they fetch hundreds of packages.
"""

from __future__ import annotations

import os

collect_ignore_glob = [] if os.environ.get("SUNDOG_PACKAGES") else ["test_*.py"]
