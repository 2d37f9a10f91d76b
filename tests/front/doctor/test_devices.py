"""The check of devices that CDI specifications describe."""

import json
from pathlib import Path

import pytest

from sundog.front.doctor.devices import DEVICES
from sundog.front.doctor.outcome import FAILED, NOT_HERE, OK, attempt
from tests.runtime.devices.driver import write_specification

NODE, MOUNT = "deviceNodes", "mounts"


@pytest.mark.parametrize(
    ("edits", "state", "detail"),
    [
        (None, NOT_HERE, "no CDI specification in "),
        ({NODE: [{"path": "/dev/null"}]}, OK, "nvidia.com/gpu=all"),
        ({NODE: [{"path": "/dev/no-such"}]}, FAILED, "/dev/no-such: No such file or directory"),
        (
            {MOUNT: [{"hostPath": "/no/such", "containerPath": "/x"}]},
            FAILED,
            "/no/such is missing",
        ),
        ({"odd": 1}, FAILED, "can't use "),
    ],
)
def test_devices(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    edits: dict[str, object] | None,
    state: str,
    detail: str,
) -> None:
    monkeypatch.setenv("CH_RUN_CDI_DIRS", str(tmp_path))
    if edits is not None:
        path = write_specification(tmp_path / "x.json", edits)
        assert json.loads(path.read_text())
    found = attempt(DEVICES)
    assert found.state == state
    assert detail in found.detail
