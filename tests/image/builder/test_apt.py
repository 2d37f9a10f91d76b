"""apt under --force=seccomp, which can't give up root: wherever in a RUN it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Runner

REPOSITORY = """\
FROM deb
RUN rm -f /etc/apt/sources.list.d/* && mkdir /repo && : > /repo/Packages && \\
    echo 'deb [trusted=yes] copy:/repo ./' > /etc/apt/sources.list && \\
    printf '#!/bin/sh\\napt-get update\\n' > /bin/update && chmod +x /bin/update
"""
# No word of these in command position is apt's.
BY_VARIABLE = """\
RUN update
RUN cat /bin/update | sh
RUN /usr/bin/apt-get update && u=apt-get && $u update
RUN perl -e 'exit system("apt-get", "update") >> 8'
RUN <<EOF
#!/bin/sh
exec apt update
EOF
RUN echo 'APT::Sandbox::User "_apt";' > /etc/apt/apt.conf.d/99user && update
"""
# These lose the variable, or have one of their own.
BY_WORDS = """\
RUN env -i apt-get update
RUN unset APT_CONFIG; apt-get update
RUN APT_CONFIG= apt update
ENV APT_CONFIG=/own.conf
RUN echo 'APT::Own "1";' > /own.conf && apt-get update && apt-config dump | grep '^APT::Own "1"'
"""


def test_apt(run_ch_image: Runner, run_ch_run: Runner, debian_tar: Path, tmp_path: Path) -> None:
    """Its commands work, and the image has nothing of what makes them work."""
    run_ch_image("import", debian_tar, "deb")
    dockerfile = tmp_path / "Dockerfile"
    words = ["build", "--force=seccomp", "-t", "built", "-f", str(dockerfile), str(tmp_path)]
    dockerfile.write_text(REPOSITORY + BY_VARIABLE)
    assert "new command" not in run_ch_image(*words).stderr
    seen = run_ch_run("--set-env", "built", "--", "/bin/sh", "-c", "env; ls -R /ch").stdout
    assert "APT_CONFIG" not in seen
    assert "apt.conf" not in seen
    dockerfile.write_text(REPOSITORY + BY_VARIABLE + BY_WORDS)
    done = run_ch_image(*words)
    assert done.stderr.count("new command") == 4
    again = run_ch_image(*words)
    assert "new command" not in again.stderr
    # Other words for apt are instead of the file, too.
    dockerfile.write_text(REPOSITORY + "RUN env | grep APT_CONFIG || test ! -e /ch/apt.conf\n")
    hook = "--force-cmd=apt-get,-o,Acquire::Retries=1"
    assert "APT_CONFIG" not in run_ch_image("build", hook, *words[1:]).stdout
