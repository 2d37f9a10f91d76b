"""The cases of Apptainer's command line that it documents and tests, by the numbers of one list.

A case is a line, and what it prints and returns; or a test that tries it, here or elsewhere.
``d`` is the user guide of Apptainer, ``e`` its own tests (e2e), ``s`` its source; each of version
1.4, or 1.5 where 1.4 says nothing.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sundog.front.apptainer.variables import DEFAULT_PATH
from tests.conftest import Completed, command, run_program, until
from tests.front.cli.test_sundog_apptainer import Place
from tests.image.registry.servers import InProcessRegistry

if TYPE_CHECKING:
    from collections.abc import Mapping

ENTRY = """\
FROM bb
ENV SET="image" EMPTY="" QUOTED="a b" LD_LIBRARY_PATH=/i
ENTRYPOINT ["echo", "entry"]
CMD ["cmd"]
WORKDIR /usr
USER 1
"""
ONLY_CMD = 'FROM bb\nCMD ["echo", "cmd"]\n'
NO_ENTRY = "FROM bb\nENTRYPOINT []\nCMD []\n"
FALLBACK = ("USER", "HOME", "PATH", "LANG", "TERM")


@dataclass(frozen=True)
class Case:
    """A line of Apptainer.

    words   after ``apptainer``, as a shell reads them, with {NAME} for a place of ``Cases``
    out     standard output; a regular expression if it begins with ^
    err     standard error; a regular expression if it begins with ^; None: whatever it is
    env     variables of the host
    cwd     the working directory
    """

    number: int
    source: str
    words: str
    status: int = 0
    out: str = ""
    err: str | None = ""
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str = "{work}"


INFO = "^INFO: {4}"
WARNING = "^WARNING: "
FATAL = "^FATAL: {3}"
MISSING = FATAL + r'"nosuch": executable file not found in \$PATH\n'
REST = DEFAULT_PATH.replace(":/bin", "")
CASES = (
    # Statuses and messages
    Case(1, "e", "exec {sif} false", 1),
    Case(1, "e", "exec {docker} false", 1),
    Case(2, "e", "exec {sif}", 1, err=FATAL + "exec: no command\n"),
    Case(2, "e", "exec", 1, err=FATAL + "exec: no image\n"),
    Case(3, "s", "exec {tmp}/none.sif true", 255, err=FATAL + "could not open image {tmp}/none"),
    Case(4, "s", "exec {sif} nosuch", 255, err=MISSING),
    Case(4, "s", "exec {docker} nosuch", 255, err=MISSING),
    Case(4, "s", "exec {box} ./nosuch", 255, err=FATAL),
    Case(5, "s", "exec {sif} sh -c 'kill -9 $$'", -9),
    Case(5, "s", "exec --pid {sif} sh -c 'kill -9 $$'", 137),
    Case(5, "s", "exec --pid {sif} sh -c 'exit 7'", 7),
    Case(6, "s", "exec --writable {sif} true", 255, err=FATAL + "--writable: "),
    Case(6, "s", "exec --nosuch {sif} true", 1, err=FATAL + "unknown option: --nosuch\n"),
    Case(7, "s", "run {none}", err=INFO + "No runscript found in container"),
    Case(7, "s", "-q run {none}"),
    Case(7, "s", "-q exec --cpus 1 {sif} true", err=WARNING + "--cpus 1 has no effect"),
    Case(7, "s", "-s exec --cpus 1 {sif} true"),
    # run
    Case(15, "d", "run {cmd}", out="cmd\n"),
    Case(15, "d", "run {cmd} echo more words", out="more words\n"),
    Case(15, "s", "run {none} echo more words", out="more words\n"),
    Case(15, "d", "run {entry}", out="entry cmd\n"),
    Case(15, "d", "run {entry} more words", out="entry more words\n"),
    Case(16, "e", "run {cmd} echo '$HOME'", out="{home}\n"),
    Case(16, "e", "run --no-eval {cmd} echo '$HOME'", out="$HOME\n"),
    Case(17, "e", "run {cmd} sh -c 'echo \"hello there\"'", out="hello\n"),
    Case(17, "e", "run --no-eval {cmd} sh -c 'echo \"hello there\"'", out="hello there\n"),
    Case(18, "d", "exec {entry} sh -c 'pwd; id -u'", out="{work}\n{uid}\n"),
    Case(19, "s", "run {plain} -c 'echo x'", out="x\n", err=INFO + "No runscript found in"),
    Case(19, "s", "run {none}", err=INFO + "No runscript found in container, executing /bin/sh"),
    # The environment
    Case(20, "d", "exec {entry} sh -c 'echo $SET-$EMPTY-$QUOTED'",
         out="image--a b\n", env={"SET": "host", "EMPTY": "host"}),
    Case(20, "e", "exec {sif} sh -c 'echo $DOCK'", out="image\n", env={"DOCK": "host"}),
    Case(21, "e", "exec {docker} sh -c 'echo $PATH'", out=f"{DEFAULT_PATH}\n"),
    Case(21, "e", "exec {sif} sh -c 'echo $PATH'", out=f"/x:/bin:{REST}\n"),
    Case(22, "e", "exec {docker} sh -c 'echo $PATH'", out=f"{DEFAULT_PATH}:/foo\n",
         env={"APPTAINERENV_APPEND_PATH": "/foo"}),
    Case(22, "e", "exec {docker} sh -c 'echo $PATH'", out=f"/foo:{DEFAULT_PATH}\n",
         env={"APPTAINERENV_PREPEND_PATH": "/foo"}),
    Case(22, "e", "exec {docker} /bin/sh -c 'echo $PATH'", out="/foo\n",
         env={"APPTAINERENV_PATH": "/foo"}),
    Case(23, "e", "exec --env 'PATH=$PATH:/foo' {sif} sh -c 'echo $PATH'",
         out=f"/x:/bin:{REST}:/foo\n"),
    Case(23, "e", "exec --no-eval --env 'A=$PATH' {sif} sh -c 'echo $A'", out="$PATH\n"),
    Case(24, "d", "exec --env A=1 --env-file {file1} {sif} sh -c 'echo $A$B'", out="12\n",
         env={"APPTAINERENV_A": "3", "APPTAINERENV_B": "3"}),
    Case(24, "d", "exec --env-file {file1} --env-file {file2} {sif} sh -c 'echo $A$B'",
         out="42\n"),
    Case(24, "s", "exec {sif} sh -c 'echo $A'", out="1\n", err=INFO + ".*APPTAINERENV_A is pref",
         env={"SINGULARITYENV_A": "1"}),
    Case(24, "s", "exec {sif} sh -c 'echo $A'", out="2\n", err=WARNING + ".*different values",
         env={"SINGULARITYENV_A": "1", "APPTAINERENV_A": "2"}),
    Case(24, "d", "exec {sif} sh -c 'echo $FOO'", out="1\n",
         env={"APPTAINERENV_FOO": "1", "FOO": "2"}),
    Case(25, "s", "exec {sif} sh -c 'echo $HOME'", out="{home}\n",
         err=WARNING + "Overriding HOME environment variable with APPTAINERENV_HOME is not perm",
         env={"APPTAINERENV_HOME": "/x"}),
    Case(26, "s", "exec {sif} sh -c 'echo $APPTAINER_X$SINGULARITY_X-$OTHER'", out="-o\n",
         env={"APPTAINER_X": "1", "SINGULARITY_X": "1", "OTHER": "o"}),
    Case(27, "s", "exec --cleanenv {docker} sh -c 'echo $TERM$http_proxy$NO_PROXY-$OTHER$LANG'",
         out="tp1-C\n",
         env={"TERM": "t", "http_proxy": "p", "NO_PROXY": "1", "OTHER": "o", "LANG": "l"}),
    Case(28, "e", "exec {docker} sh -c 'echo $LD_LIBRARY_PATH'", out="/.singularity.d/libs\n",
         env={"LD_LIBRARY_PATH": "/host"}),
    Case(28, "e", "exec --env LD_LIBRARY_PATH=/foo, {sif} sh -c 'echo $LD_LIBRARY_PATH'",
         out="/foo,:/.singularity.d/libs\n"),
    Case(28, "e", "exec {entry} sh -c 'echo $LD_LIBRARY_PATH'", out="/i:/.singularity.d/libs\n"),
    Case(28, "e", "exec {docker} sh -c 'echo $LD_LIBRARY_PATH'",
         out="/a:/.singularity.d/libs:/b\n",
         env={"APPTAINERENV_PREPEND_LD_LIBRARY_PATH": "/a",
              "APPTAINERENV_APPEND_LD_LIBRARY_PATH": "/b"}),
    Case(29, "e", "exec {sif} sh -c 'echo \"$LINES_\"'", out="a\nb\n", env={"LINES_": "a\nb"}),
    Case(29, "e", "exec {sif} env", out="^(?!.*BASH_FUNC)", env={"BASH_FUNC_x%%": "() { :; }"}),
    Case(30, "d", "exec -B {tmp}:/mnt {sif} sh -c 'echo $APPTAINER_COMMAND $APPTAINER_CONTAINER "
         "$SINGULARITY_NAME $SINGULARITY_BIND $APPTAINER_ENVIRONMENT \"$PS1\"'",
         out="exec {sif} x.sif {tmp}:/mnt /.singularity.d/env/91-environment.sh Apptainer> \n"),
    Case(30, "s", "exec {sif} sh -c 'echo \"$PROMPT_COMMAND\"'",
         out='PS1="Apptainer> "; unset PROMPT_COMMAND\n'),
    Case(31, "e", "exec --no-env FOO {sif} sh -c 'echo $FOO'", out="default\n",
         env={"FOO": "host"}),
    Case(31, "e", "exec {docker} sh -c 'echo $A-$B-$C'", out="--c\n",
         env={"A": "a", "B": "b", "C": "c", "APPTAINER_NOENV": "A,B"}),
    Case(32, "d", "exec {sif} sh -c 'echo $FOO'", out="host\n", env={"FOO": "host"}),
    Case(32, "d", "exec {sif} sh -c 'echo $FOO'", out="default\n"),
    Case(33, "e", "run --runscript-timeout 1s -B {slow}:/.singularity.d/env/91-slow.sh {sif}", 255,
         err=FATAL + "the scripts of variables of the image have not ended within 1 seconds\n"),
    Case(33, "s", "run --runscript-timeout soon {sif}", 1,
         err=FATAL + "--runscript-timeout soon: not a time\n"),
    # Directories
    Case(34, "s", "exec {sif} sh -c 'pwd; ls'", out="{work}\nhere\n"),
    Case(34, "s", "exec {docker} pwd", out="/usr\n", cwd="/usr"),
    Case(34, "s", "exec {docker} sh -c 'pwd; ls /usr/../bin/busybox'", cwd="/",
         out="/\n/usr/../bin/busybox\n"),
    Case(34, "s", "exec {docker} pwd", out="/proc\n", cwd="/proc"),
    Case(34, "s", "exec --pwd /nosuch {sif} pwd", 255, err=FATAL),
    Case(34, "s", "exec --no-mount cwd {docker} pwd", out="{work}\n"),  # it is in /var/tmp
    Case(34, "s", "exec --no-mount tmp,cwd {docker} sh -c 'pwd; echo $PWD'", out="{home}\n" * 2,
         err=WARNING + "Error changing the container working directory. Using '{home}' instead: "),
    Case(34, "s", "exec --no-mount tmp,cwd,home {docker} env -u x pwd", out="/\n",
         err=WARNING + "Error changing the container working directory. Using '/' instead: "),
    Case(34, "s", "exec --no-mount tmp,cwd {docker} pwd", out="/etc\n", cwd="/etc"),
    Case(35, "s", "exec --contain {sif} sh -c 'pwd; ls'", out="{home}\n"),
    Case(36, "e", "exec --home {tmp}:/some/home {sif} sh -c 'echo $HOME; ls ~'",
         out="/some/home\nin tmp\n"),
    Case(36, "e", "exec --home {tmp} {sif} sh -c 'echo $HOME'", out="{tmp}\n"),
    Case(37, "e", "exec --workdir {out}/w --contain {sif} touch /tmp/a /var/tmp/b /home/c",
         env={"HOME": "/home"}),
    Case(38, "e", "exec --containall --no-init {sif} sh -c 'echo $$'", out="1\n"),
    Case(38, "e", "exec --containall --no-pid {sif} sh -c 'test $$ != 1'"),
    Case(39, "e", "exec --no-home --home {tmp}:/some/home {sif} ls /some/home", 1, err=None),
    Case(40, "d", "exec {sif} sh -c umask", out="0077\n"),
    Case(40, "d", "exec --no-umask {sif} sh -c umask", out="0022\n"),
    Case(40, "d", "exec --fakeroot {docker} sh -c umask", out="0022\n"),
)  # fmt: skip

CLI, BUILD = "../cli/test_sundog_apptainer.py::", "../cli/test_apptainer_build.py::"
INSTANCE, INSPECT = "../cli/test_apptainer_instance.py::", "../cli/test_apptainer_inspect.py::"
PARSE = "../../image/definition/test_parse.py::"
PLAN = "../../image/builder/test_definition_plan.py::"
PULL, STARTED = "::test_cases_9_to_14_pull", "::test_cases_41_to_45_instances"
# The tests of the other cases, relative to this file: number: (source, tests).
TESTS = {
    8: ("d", ["::test_case_8_both_names_print_the_version", f"{CLI}test_version"]),
    9: ("s", [PULL]),  # names of files
    10: ("s, e", [PULL]),  # what is there stays, without --force
    11: ("e", [PULL]),  # --dir
    12: ("s", [PULL]),  # no transport: 255
    13: ("s", [PULL]),  # pull NAME URI, and --name
    14: ("e", [PULL]),  # --sandbox
    41: ("e", [STARTED, f"{INSTANCE}test_a_startscript"]),
    42: ("d, s", [STARTED]),  # list
    43: ("s", [STARTED, f"{INSTANCE}test_a_process_that_does_not_end"]),
    44: ("e", [STARTED, f"{INSTANCE}test_a_startscript"]),  # logs, --pid-file
    45: ("e", [STARTED, f"{INSTANCE}test_ghosts_go"]),
    46: ("e, s", [f"{INSPECT}test_json", f"{INSPECT}test_text"]),
    47: ("e", ["::test_case_47_an_overlay_is_made_once", f"{CLI}test_overlays"]),
    48: ("s", [f"{PARSE}test_whole", f"{PARSE}test_faults"]),
    49: ("s", [f"{PLAN}test_order", *(f"{BUILD}test_{name}" for name in (
        "the_host_of_setup", "files", "shells", "test"))]),
    50: ("d", [f"{BUILD}test_targets_and_values", f"{PARSE}test_templates"]),  # --build-arg
    51: ("d", [f"{BUILD}test_what_post_sees"]),
    52: ("d", [f"{BUILD}test_metadata"]),  # $APPTAINER_ENVIRONMENT, $APPTAINER_LABELS
    53: ("d", [f"{BUILD}test_metadata"]),  # a first line with an interpreter
    54: ("s", [f"{BUILD}test_metadata"]),  # bootstrap_history
    55: ("d", [f"{BUILD}test_sections_and_update", f"{BUILD}test_test"]),
    56: ("s", [f"{BUILD}test_metadata", f"{CLI}test_apps"]),
    57: ("s", ["::test_case_57_a_file_that_runs"]),
}  # fmt: skip
LAST = 57


def test_each_case_is_tried() -> None:
    """All numbers are in the tables, and the tests that these name exist."""
    assert {case.number for case in CASES} | {*TESTS} == {*range(1, LAST + 1)}
    assert not {case.number for case in CASES} & {*TESTS}
    here = Path(__file__)
    for number, (source, tests) in TESTS.items():
        assert set(source.split(", ")) <= {"d", "e", "s"}, number
        for test in tests:
            file, _, name = test.partition("::")
            text = (here.parent / file).read_text() if file else here.read_text()
            assert f"\ndef {name}(" in text, (number, test)


class Cases:
    """The places and images of the cases."""

    def __init__(self, path: Path, busybox: Path) -> None:
        self.place = place = Place(path, busybox)
        self.tmp = path / "tmp"
        self.out = path / "out"
        self.tmp.mkdir()
        self.out.mkdir()
        (self.tmp / "in tmp").touch()
        (place.work / "here").touch()
        (path / "plain").mkdir()
        subprocess.run(["tar", "-xf", busybox, "-C", path / "plain"], check=True)
        names = {"cmd": ONLY_CMD, "entry": ENTRY, "none": NO_ENTRY}
        for name, text in names.items():
            (self.tmp / name).mkdir()
            (self.tmp / name / "Dockerfile").write_text(text)
            argv = [*command("ch-image"), "build", "-t", name, str(self.tmp / name)]
            run_program(argv, env=place.environment)
            shutil.rmtree(self.tmp / name)
        files = {"file1": "A=2\nB=2\n", "file2": "A=4\n", "slow": "sleep 60\n"}
        for name, text in files.items():
            (path / name).write_text(text)
        self.names = {
            **{name: str(path / name) for name in files},
            **{name: f"docker://{name}" for name in names},
            "docker": "docker://bb",
            "box": str(place.sandbox),
            "sif": str(place.sif),
            "plain": str(path / "plain"),
            "home": str(place.home),
            "out": str(self.out),
            "tmp": str(self.tmp),
            "uid": str(os.geteuid()),
            "work": str(place.work),
        }

    def filled(self, text: str, *, is_pattern: bool = False) -> str:
        """Return the text with the places and images."""
        for name, value in self.names.items():
            text = text.replace(f"{{{name}}}", re.escape(value) if is_pattern else value)
        return text

    def run(self, case: Case) -> Completed:
        """Run the line of a case, with the umask 0077."""
        words = [self.filled(word) for word in shlex.split(case.words)]
        kept = {name: os.environ[name] for name in FALLBACK if name in os.environ}
        env = [f"{name}={value}" for name, value in
               (kept | self.place.environment | dict(case.env)).items()]  # fmt: skip
        script = 'umask 0077; exec "$@"'
        argv = ["env", "-i", *env, "sh", "-c", script, "sh", *command("sundog"), "apptainer"]
        return run_program([*argv, *words], check=False, cwd=Path(self.filled(case.cwd)))

    def check(self, case: Case) -> None:
        """Fail unless the line does what the case says."""
        done = self.run(case)
        assert done.returncode == case.status, done
        for shown, expected in ((done.stdout, case.out), (done.stderr, case.err)):
            if expected is None:
                continue
            if expected.startswith("^"):
                pattern = self.filled(expected, is_pattern=True)
                assert re.match(pattern, shown, re.DOTALL), done
            else:
                assert shown == self.filled(expected), done


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory, busybox_tar: Path) -> Cases:
    return Cases(tmp_path_factory.mktemp("cases"), busybox_tar)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.number}: {case.words}")
def test_case(cases: Cases, case: Case) -> None:
    cases.check(case)


def test_case_37_leaves_its_files_in_workdir(cases: Cases) -> None:
    cases.check(next(case for case in CASES if case.number == 37))
    made = {path.name: path.parent.name for path in (cases.out / "w").rglob("?")}
    assert made == {"a": "tmp", "b": "var_tmp", "c": "home"}


def test_case_8_both_names_print_the_version(cases: Cases) -> None:
    (cases.out / "bin").mkdir()
    cases.place.run("links", cases.out / "bin")
    for name in ("apptainer", "singularity"):
        done = subprocess.run(
            [cases.out / "bin" / name, "--version"], capture_output=True, text=True, check=True
        )
        assert re.fullmatch(r"apptainer version 1\.4\.5-sundog\S+\n", done.stdout)


def test_case_34_a_link_that_leads_elsewhere_inside(cases: Cases) -> None:
    """The working directory of the host is not shown by a link that the image has, too."""
    link = cases.out / "link"
    link.symlink_to(cases.place.work)
    script = f'cd "{link}" && exec "$@"'
    argv = ["sh", "-c", script, "sh", *command("sundog"), "apptainer", "exec", cases.names["sif"]]
    done = run_program([*argv, "sh", "-c", "pwd -P; ls"], env=cases.place.environment)
    assert done.stdout == f"{cases.place.work}\nhere\n"


def test_cases_9_to_14_pull(cases: Cases) -> None:
    """Names of files, what is not overwritten, and sandboxes (s, e)."""
    place = cases.out / "pull"
    place.mkdir()

    def pull(*words: str) -> tuple[int, str]:
        done = cases.place.run("-q", "pull", *words, cwd=place, check=False)
        return done.returncode, done.stderr.partition("\n")[0]

    with InProcessRegistry().serve() as served:
        env = cases.place.environment
        for tag in ("c", "latest"):
            run_program([*command("ch-image"), "push", "bb", f"{served.host}/a/b:{tag}"], env=env)
        name = f"docker://{served.host}/a/b"
        assert pull(f"{name}:c") == (0, "")
        assert pull(name) == (0, "")
        there = 'FATAL:   Image file already exists: "b_c.sif" - will not overwrite'
        assert pull(f"{name}:c") == (255, there)
        before = (place / "b_c.sif").stat().st_ino
        assert pull("--force", f"{name}:c") == (0, "")
        assert (place / "b_c.sif").stat().st_ino != before
        assert pull("x.sif", name) == (0, "")
        assert pull("--name", "y.sif", name) == (0, "")
        (place / "dir").mkdir()
        assert pull("--dir", "dir", name) == (0, "")
        assert pull("--dir", "dir", "--name", "/z.sif/no", name)[0] == 255
        assert pull("--sandbox", "box", name) == (0, "")
        assert pull("debian") == (255, "FATAL:   No transport type URI supplied")
    assert sorted(path.name for path in place.iterdir()) == [
        *("b_c.sif", "b_latest.sif", "box", "dir", "x.sif", "y.sif"),
    ]
    assert [path.name for path in (place / "dir").iterdir()] == ["b_latest.sif"]
    assert (place / "x.sif").stat().st_mode & 0o777 == 0o755
    for image in ("x.sif", "box"):
        assert cases.place.run("run", place / image, "echo", "$HOME").stdout.split() == [
            str(cases.place.home)
        ]


def test_cases_41_to_45_instances(cases: Cases) -> None:
    """One name is one instance; lists, logs, and ghosts (e, d, s)."""

    def told(*words: str) -> tuple[int, str]:
        done = cases.place.run("instance", *words, check=False)
        return done.returncode, done.stdout + done.stderr.partition("\n")[0]

    pid_file = cases.out / "pid"
    assert told("start", "--pid-file", str(pid_file), "docker://bb", "n1")[0] == 0
    try:
        again = told("start", "docker://bb", "n1")
        assert (again[0], "instance n1 already exists" in again[1]) == (255, True)
        header, row = told("list")[1].strip().splitlines()
        assert header.split() == ["INSTANCE", "NAME", "PID", "IP", "IMAGE"]
        assert row.split()[:2] == ["n1", pid_file.read_text().strip()]
        text = told("list", "--json", "n*")[1]
        assert text.startswith('{\n\t"instances": [')
        (found,) = json.loads(text)["instances"]
        keys = {"instance", "pid", "img", "ip", "logErrPath", "logOutPath"}
        assert keys <= set(found)
        assert told("list", "*2")[1].count("\n") <= 1
        done = cases.place.run("exec", "instance://n1", "sh", "-c", "test $$ != 1; echo in")
        assert done.stdout == "in\n"
        none = told("stop", "n2")
        assert (none[0], "no instance found" in none[1]) == (255, True)
        os.kill(found["pid"], signal.SIGKILL)  # it becomes a ghost
        until(lambda: told("start", "docker://bb", "n1")[0] == 0)
    finally:
        assert told("stop", "-a")[0] == 0
    assert told("stop", "-a")[0] == 255


def test_case_47_an_overlay_is_made_once(cases: Cases) -> None:
    cases.place.run("overlay", "create", cases.out / "changes")
    done = cases.place.run("overlay", "create", cases.out / "changes", check=False)
    assert (done.returncode, done.stderr.startswith("FATAL:   ")) == (255, True)


def test_case_57_a_file_that_runs(cases: Cases) -> None:
    (cases.out / "path").mkdir()
    cases.place.run("links", cases.out / "path")
    env = cases.place.environment | {"PATH": f"{cases.out}/path:/usr/bin:/bin"}
    done = run_program([cases.names["sif"], "a", "b"], env=env, check=False)
    assert (done.returncode, done.stdout) == (3, "runscript a b default\n")
