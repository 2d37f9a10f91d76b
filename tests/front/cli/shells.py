"""Ask real shells what they offer for a command line: bash and zsh on a terminal, and fish.

In bash and zsh, a key inserts all candidates.  The line then begins with printf, which prints its
words: so the answer is what the user's command would get, quoting included.
"""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

SECONDS = 60
BASH_SETUP = """
bind 'set bell-style none'
bind 'set enable-bracketed-paste off'
source /usr/share/bash-completion/bash_completion
"""
# bash-completion loads the file of a command at the first attempt to complete it.
BASH_ALL = b"\x1b*"
ZSH_SETUP = """
fpath=({share}/zsh/site-functions $fpath)
autoload -U compinit
compinit -u -d {home}/zcompdump
zle -C all complete-word _generic
bindkey -e
bindkey '^Xa' all
zstyle ':completion:all:*' insert yes
zstyle ':completion:all::::' completer _all_matches _complete
"""
ZSH_ALL = b"\x18a"
START, END = b"\x01", b"END"


@dataclass(frozen=True)
class Shells:
    """Shells in a directory: ``programs`` is first in $PATH, ``share`` has the completion."""

    directory: Path
    programs: Path
    share: Path
    environment: Mapping[str, str]

    def ask(self, shell: str, lines: Sequence[str]) -> Iterator[list[str]]:
        """Yield the words that a shell offers for the last word of each line."""
        if shell == "fish":
            return map(self._fish, lines)
        if shell == "bash":
            argv, setup, key = ["bash", "--norc", "--noprofile", "-i"], BASH_SETUP, BASH_ALL
        else:
            argv, key = ["zsh", "-f", "-i"], ZSH_ALL
            setup = ZSH_SETUP.format(share=self.share, home=self.directory)
        return self._terminal(argv, setup, lines, key)

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            **self.environment,
            # Debian's charliecloud has completion for commands of these names, too.
            "BASH_COMPLETION_USER_DIR": f"{self.share}/bash-completion",
            "HOME": str(self.directory),
            "LC_ALL": "C.UTF-8",
            "PATH": f"{self.programs}:{os.environ['PATH']}",
            "PS1": "> ",
            "TERM": "dumb",
            "XDG_DATA_DIRS": f"{self.share}:/usr/share",
        }

    def _fish(self, line: str) -> list[str]:
        done = subprocess.run(
            ["fish", "-c", "complete -C $argv[1]", line],
            env=self._environment(),
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.stderr == ""
        return [found.partition("\t")[0] for found in done.stdout.splitlines()]

    def _terminal(
        self, argv: list[str], setup: str, lines: Sequence[str], key: bytes
    ) -> Iterator[list[str]]:
        pid, terminal = pty.fork()
        if not pid:
            os.chdir(self.directory)
            os.execvpe(argv[0], argv, self._environment())
        try:
            script = self.directory / "setup"
            script.write_text(setup)
            os.write(terminal, f". {script}; echo read''y\n".encode())
            _read_until(terminal, b"ready\r\n")
            for line in lines:
                typed = line.encode() + key + b" " + END + START + b"printf '<%s>\\n' \n"
                os.write(terminal, typed)
                said = _read_until(terminal, b"<" + END + b">\r\n")
                words = re.findall(rb"^<(.*)>\r$", said, re.MULTILINE)
                before = len(line.split(" ")) - 1
                yield [os.fsdecode(word) for word in words[before:-1]]
        finally:
            os.kill(pid, signal.SIGKILL)
            os.close(terminal)
            os.waitpid(pid, 0)


def _read_until(terminal: int, text: bytes) -> bytes:
    """Return a terminal's output up to a text."""
    said = b""
    deadline = time.monotonic() + SECONDS
    while text not in said:
        assert time.monotonic() < deadline, said
        if select.select([terminal], [], [], 1)[0]:
            said += os.read(terminal, 1 << 16)
    return said
