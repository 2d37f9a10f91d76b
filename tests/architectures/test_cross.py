"""A stage of this machine that compiles for another architecture: QEMU runs nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conftest import base_image, command, run_program

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE = 3600.0  # seconds for a build: the machine may be busy
SAYS = "hello from arm64"
C = ("gcc-aarch64-linux-gnu libc6-dev-arm64-cross", "aarch64-linux-gnu-gcc -static -o /program")
GO = ("golang-go", "CGO_ENABLED=0 GOCACHE=/tmp/go GOARCH=$TARGETARCH go build -o /program")
SOURCES = {
    "c": f'#include <stdio.h>\nint main(void) {{ puts("{SAYS}"); }}\n',
    "go": f'package main\n\nfunc main() {{ print("{SAYS}\\n") }}\n',
}
DOCKERFILE = """
FROM --platform=$BUILDPLATFORM debian AS build
ARG TARGETARCH
RUN apt-get -q update && apt-get install -qy --no-install-recommends {packages} >/log 2>&1 \\
    || {{ tail /log; exit 1; }}
COPY hello.{language} /
RUN {compile} /hello.{language}
FROM arm
COPY --from=build /program /
"""


@pytest.mark.parametrize(("language", "tools"), [("c", C), ("go", GO)], ids=["c", "go"])
def test_a_compiler_of_this_machine(tmp_path: Path, language: str, tools: tuple[str, str]) -> None:
    env = {"CH_IMAGE_STORAGE": str(tmp_path / "storage"), "TMPDIR": "/tmp"}
    for name, base in (("debian", "debian"), ("arm", "busybox-arm64")):
        run_program([*command("ch-image"), "import", str(base_image(base)), name], env=env)
    (tmp_path / f"hello.{language}").write_text(SOURCES[language])
    packages, compiler = tools
    text = DOCKERFILE.format(packages=packages, compile=compiler, language=language)
    line = [*command("ch-image"), "build", "--force=seccomp", "--platform=linux/arm64", "-t", "new"]
    without = env | {"CH_QEMU": str(tmp_path / "none")}
    (tmp_path / "Dockerfile").write_text(text)
    run_program([*line, str(tmp_path)], env=without, timeout=PATIENCE)
    (tmp_path / "Dockerfile").write_text(f"{text}RUN /program\n")
    done = run_program([*line, str(tmp_path)], env=without, check=False, timeout=PATIENCE)
    assert done.returncode == 1  # this stage would need QEMU
    assert str(tmp_path / "none") in done.stderr
    done = run_program([*command("ch-run"), "new", "--", "/program"], env=env)
    assert SAYS in done.stdout + done.stderr  # Go's print writes to stderr
