"""The profile says what the program of ``notify`` says, and ends up in a bundle as it was."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hypothesis import example, given
from hypothesis import strategies as st

from sundog.front.agent.bundle import CAPABILITIES
from sundog.front.agent.metadata import Metadata
from sundog.front.agent.profile import seccomp_profile
from sundog.runtime.emulation.bpf import SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO
from sundog.runtime.emulation.notify.seccomp.program import (
    SECCOMP_RET_USER_NOTIF,
    conditional_calls,
    notify_program,
)
from sundog.runtime.emulation.notify.tracee.abi import NOTIFY_I386, NOTIFY_X86_64
from tests.conftest import command, run_program
from tests.runtime.emulation.bpf_interpreter import Program, SeccompData

if TYPE_CHECKING:
    from pathlib import Path

    from sundog.runtime.emulation.notify.tracee.abi import NotifyAbi

PROGRAM = Program(notify_program(NOTIFY_X86_64))
PROFILE = seccomp_profile(NOTIFY_X86_64, "/agent.sock", "")
VERDICTS = {"SCMP_ACT_NOTIFY": SECCOMP_RET_USER_NOTIF, "SCMP_ACT_ALLOW": SECCOMP_RET_ALLOW}


def verdict(name: str, args: tuple[int, ...]) -> int:
    """Decide as runtime-spec and libseccomp say."""
    for rule in PROFILE["syscalls"]:
        conditions = rule.get("args", [])
        if name in rule["names"] and all(
            each["op"] == "SCMP_CMP_MASKED_EQ"
            and args[each["index"]] & each["value"] == each["valueTwo"]
            for each in conditions
        ):
            if rule["action"] == "SCMP_ACT_ERRNO":
                return SECCOMP_RET_ERRNO | int(rule["errnoRet"])
            return VERDICTS[rule["action"]]
    return VERDICTS[PROFILE["defaultAction"]]


TESTS = conditional_calls(NOTIFY_X86_64)
VALUES = sorted(
    {0, 1 << 32}
    | {value for tests in TESTS.values() for _, _, values in tests for value in values}
    | {1 << bit for bit in range(32)}
)
ARGUMENT = st.sampled_from(VALUES) | st.integers(0, (1 << 64) - 1)
CALLS = [(abi, name) for abi in (NOTIFY_X86_64, NOTIFY_I386) for name in sorted(abi.numbers)]


@given(
    call=st.sampled_from(CALLS) | st.sampled_from([call for call in CALLS if call[1] in TESTS]),
    args=st.tuples(*[ARGUMENT] * 6),
)
@example((NOTIFY_X86_64, "getsockopt"), (3, 1, 17, 0, 0, 0))
@example((NOTIFY_X86_64, "getsockopt"), (3, 1 | 1 << 32, 59, 0, 0, 0))
@example((NOTIFY_X86_64, "openat"), (0, 0, 0o20200000 | 2, 0, 0, 0))
@example((NOTIFY_I386, "ugetrlimit"), (10, 0, 0, 0, 0, 0))
def test_it_says_what_the_program_says(call: tuple[NotifyAbi, str], args: tuple[int, ...]) -> None:
    abi, name = call
    data = SeccompData(abi.numbers[name], abi.arch, args)
    assert verdict(name, args) == PROGRAM.run(data).verdict


def test_printed(tmp_path: Path) -> None:
    (tmp_path / "owners").touch()
    words = ["agent", "--profile", f"--owners={tmp_path}/owners", f"--changes={tmp_path}"]
    tmp_path.chmod(0o700)
    done = run_program([*command("sundog"), *words], env={"XDG_RUNTIME_DIR": str(tmp_path)})
    metadata = json.dumps({"owners": f"{tmp_path}/owners", "changes": str(tmp_path)})
    assert json.loads(done.stdout) == seccomp_profile(
        NOTIFY_X86_64, f"{tmp_path}/sundog/agent.sock", metadata
    )
    assert Metadata.parse(metadata).pack() == metadata


def edited(tmp_path: Path, config: dict[str, Any]) -> dict[str, Any]:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config))
    file.chmod(0o640)
    run_program([*command("sundog"), "agent", "--bundle", str(tmp_path), "--socket=/a.sock"])
    assert file.stat().st_mode & 0o777 == 0o640
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def test_bundle(tmp_path: Path) -> None:
    config: dict[str, Any] = {
        "ociVersion": "1.0.2",
        "root": {"path": "rootfs"},
        "process": {"args": ["x"], "capabilities": {"bounding": ["CAP_A"], "ambient": ["CAP_B"]}},
        "linux": {"seccomp": {"defaultAction": "SCMP_ACT_KILL"}, "namespaces": []},
        "annotations": {"ä": "\ud83d"},
    }
    found = edited(tmp_path, config)
    capabilities = found["process"]["capabilities"]
    assert capabilities["ambient"] == ["CAP_B"]
    assert capabilities["bounding"] == sorted(["CAP_A", *CAPABILITIES])
    assert capabilities["effective"] == sorted(CAPABILITIES)
    config["process"]["capabilities"] = capabilities
    changes = Metadata(changes=bytes(tmp_path / "rootfs")).pack()
    config["linux"]["seccomp"] = seccomp_profile(NOTIFY_X86_64, "/a.sock", changes)
    assert found == config
    assert edited(tmp_path, found) == found


def test_bundle_whose_root_is_read_only(tmp_path: Path) -> None:
    found = edited(tmp_path, {"root": {"path": "r", "readonly": True}})
    assert found["linux"]["seccomp"]["listenerMetadata"] == ""
