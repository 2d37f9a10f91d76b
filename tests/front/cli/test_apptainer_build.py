"""``sundog apptainer build``: definition files, with real namespaces."""

from __future__ import annotations

import json
import os
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.conftest import Completed, command, run_program
from tests.front.cli.test_apptainer_images import serving

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

STEP = re.compile(r"INFO: +(\d+)([*.]) (.*)")
MADE_BY_ROOT = """\
Bootstrap: docker
From: bb

%post
    test "$(id -u)" = 0
    echo a > /a; chown 5:6 /a
    cp /bin/busybox /setid; chmod 4755 /setid
    mknod /null c 1 3
    echo daemon:x:1:1::/:/bin/sh >> /etc/passwd; echo daemon:x:1: >> /etc/group
    mkdir -m 777 /pub; su -s /bin/sh daemon -c 'id -u > /pub/who; touch /pub/daemons'
    cat /pub/who
"""
OWNERS = {"/a": "5:6 644", "/setid": "0:0 4755", "/null": "0:0 644", "/pub/daemons": "1:1 644"}
LOOK = "stat -c '%n %u:%g %a' /a /setid /null /pub/daemons"


STORED = "docker://built"  # the quickest target


class Bench:
    """A storage directory with the image bb, and a directory to work in."""

    def __init__(self, path: Path, storage: Path) -> None:
        self.path = path
        self.work = path / "work"
        for directory in (self.work, path / "home", path / "run"):
            directory.mkdir(mode=0o700)
        self.environment = {
            "CH_IMAGE_STORAGE": str(storage),
            "XDG_RUNTIME_DIR": str(path / "run"),
            "HOME": str(path / "home"),
            "TMPDIR": "",
        }

    def write(self, name: str, text: str) -> Path:
        """Write a file to the working directory."""
        path = self.work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def run(
        self, *words: str | Path, check: bool = True, env: Mapping[str, str] | None = None
    ) -> Completed:
        """Run ``sundog apptainer``."""
        argv = [*command("sundog"), "apptainer", *map(str, words)]
        environment = self.environment | dict(env or {})
        return run_program(argv, check=check, env=environment, cwd=self.work)

    def build(
        self,
        definition: str,
        *options: str,
        target: str = STORED,
        check: bool = True,
        env: Mapping[str, str] | None = None,
    ) -> Completed:
        """Build ``definition`` to an image in storage, or to a directory; replace what is there."""
        self.write("x.def", definition)
        words = ("build", "--force", "--sandbox", *options, target, "x.def")
        return self.run(*words, check=check, env=env)

    def refused(self, definition: str, *options: str) -> str:
        """Build what can't be built; return the lines of the error."""
        done = self.build(definition, *options, target="never", check=False)
        assert done.returncode == 255, done
        assert not (self.work / "never").exists()
        return done.stderr[done.stderr.index("FATAL:") :]

    def text(self, path: str, target: str = "out") -> str:
        """Return a file of the directory that was built."""
        return (self.work / target / path).read_text()


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory, busybox_tar: Path) -> Path:
    """Return the storage directory with bb that all tests share."""
    path = tmp_path_factory.mktemp("storage") / "storage"
    run_program([*command("ch-image"), "-s", path, "import", busybox_tar, "bb"])
    return path


@pytest.fixture
def bench(tmp_path: Path, storage: Path) -> Bench:
    return Bench(tmp_path, storage)


def steps(done: Completed) -> dict[str, str]:
    """Return the status of each step by its text."""
    found = (STEP.fullmatch(line) for line in done.stderr.splitlines())
    return {match[3]: match[2] for match in found if match}


def owners(text: str) -> dict[str, str]:
    return dict(line.split(" ", 1) for line in text.splitlines())


