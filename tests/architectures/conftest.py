"""Images of other architectures as a whole, which QEMU runs: `make architectures`.

Other runs do not collect these tests.
"""

from __future__ import annotations

import os

collect_ignore_glob = [] if os.environ.get("SUNDOG_ARCHITECTURES") else ["test_*.py"]
