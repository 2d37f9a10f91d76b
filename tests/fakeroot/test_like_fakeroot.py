"""The same scripts under Debian's fakeroot and under ours print the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conftest import command, run_program
from tests.fakeroot.conftest import ORACLE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakeroot.conftest import MockRoot

SHOW = "stat -c '%n %u %g %f %t %T %h'"
LIST = "ls -ln --time-style=+ "
# What fakeroot(1) names: programs, library calls, and files that a package has.
CASES = {
    "who": "id; id -un; id -G; whoami",
    "a new file": f"touch f; {SHOW} f",
    "chown": f"touch f g; chown 1:2 f; chown :3 g; chown 4 g; {SHOW} f g",
    "chown by name": f"touch f; chown daemon:sys f; {SHOW} f; chgrp tty f; {SHOW} f",
    "chown of a link": f"touch f; ln -s f l; chown -h 1:2 l; {SHOW} f l; chown 3:4 l; {SHOW} f l",
    "chown -R": f"mkdir -p d/e; touch d/f d/e/g; chown -R 7:8 d; find d | sort | xargs {SHOW}",
    "chown and back": f"touch f; chown 1:2 f; chown 0:0 f; {SHOW} f",
    "chown --from": f"touch f g; chown 1 g; chown --from=1 5 f g; {SHOW} f g",
    "chown --reference": f"touch f g; chown 9:9 f; chown --reference=f g; {SHOW} g",
    "a large owner": f"touch f; chown 4294967294:4294967294 f; {SHOW} f",
    "chmod": f"for m in 0 400 600 4755 2755 1777 7777; do touch $m; chmod $m $m; {SHOW} $m; done",
    "chmod of a directory": f"mkdir d; chmod 2775 d; {SHOW} d; chmod 0 d; {SHOW} d; chmod 1777 d; {SHOW} d",
    "closed to its owner": "echo text >f; chmod 0 f; cat f; echo more >>f; cat f; mkdir d; chmod 0 d; touch d/f; ls d",
    "mkdir": f"mkdir -m 700 d; {SHOW} d; umask 077; mkdir e; {SHOW} e",
    "mknod": f"mknod c c 1 3; mknod b b 8 1; mknod p p; mknod -m 600 n c 255 254; {SHOW} c b p n",
    "mknod with large numbers": f"mknod c c 511 70000; {SHOW} c",
    "a device and its mode": f"mknod c c 1 3; chown 1:6 c; chmod 620 c; {SHOW} c; [ -c c ] && echo device",
    "types in a directory": f"mknod c c 1 3; mknod b b 1 3; mkfifo p; ln -s p l; mkdir d; {LIST}",
    "find by owner": "touch f g; chown 5:6 f; find . -user 5; find . -gid 6; find . -uid 0 | sort",
    "test": "touch f; chown 1 f; [ -O f ] || echo other; mknod c c 1 3; test -b c || echo no block",
    "link": f"touch f; chown 1:2 f; ln f g; {SHOW} f g; rm f; {SHOW} g; chown 3 g; ln g h; {SHOW} h",
    "rename": f"touch f; chown 1:2 f; mv f g; {SHOW} g; touch h; chown 3:4 h; mv -f h g; {SHOW} g",
    "remove and make again": f"touch f; chown 1:2 f; rm f; touch f; {SHOW} f; mkdir d; chown 3 d; rmdir d; mkdir d; {SHOW} d",
    "cp -a": f"mkdir d; touch d/f; mknod d/c c 1 3; ln -s f d/l; chown -h 1:2 d/f d/l d/c; chmod 4755 d/f; cp -a d e; {SHOW} e e/f e/l e/c",
    "cp": f"touch f; chown 1:2 f; cp f g; {SHOW} g; cp -p f h; {SHOW} h",
    "install": f"echo x >f; install -o 1 -g 2 -m 4750 f g; {SHOW} g; install -d -o 3 -g 4 d; {SHOW} d",
    "tar": f"mkdir d; mknod d/n c 1 3; touch d/f; ln d/f d/g; chown 1:2 d/f; ln -s n d/l; chown -h 3:4 d/l; tar -cf a.tar d; tar -tvf a.tar --numeric-owner | awk '{{print $1, $2, $6}}' | sort; mkdir x; tar -xf a.tar -C x; find x | sort | xargs {SHOW}",
    "tar without owners": f"touch f; chown 1:2 f; tar --owner=5 --group=6 -cf a.tar f; mkdir x; tar -xf a.tar -C x; {SHOW} x/f; tar --no-same-owner -xf a.tar -C x; {SHOW} x/f",
    "ar and dpkg-deb": "mkdir -p p/DEBIAN p/etc; echo x >p/etc/f; chown 1:2 p/etc/f; printf 'Package: p\\nVersion: 1\\nArchitecture: all\\nMaintainer: a <a@b>\\nDescription: d\\n' >p/DEBIAN/control; dpkg-deb -b p >out; dpkg-deb -c p*.deb | awk '{print $1, $2, $6}'",
    "perl": f"touch f; perl -e 'chown 5, 6, \"f\" or die; my @s = stat \"f\"; print \"@s[4,5] $< $> $( $)\\n\"'; {SHOW} f",
    "python": "touch f; /usr/bin/python3 -c 'import os; os.chown(\"f\", 5, 6); s = os.stat(\"f\"); print(s.st_uid, s.st_gid, os.getuid(), os.geteuid(), os.getresgid())'",
    "by descriptor": "/usr/bin/python3 -c 'import os; f = os.open(\"f\", os.O_CREAT); os.fchown(f, 5, 6); os.fchmod(f, 0o4711); s = os.fstat(f); print(s.st_uid, s.st_gid, oct(s.st_mode)); d = os.open(\".\", 0); os.chown(\"f\", 7, 8, dir_fd=d); print(os.stat(\"f\", dir_fd=d).st_uid)'",
    "attributes": "/usr/bin/python3 -c 'import os; os.mknod(\"f\"); os.setxattr(\"f\", \"user.a\", b\"1\"); print(os.listxattr(\"f\")); os.removexattr(\"f\", \"user.a\"); os.chown(\"f\", 1, 2); os.setxattr(\"f\", \"user.b\", b\"2\"); print(os.listxattr(\"f\"), os.getxattr(\"f\", \"user.b\"))'",
    "statuses": "sh -c 'exit 3' || echo $?; sh -c 'kill -9 $$' || echo $?; false || echo $?",
    "a pipeline": f"touch f; chown 1:2 f; cat f | sort | (chown 3 f; wc -l); {SHOW} f",
    "processes at once": f"for n in 1 2 3 4 5 6 7 8; do (touch f$n; chown $n:$n f$n) & done; wait; {SHOW} f?",
    "make -j": "printf 'all: a b c d\\na b c d:\\n\\ttouch $@; chown 5:6 $@\\n' >Makefile; make -s -j4; stat -c '%n %u %g' a b c d",
    "host files": "stat -c '%u %g' / /etc/passwd /usr/bin/env; ls -ln / | awk 'NR > 1 {print $3, $4}' | sort -u",
    "change of a host file": "chown 3:4 /etc/passwd; stat -c '%u %g' /etc/passwd; chown 0:0 /etc/passwd",
}  # fmt: skip
BOUNDARY = "== "


def results(words: tuple[str, ...], directory: Path) -> dict[str, str]:
    """Return what each script prints, by name of the case; each runs in a directory of its own."""
    script = "".join(
        f"printf '{BOUNDARY}%s\\n' '{name}'; mkdir 'd{number}'; cd 'd{number}' || exit\n"
        f"(\nset -eu\n{text}\n) 2>&1; echo status $?\ncd ..\n"
        for number, (name, text) in enumerate(CASES.items())
    )
    directory.mkdir()
    (directory / "script").write_text(script)
    done = run_program([*words, "--", "sh", "script"], cwd=directory)
    assert done.stderr == ""
    parts = [part.split("\n", 1) for part in done.stdout.split(BOUNDARY)[1:]]
    run_program(["chmod", "-R", "u+rwX", directory])
    return dict((name, text) for name, text in parts)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], dict[str, str]]:
    """Return the results of all cases under fakeroot, and under ours."""
    place = tmp_path_factory.mktemp("scripts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        patch.setenv("LC_ALL", "C.UTF-8")
        expected = results(ORACLE, place / "oracle")
        return expected, results(tuple(command("sundog-fakeroot")), place / "ours")


@pytest.mark.parametrize("name", CASES)
def test_a_script_prints_the_same(both: tuple[dict[str, str], dict[str, str]], name: str) -> None:
    expected, found = both
    assert expected[name].endswith("status 0\n")
    assert found[name] == expected[name]


TREE = """
mkdir -m 2750 d; touch d/f d/g; mknod d/c c 1 3; mknod d/b b 511 300; mkfifo d/p; ln -s f d/l
chown 1:2 d/f; chown -h 3:4 d/l; chown 5:6 d d/p; chmod 4755 d/f; chown 7 d/b; chmod 0 d/g
chown 8:9 d/g; touch d/h; chown 1 d/h; ln d/h d/i; touch d/gone; chown 1:1 d/gone; rm d/gone
"""
SHOW_TREE = f"find d | sort | xargs {SHOW}"


@pytest.mark.parametrize("first", ["oracle", "ours"])
@pytest.mark.parametrize("second", ["oracle", "ours"])
def test_each_reads_what_the_other_writes(
    oracle: MockRoot, ours: MockRoot, first: str, second: str
) -> None:
    programs = {"oracle": oracle, "ours": ours}
    writer, reader = programs[first], programs[second]
    shown = writer.sh(TREE + SHOW_TREE, "-s", "state")
    assert "d/b 7 0 61b4 1ff 12c 1" in shown or "d/b 7 0 61a4 1ff 12c 1" in shown
    # The reader changes something, and saves all that it has read.
    changed = reader.sh(f"chown 44 d/f; chmod 711 d/f; {SHOW_TREE}", "-i", "state", "-s", "again")
    expected = shown.replace("d/f 1 2 89ed", "d/f 44 2 81c9")
    assert expected != shown
    assert changed == expected
    assert oracle.sh(SHOW_TREE, "-i", "again") == expected
    assert ours.sh(SHOW_TREE, "-i", "again") == expected
    assert "gone" not in changed


def test_owners_of_files_without_a_record(oracle: MockRoot, ours: MockRoot) -> None:
    script = (
        f"touch f; {SHOW} f; chown 0:0 f; {SHOW} f; chown 1 f; {SHOW} f; "
        f"stat -c '%u %g' / /etc/passwd /proc/self/exe .. ; id; chmod 600 f; {SHOW} f"
    )
    expected = oracle.sh(script, "-u")
    assert f"f {run_program(['id', '-u']).stdout.strip()} " in expected
    ours.sh("rm f")
    assert ours.sh(script, "-u") == expected