def test_post_is_root(bench: Bench) -> None:
    """A SIF, and a directory, have what real root would have made."""
    done = bench.build(MADE_BY_ROOT, target="out")
    assert "1\n" in done.stdout
    assert owners(bench.run("exec", "--fakeroot", "out", "sh", "-c", LOOK).stdout) == OWNERS
    bench.run("build", "x.sif", "x.def")
    listed = subprocess.run(
        ["unsquashfs", "-o", str(offset(bench.work / "x.sif")), "-lln", bench.work / "x.sif"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert re.search(r"^-rw-r--r-- 5/6 .* squashfs-root/a$", listed, re.MULTILINE)
    assert re.search(r"^-rwsr-xr-x 0/0 .* squashfs-root/setid$", listed, re.MULTILINE)
    assert re.search(r"^crw-r--r-- 0/0 +1, +3 .* squashfs-root/null$", listed, re.MULTILINE)
    assert re.search(r"^-rw-r--r-- 1/1 .* squashfs-root/pub/daemons$", listed, re.MULTILINE)


def offset(sif: Path) -> int:
    """Return the place of SquashFS in a SIF."""
    return sif.read_bytes().index(b"hsqs")


def test_the_cache(bench: Bench) -> None:
    """%files and %post are cached by content, nothing is after %setup or %pre."""
    bench.write("data", "one")
    text = "Bootstrap: docker\nFrom: bb\n%files\n data /data\n%post\n cat /data\n"
    first = bench.build(text)
    assert steps(first)["%post cat /data"] == "."
    assert set(steps(bench.build(text)).values()) == {"*"}
    os.utime(bench.work / "data", (1, 1))
    assert set(steps(bench.build(text)).values()) == {"*"}
    bench.write("data", "two")
    again = bench.build(text)
    assert steps(again)["%files data /data"] == steps(again)["%post cat /data"] == "."
    assert again.stdout == "two"
    changed = steps(bench.build(f"{text}%environment\n A=1\n"))
    assert changed["%post cat /data"] == "*"
    assert changed["metadata %environment"] == "."
    assert set(steps(bench.build(text, "--disable-cache")).values()) == {"*", "."}
    for name in ("setup", "pre"):
        host = f"{text}%{name}\n echo {name} >> {name}.log\n"
        bench.build(host)
        done = bench.build(host)
        assert steps(done)["%post cat /data"] == "."
        assert done.stdout == "two"
        assert (bench.work / f"{name}.log").read_text() == f"{name}\n" * 2


def test_the_host_of_setup(bench: Bench) -> None:
    """%setup runs on the host as mock root, and $APPTAINER_ROOTFS is the tree."""
    text = """\
Bootstrap: docker
From: bb
%setup
    test "$(id -u)" = 0; test "$PWD" = {work}; test "$VISIBLE" = yes
    test -z "${{APPTAINER_HIDDEN-}}"; test -e $SINGULARITY_ROOTFS/bin/busybox
    mkdir -m 750 $APPTAINER_ROOTFS/made; chown 7:8 $APPTAINER_ROOTFS/made
    chown 9 $APPTAINER_ROOTFS/etc/passwd
    echo $APPTAINER_ROOTFS > place
%files
    place /made/
%post
    stat -c '%n %u:%g %a' /made /etc/passwd /made/place
    ls /tmp
"""
    env = {"VISIBLE": "yes", "APPTAINER_HIDDEN": "x"}
    done = bench.build(text.format(work=bench.work), env=env)
    assert done.stdout == "/made 7:8 750\n/etc/passwd 9:0 644\n/made/place 0:0 644\n"
    place = (bench.work / "place").read_text().strip()
    assert not os.path.lexists(os.path.dirname(place))
    fault = bench.refused("Bootstrap: docker\nFrom: bb\n%setup\n exit 3\n")
    assert fault.startswith("FATAL:   x.def:3: build failed: %setup exited with 3\n")


def test_what_post_sees(bench: Bench) -> None:
    """The environment is clean, but for that of the base, and proxies."""
    bench.write("Dockerfile", "FROM bb\nENV DOCKER='a b' PATH=/bin:/x\nUSER daemon\nWORKDIR /tmp\n")
    words = [*command("ch-image"), "build", "-t", "with", "."]
    run_program(words, env=bench.environment, cwd=bench.work)
    text = (
        "Bootstrap: docker\nFrom: with\n%environment\n export NOT=here\n%post\n env; pwd; id -un\n"
    )
    env = {"HOSTS": "1", "USER": "ada", "http_proxy": "http://proxy"}
    lines = bench.build(text, target="out", env=env).stdout.splitlines()
    assert lines[-2:] == ["/", "root"]
    found = dict(line.split("=", 1) for line in lines[:-2])
    assert found.keys() <= {
        *("HOME", "LANG", "PATH", "DOCKER", "PWD", "SHLVL", "CH_RUNNING", "http_proxy"),
        *("APPTAINER_ENVIRONMENT", "SINGULARITY_ENVIRONMENT"),
        *("APPTAINER_LABELS", "SINGULARITY_LABELS", "OLDPWD"),
    }
    assert (found["HOME"], found["LANG"], found["PATH"]) == ("/root", "C", "/bin:/x")
    assert (found["DOCKER"], found["http_proxy"]) == ("a b", "http://proxy")
    assert found["APPTAINER_ENVIRONMENT"] == "/.singularity.d/env/91-environment.sh"
    done = bench.run("exec", "out", "sh", "-c", 'echo "$NOT $DOCKER"')
    assert done.stdout == "here a b\n"


def test_shells(bench: Bench) -> None:
    """``-ex``, options of sh, and another shell."""
    head = "Bootstrap: docker\nFrom: bb\n"
    fault = bench.refused(f"{head}%post\n false\n touch /after\n")
    assert fault.startswith("FATAL:   x.def:3: build failed: %post exited with 1\n")
    assert "hint: look at the state before it: ch-run -W" in fault
    words = "%post -c /bin/busybox sh # comment\n tr '\\0' ' ' < /proc/$$/cmdline\n"
    done = bench.build(head + words)
    assert done.stdout == "/bin/busybox sh /run/.heredocs/script "
    assert "%post exited with 2" in bench.refused(f"{head}%post -u\n echo $UNSET\n")
    fault = bench.refused(f"{head}%post -c\n true\n")
    assert "x.def:3: %post -c needs a shell" in fault
    fault = bench.refused("Bootstrap: scratch\n%post\n true\n")
    assert "x.def:2: " in fault
    large = f"{head}%post\n : {'x' * (10 << 20)}\n echo large\n"
    assert bench.build(large).stdout == "large\n"


def test_files(bench: Bench) -> None:
    """As ``cp -fLr``; of a stage, links stay."""
    bench.write("tree/sub/file", "file")
    bench.write("with blank", "blank")
    bench.write("a.txt", "a")
    bench.write("b.txt", "b")
    (bench.work / "tree/link").symlink_to(bench.write("target", "target"))
    (bench.work / "tree/dirs").symlink_to("sub")
    (bench.work / "tree/sub/file").chmod(0o6775)
    outside = bench.path / "outside"
    outside.write_text("outside")
    text = f"""\
Bootstrap: docker
From: bb
Stage: one
%files
    tree /new
    tree /etc
    tree/sub/file /deep/er/name
    tree/sub/file /opt/
    "with blank" "/to blank"
    *.txt /texts
    ../outside /from/..//up
    {outside}
    a.txt ../../../climbs
    a.txt
%post
    ln -s /new/sub/file /absolute; mkdir /more; ln -s ../a.txt /more/relative
    chown 3:4 /a.txt; ln -s ../../../../etc/passwd /more/climbs
Bootstrap: docker
From: bb
%files from one
    /more /more
    /absolute /resolved
    /a.txt /opt/
    /texts/?.txt /
%post
    test -L /more/relative; test -L /more/climbs; test ! -L /resolved
    stat -c '%n %u:%g %a' /resolved /opt/a.txt /a.txt /b.txt
"""
    done = bench.build(text)
    assert owners(done.stdout) == {
        "/resolved": "0:0 755",
        "/opt/a.txt": "0:0 644",
        "/a.txt": "0:0 644",
        "/b.txt": "0:0 644",
    }
    bench.build(text.partition("Bootstrap: docker\nFrom: bb\n%files from")[0], target="one")
    expected = {
        "new/sub/file": "file",
        "new/dirs/file": "file",
        "new/link": "target",
        "etc/tree/sub/file": "file",
        "deep/er/name": "file",
        "opt/file": "file",
        "to blank": "blank",
        "texts/a.txt": "a",
        "texts/b.txt": "b",
        "up": "outside",
        str(outside).lstrip("/"): "outside",
        "climbs": "a",
        "a.txt": "a",
    }
    assert {path: bench.text(path, "one") for path in expected} == expected
    assert not (bench.work / "one/new/link").is_symlink()


FILES_FAULTS = {
    "nosuch /x": "%files: source not found: ",
    "*.nosuch /x": "%files: no file matches *.nosuch",
    "loop /x": "%files: can't copy: a symlink leads to a directory above it: ",
    "dangling /x": "%files: source not found: ",
    "around /x": "%files: can't copy: a symlink leads nowhere: ",
    "[ /x": "%files: ",
    "file /bin": "",
    "/dev/null /x": "%files: can't copy: unknown file type: ",
    "tree /etc/passwd": "%files: not a directory in the image: ",
}


def test_files_faults(bench: Bench) -> None:
    """Each line that can't be copied is named, and nothing is made."""
    bench.write("file", "file")
    bench.write("tree/file", "file")
    (bench.work / "dangling").symlink_to("nowhere")
    for name in ("loop", "around"):
        (bench.work / name).mkdir()
    (bench.work / "loop/self").symlink_to(".")
    (bench.work / "around/link").symlink_to("nowhere")
    for line, message in FILES_FAULTS.items():
        if message:
            text = f"Bootstrap: docker\nFrom: bb\n%files\n\n {line}\n"
            assert bench.refused(text).startswith(f"FATAL:   x.def:5: {message}"), line
    text = (
        "Bootstrap: docker\nFrom: bb\nStage: a\nBootstrap: docker\nFrom: bb\n%files from a\n x y\n"
    )
    assert bench.refused(text).startswith("FATAL:   x.def:7: %files: source not found: /x")


def test_metadata(bench: Bench) -> None:
    """All sections that become files; what %post writes; and those of a base before."""
    text = """\
Bootstrap: docker
From: bb
%environment
    export FOO=${FOO:-default}
%labels
    Author me and you
    Author2
%help
    Some help.
%runscript
    echo run $FOO $NOW "$@"
%startscript

    #!/bin/busybox sh
    echo start
%test
    test "$FOO" = default
    touch /tested
%post
    echo 'export NOW="x y"' >> $APPTAINER_ENVIRONMENT
    echo "from.post  yes" >> $SINGULARITY_LABELS
    . /.singularity.d/env/10-docker*.sh
    rm -rf /bin/vi
%appinstall one
    touch here; test $SCIF_APPNAME = one
%apprun one
    echo app one "$@"
%appenv one
    export ONE=1
%applabels one
    a b
%apphelp one
    help one
%appfiles one
    x.def bin/
%appinstall two
    test -e ../one/here
"""
    bench.build(text, target="out")
    done = bench.run("run", "out", "a  b", env={"FOO": "given"})
    assert done.stdout == "run given x y a  b\n"
    place = bench.work / "out/.singularity.d"
    labels = json.loads((place / "labels.json").read_text())
    assert labels["Author"] == "me and you"
    assert (labels["Author2"], labels["from.post"]) == ("", "yes")
    assert labels["org.label-schema.usage.singularity.deffile.from"] == "bb"
    assert (place / "runscript.help").read_text() == "    Some help.\n"
    assert (place / "startscript").read_text().startswith("#!/bin/busybox sh\n")
    assert (place / "Singularity").read_text() == text
    assert not (place / "post-labels").exists()
    assert not (bench.work / "out/tested").exists()
    app = bench.work / "out/scif/apps/one"
    assert sorted(os.listdir(app)) == ["bin", "here", "lib", "scif"]
    assert (app / "bin/x.def").read_text() == text
    assert sorted(os.listdir(app / "scif")) == [
        *("env", "labels.json", "runscript", "runscript.help"),
    ]
    assert json.loads((app / "scif/labels.json").read_text()) == {"SCIF_APP_NAME": "one", "a": "b"}
    exports = (place / "env/94-appsbase.sh").read_text()
    assert 'export SCIF_APPRUN_one="/scif/apps/one/scif/runscript"\n' in exports
    assert "SCIF_APPRUN_two" not in exports
    assert bench.run("run", "--app", "one", "out", "x").stdout == "app one x\n"
    script = 'echo "$ONE $SCIF_APPNAME $PATH"'
    shown = bench.run("exec", "--app", "one", "out", "sh", "-c", script).stdout
    assert shown.startswith("1 one /scif/apps/one/bin:")
    for base, name in (("out", "second"), ("x.sif", "third")):
        if base == "x.sif":
            bench.run("build", "x.sif", "x.def")
        more = f"Bootstrap: localimage\nFrom: {base}\n%labels\n Author other\n"
        bench.write("more.def", more)
        bench.run("build", "--sandbox", name, "more.def")
        place = bench.work / name / ".singularity.d"
        assert (place / "bootstrap_history/Apptainer0").read_text() == text
        assert (place / "Singularity").read_text() == more
        labels = json.loads((place / "labels.json").read_text())
        assert (labels["Author"], labels["from.post"]) == ("other", "yes")
        assert bench.run("run", name, "c").stdout == "run default x y c\n"
    assert bench.run("run", "x.sif", "d").stdout == "run default x y d\n"


def test_a_dockerfile_upon_a_definition(bench: Bench) -> None:
    """A SIF has its ENTRYPOINT, CMD, ENV and LABEL, and what the definition says beside them."""
    ch_image = [*command("ch-image"), "build"]

    def image(name: str, dockerfile: str) -> Path:
        bench.write("Dockerfile", dockerfile)
        run_program([*ch_image, "-t", name, "."], env=bench.environment, cwd=bench.work)
        bench.run("build", "--force", f"{name}.sif", f"docker://{name}")
        return bench.work / f"{name}.sif"

    image("plain", "FROM bb\nENV A=1 B=1 PATH=/old:/bin\nCMD echo old\n")
    text = "Bootstrap: docker\nFrom: plain\n%labels\n L given\n%environment\n export E=1\n"
    bench.build(text, target="docker://defined")
    more = "ENV B=2 C=2 PATH=/new:/bin\nLABEL L=other M=new\n"
    made = image("more", f'FROM defined\n{more}CMD ["sh", "-c", "echo new"]\n')
    assert bench.run("run", made).stdout == bench.run("run", "docker://more").stdout == "new\n"
    script = "echo $A$B$C$E ${PATH%%:*}"
    assert bench.run("exec", made, "sh", "-c", script).stdout == "1221 /new\n"
    labels = json.loads(bench.run("inspect", "--json", made).stdout)["data"]["attributes"]["labels"]
    assert (labels["L"], labels["M"]) == ("given", "new")
    bench.build(f"{text}%runscript\n echo run $B $E $*\n", target="docker://scripted")
    assert bench.run("run", image("more", f"FROM scripted\n{more}"), "x").stdout == "run 2 1 x\n"
    made = image("more", f'FROM scripted\n{more}ENTRYPOINT ["echo"]\n')
    assert bench.run("run", made, "x").stdout == "x\n"
    bench.build(f"Bootstrap: localimage\nFrom: {made}\n", target="docker://local")
    made = image("again", 'FROM local\nENV D=3\nCMD ["y"]\n')
    assert bench.run("exec", made, "sh", "-c", f"{script}$D").stdout == "1221 /new3\n"


def test_test(bench: Bench) -> None:
    """A %test that fails is the build's failure; -T leaves it out."""
    text = "Bootstrap: docker\nFrom: bb\n%post\n true\n%test\n exit 4\n"
    assert "x.def:5: build failed: %test exited with 4" in bench.refused(text)
    bench.build(text, "--notest")
    bench.build(text, "-T")
    bench.build(text, "--section", "post", target="out")
    assert bench.run("test", "out", check=False).returncode != 4


def test_sections_and_update(bench: Bench) -> None:
    text = (
        "Bootstrap: docker\nFrom: bb\n%post\n echo >> /n\n%files\n x.def /f\n%environment\n A=1\n"
    )
    bench.build(text, "--section", "post,labels", target="out")
    assert bench.text("n") == "\n"
    assert not (bench.work / "out/f").exists()
    assert "A=1" not in bench.text(".singularity.d/env/90-environment.sh")
    bench.run("build", "--update", "--section", "post", "out", "x.def")
    assert bench.text("n") == "\n\n"
    bench.write("bare.def", "%post\n echo bare > /bare\n")
    bench.run("build", "--sandbox", "--update", "out", "bare.def")
    assert (bench.text("bare"), bench.text("n")) == ("bare\n", "\n\n")
    done = bench.build(text, "--section", "pots", check=False)
    assert (done.returncode, "no such section: pots" in done.stderr) == (1, True)
    done = bench.run("build", "--update", "nosuch", "x.def", check=False)
    assert (done.returncode, "--update: no such directory" in done.stderr) == (1, True)


def test_targets_and_values(bench: Bench) -> None:
    """What is there stays without --force; values; binds; a name in storage."""
    bench.write("bound/file", "bound\n")
    text = "Bootstrap: docker\nFrom: {{ BASE }}\n%arguments\n BASE=nosuch\n%post\n {{ WHAT }}\n"
    bench.write("x.def", text)
    bench.write("values", "# comment\nBASE = bb\nWHAT=exit 7\n")
    words = ("build", "-s", "--build-arg-file", "values", "--build-arg", "WHAT=cat /b/file")
    done = bench.run(*words, "--bind", "bound:/b", "out", "x.def")
    assert done.stdout == "bound\n"
    assert not (bench.work / "out/b").exists()
    bench.write("x.def", f"{text}%setup\n test ! -e /b\n")
    bench.run(*words, "--bind", "bound:/b", "--force", "out", "x.def")
    bench.write("x.def", text)
    done = bench.run(*words, "-B", "bound:/b:ro", "out", "x.def", check=False)
    assert done.returncode == 255
    assert "build target already exists: out" in done.stderr
    done = bench.run(*words, "--build-arg", "MORE=1", "new", "x.def", check=False)
    assert (done.returncode, "not used: MORE" in done.stderr) == (1, True)
    fault = bench.refused(text, "--build-arg", "BASE=bb")
    assert fault.startswith("FATAL:   x.def:6: no value for {{ WHAT }}")
    done = bench.build(
        *(text, "--build-arg", "BASE=bb", "--build-arg", "WHAT=true", "--build-arg", "M=1"),
        "--warn-unused-build-args",
    )
    assert "WARNING: --build-arg: not used: M" in done.stderr
    bench.write("named.def", "Bootstrap: docker\nFrom: bb\n%runscript\n echo named $1\n")
    bench.run("build", "docker://named", "named.def")
    assert bench.run("run", "docker://named", "x").stdout == "named x\n"
    done = bench.run("build", "x.def", check=False)
    assert (done.returncode, "not TARGET SOURCE" in done.stderr) == (1, True)
    assert "--fakeroot" in bench.run("build", "--help").stdout
    assert (
        bench.run(
            "build", "--fakeroot", "--fix-perms", "x.sandbox", "nosuch.def", check=False
        ).returncode
        == 255
    )


HOSTILE = """\
FROM bb
RUN mkdir -p /.singularity.d/env && cd /.singularity.d && mkfifo labels.json \\
    && ln -s /etc/passwd Singularity && ln -s /nowhere/at/all runscript \\
    && ln -s ../../../../../../..{outside} /scif && mkdir post-labels
"""


def test_hostile_base(bench: Bench) -> None:
    """No link of a base leads out of the image; what is in the way is named."""
    outside = bench.path / "outside"
    outside.mkdir()
    bench.write("Dockerfile", HOSTILE.format(outside=outside))
    words = [*command("ch-image"), "build", "-t", "hostile", "."]
    run_program(words, env=bench.environment, cwd=bench.work)
    text = "Bootstrap: docker\nFrom: hostile\n%runscript\n echo run\n%appinstall a\n touch x\n"
    bench.build(text, target="out")
    assert bench.run("run", "out").stdout == "run\n"
    assert os.listdir(outside) == []
    assert (bench.work / "out/.singularity.d/runscript").read_text().startswith("#!/bin/sh\n")
    assert "root" in bench.text("etc/passwd")
    text = f"{text}%post\n mkdir -p /.singularity.d/runscript.help/x\n%help\n words\n"
    assert "a directory is in the way: /.singularity.d/runscript.help" in bench.refused(text)


AGENTS = {
    "docker-archive": "docker.tar",
    "oci-archive": "oci.tar",
    "oci": "layout",
    "localimage": "bb.sqfs",
    "dockerfile": "context",
}


def test_agents(bench: Bench) -> None:
    """Bases of the host: archives, a layout, a file, a Dockerfile, busybox, nothing."""
    convert = [*command("ch-convert"), "-s", bench.environment["CH_IMAGE_STORAGE"], "bb"]
    for place in ("docker-archive:docker.tar", "oci-archive:oci.tar", "oci:layout", "bb.sqfs"):
        run_program([*convert, place], cwd=bench.work, env=bench.environment)
    bench.write("context/Dockerfile", "FROM bb\nARG A=0\nRUN echo $A > /built\nONBUILD RUN false\n")
    static = bench.work / "busybox"
    bench.run("build", "--sandbox", "bb", "docker://bb")
    static.write_bytes((bench.work / "bb/bin/busybox").read_bytes())
    static.chmod(0o755)
    for agent, source in AGENTS.items():
        more = "BuildArgs: A=5\n" if agent == "dockerfile" else ""
        text = f"Bootstrap: {agent}\nFrom: {source}\n{more}%post\n echo {agent}; cat /built || :\n"
        built = "5\n" if agent == "dockerfile" else ""
        assert bench.build(text).stdout == f"{agent}\n{built}"
    text = "Bootstrap: busybox\nMirrorURL: busybox\n%post\n ls -l /bin/ls; id -u\n"
    assert bench.build(text).stdout.endswith("0\n")
    text = "Bootstrap: scratch\n%files\n busybox /bin/sh\n%runscript\n echo $0\n"
    bench.build(text, target="out")
    assert bench.run("run", "out").stdout == "/.singularity.d/runscript\n"
    done = bench.build(
        "Bootstrap: docker\nFrom: bb\n%pre\n echo made > pre\n%files\n pre /\n", target="out"
    )
    assert bench.text("pre") == "made\n"
    assert "%pre" in done.stderr


DOCKER = """#!/bin/sh
case $1 in
image) test $3 = bb:1 || { echo "Error: No such image: $3" >&2; exit 1; } ;;
save) cat docker.tar ;;
esac
"""


def test_bases_of_a_daemon_and_a_server(bench: Bench) -> None:
    """``docker save`` of the host gives an image, and a web server gives busybox."""
    convert = [*command("ch-convert"), "-s", bench.environment["CH_IMAGE_STORAGE"], "bb"]
    run_program([*convert, "docker-archive:docker.tar"], cwd=bench.work, env=bench.environment)
    bench.write("bin/docker", DOCKER).chmod(0o755)
    env = {"PATH": f"{bench.work}/bin:{os.environ['PATH']}"}
    text = "Bootstrap: docker-daemon\nFrom: bb:1\n%post\n echo built\n"
    assert bench.build(text, env=env).stdout == "built\n"
    for name, path, fault in (
        ("none:1", env["PATH"], "source not found in Docker storage: none:1"),
        ("bb:1", "/nowhere", "Bootstrap: docker-daemon: the host has no docker"),
    ):
        other = text.replace("bb:1", name)
        done = bench.build(other, target="never", check=False, env={"PATH": path})
        assert (done.returncode, f"FATAL:   x.def:1: {fault}\n" in done.stderr) == (255, True)
        assert ("hint: `docker save -o FILE NAME` where" in done.stderr) == (path == "/nowhere")
    bench.run("build", "--sandbox", "bb", "docker://bb")
    with serving((bench.work / "bb/bin/busybox").read_bytes()) as server:
        url = f"http://127.0.0.1:{server.server_port}/x.sif"
        text = f"Bootstrap: busybox\nMirrorURL: {url}\n%post\n ls /bin/ls; id -u\n"
        assert bench.build(text).stdout == "/bin/ls\n0\n"
        fault = bench.refused(text.replace("x.sif", "none"))
    assert fault.startswith("FATAL:   x.def:1: ")
    assert "404" in fault


REFUSED_AGENTS = {
    "Bootstrap: library\nFrom: x\n": "x.def:1: Bootstrap: library: Sundog knows no library",
    "Bootstrap: shub\nFrom: x\n": "x.def:1: Bootstrap: shub: ",
    "Bootstrap: dokcer\nFrom: x\n": "x.def:1: Bootstrap: no such agent: dokcer",
    "Bootstrap: docker\n": "x.def:1: Bootstrap: docker needs from",
    "Bootstrap: docker\nFrom: bb\nFingerprints: 12\n": "x.def:3: Fingerprints: ",
    "Bootstrap: localimage\nFrom: no.sif\n": "x.def:2: no such file: no.sif",
    "Bootstrap: debootstrap\nOSVersion: x\n": "x.def:1: Bootstrap: debootstrap needs mirrorurl",
    "Bootstrap: oci\nFrom: nosuch\n": "x.def:1: ",
    "Bootstrap: dockerfile\nFrom: nosuch\n": "",
}


def test_refused_agents(bench: Bench) -> None:
    for text, message in REFUSED_AGENTS.items():
        assert message in bench.refused(text), text


# A program of the host that makes a tree, by its definition and its line.
TOOLS = {
    "debootstrap": (
        "OSVersion: trixie\nMirrorURL: http://m\nInclude: a b\n",
        "--include=a,b trixie ROOTFS http://m",
    ),
    "dnf": (
        "OSVersion: 9\nMirrorURL: http://m/%{OSVERSION}/$basearch/\nInclude: x $(y)\n",
        "--releasever=9 -y install /etc/redhat-release coreutils x $(y)",
    ),
    "zypper": ("OSVersion: 15\nMirrorURL: http://m/%{OSVERSION}'\n", "addrepo http://m/15' base"),
    "arch": ("ConfURL: pacman.conf\n", "--config ROOTFS/bootstrap.conf -Sy base"),
}
STAND_IN = """#!/bin/sh
place=
for word; do
    case $word in */rootfs) place=$word ;; esac
done
mkdir -p $place/bin $place/etc
cp {busybox} $place/bin/sh
chown 3:4 $place/etc
echo "$0 $*" | sed "s,$place,ROOTFS,g" >> $place/line
if test -e $place/etc/bootstrap-dnf.conf; then cat $place/etc/bootstrap-dnf.conf >> $place/line; fi
"""


def test_tools_of_the_host(bench: Bench) -> None:
    """Stand-ins for tools that make a distribution's tree: their lines, and mock root."""
    bench.build("Bootstrap: docker\nFrom: bb\n", target="bb")
    programs = bench.path / "programs"
    programs.mkdir()
    for name in ("debootstrap", "dnf", "zypper", "pacman"):
        path = programs / name
        path.write_text(STAND_IN.format(busybox=bench.work / "bb/bin/busybox"))
        path.chmod(0o755)
    bench.write("pacman.conf", "[options]\n")
    env = {"PATH": f"{programs}:{os.environ['PATH']}"}
    for agent, (keywords, line) in TOOLS.items():
        text = f"Bootstrap: {agent}\n{keywords}%post\n stat -c %u:%g /etc; cat /line\n"
        owner, *lines = bench.build(text, env=env).stdout.splitlines()
        assert owner == "3:4"
        assert any(line in each for each in lines), lines
        assert agent != "dnf" or "baseurl=http://m/9/$basearch/" in lines
        assert set(steps(bench.build(text, env=env)).values()) == {"*"}
    env = {"PATH": "/nowhere"}
    fault = bench.build("Bootstrap: arch\n", env=env, target="never", check=False).stderr
    assert "x.def:1: Bootstrap: arch: the host has no pacman" in fault
