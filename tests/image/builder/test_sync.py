"""A RUN's syncs: the overlay mount or, in a copy, the filter suppresses them, except on demand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.image.builder.conftest import Workshop

# The kernel can't sync /dev/null, and says EINVAL.
DOCKERFILE = """\
FROM bb
RUN if dd if=/dev/null of=/dev/null conv=fsync; then echo faked; else echo real; fi
"""


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["seccomp", "notify", "none"])
@pytest.mark.parametrize("options", [(), ("--real-sync",)], ids=["", "real"])
def test_fsync_is_faked_in_a_copy_under_emulation(
    workshop: Workshop, driver: str, mode: str, options: tuple[str, ...]
) -> None:
    done = workshop.build(DOCKERFILE, f"--force={mode}", *options)
    faked = driver == "copy" and not options and mode != "none"
    assert done.stdout.splitlines() == ["faked" if faked else "real"]
