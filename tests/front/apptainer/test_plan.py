"""Lines of ``sundog apptainer``, and the lines of ``ch-run`` that they stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sundog.errors import SundogError, UsageError
from sundog.front.apptainer.command import NothingToRun
from sundog.front.apptainer.host import Host
from sundog.front.apptainer.image import ImageFacts, stored_name
from sundog.front.apptainer.line import scan_action, split_globals
from sundog.front.apptainer.plan import FALLBACK_VARIABLE, Plan, plan_of
from sundog.front.apptainer.site import Site, read_site
from sundog.runtime.launcher.messages import Messages
from sundog.runtime.launcher.options import CommandLine

if TYPE_CHECKING:
    from pathlib import Path

SIF = ImageFacts("/d/x.sif", "/d/x.sif", runscript=True)
SANDBOX = ImageFacts("/d/x", "/d/x", is_directory=True)
NAMED = ImageFacts("debian", "docker://debian", environment=[("A", "$HOST"), ("HOST", "i")])
ENVIRONMENT = {"HOME": "/home/ada", "PATH": "/opt/bin", "HOST": "h", "USER": "ada", "TERM": "vt100"}
FILES = {
    "/m/99-shpc.sh": "export MODULE=$USER\n",
    "a.env": "# no\nA=1\nB='x y'\n",
    "b.env": "A=2\n",
    "bad.env": "A=$(date)\n",
}
NO_SITE = Site()
PATHS = ("/var/tmp",)


def planned(
    *words: str,
    image: ImageFacts = SIF,
    action: str = "exec",
    env: dict[str, str] | None = None,
    cwd: str = "/work/ada",
    has_devices: bool = False,
    site: Site = NO_SITE,
) -> Plan:
    environment = ENVIRONMENT | (env or {})
    host = Host(
        environment,
        cwd,
        "/home/ada",
        exists=lambda path: path in PATHS,
        has_devices=lambda _: has_devices,
        read_file=FILES.__getitem__,
        read_script=FILES.get,
        site=site,
    )
    return plan_of(action, scan_action(action, words, environment), image, host)


def given_options(plan: Plan, *names: str) -> list[str]:
    """Return the options of a plan with these names, before the image."""
    end = plan.arguments.index("--")
    return [word for word in plan.arguments[:end] if word.partition("=")[0] in names]


def mounts(plan: Plan) -> list[str]:
    return given_options(plan, "--bind", "--tmpfs", "--private-tmp")


def variables(plan: Plan) -> dict[str, str]:
    """Return the variables that the command gets, by the rules of ``ch-run``."""
    found = {}
    for word in plan.arguments[: plan.arguments.index("--")]:
        option, _, rest = word.partition("=")
        name, _, value = rest.partition("=")
        if option == "--env":
            found[name] = plan.environment[name]
        elif option == "--set-env":
            found[name] = value[1:-1]
    return found


def command(plan: Plan) -> list[str]:
    return plan.arguments[plan.arguments.index("--") + 1 :]


def test_whole_line() -> None:
    plan = planned("x.sif", "echo", "-n", image=ImageFacts("/d/x.sif", "/d/x.sif"))
    assert [word for word in plan.arguments if not word.startswith(("--env=", "--set-env="))] == [
        "--bind=/home/ada:/home/ada",
        *("--bind=/var/tmp:/var/tmp", "--bind=/work/ada:/work/ada", "--cd=/work/ada"),
        *("--env-no-expand", "--no-mpi-env", "--unset-env=*", "/d/x.sif", "--", "echo", "-n"),
    ]
    assert (plan.umask, plan.namespaces, plan.hostname, plan.notes, plan.warnings) == (
        *(None, [], "", [], []),
    )
    assert variables(plan) == {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        **{name: ENVIRONMENT[name] for name in ("HOME", "HOST", "USER", "TERM")},
        "PWD": "/work/ada",
        "LD_LIBRARY_PATH": "/.singularity.d/libs",
        "PS1": "Apptainer> ",
        "PROMPT_COMMAND": 'PS1="Apptainer> "; unset PROMPT_COMMAND',
        **{
            f"{start}_{name}": value
            for start in ("APPTAINER", "SINGULARITY")
            for name, value in (
                *(("BIND", ""), ("COMMAND", "exec"), ("CONTAINER", "/d/x.sif")),
                *(("ENVIRONMENT", "/.singularity.d/env/91-environment.sh"), ("NAME", "x.sif")),
            )
        },
    }


SITE = """
# bind path = /no
mount home = no
mount tmp = NO
mount proc = no
bind path = /etc/localtime
bind path = /var/tmp:/scratch:ro
bind path = /missing
mount dev = minimal
user bind control = no
"""
HOME = "--bind=/home/ada:/home/ada"
USUAL = [HOME, "--bind=/var/tmp:/var/tmp"]
HERE = "--bind=/work/ada:/work/ada"
EMPTY = ["--private-tmp", "--tmpfs=/var/tmp:mode=1777"]


@pytest.mark.parametrize(
    ("words", "cwd", "expected", "workdir"),
    [
        ([], "/home/ada/x", USUAL, "/home/ada/x"),
        ([], "/tmp/x", USUAL, "/tmp/x"),
        ([], "/usr", USUAL, "/usr"),
        ([], "/usr/x", [*USUAL, "--bind=/usr/x:/usr/x"], "/usr/x"),
        ([], "/proc/1", USUAL, "/proc/1"),
        ([], "/", USUAL, "/"),
        (["--no-home"], "/work/ada", [USUAL[1], HERE], "/work/ada"),
        (["--no-mount", "cwd"], "/work/ada", USUAL, "/work/ada"),
        (["--no-mount", "cwd,home"], "/work/ada", [USUAL[1]], "/work/ada"),
        (["--no-mount", "tmp,hostfs"], "/tmp/x",
         ["--private-tmp", HOME, "--bind=/tmp/x:/tmp/x"], "/tmp/x"),
        (["--home", "/h"], "/h/x", ["--bind=/h:/h", USUAL[1]], "/h/x"),
        (["--home", "h:/k"], "/work/ada",
         ["--bind=/work/ada/h:/k", USUAL[1], HERE], "/work/ada"),
        (["--contain"], "/work/ada", [*EMPTY, "--tmpfs=/home/ada:mode=700"], "/home/ada"),
        (["--contain", "--no-home"], "/work/ada", EMPTY, "/"),
        (["--contain", "-H", "/a:/b"], "/work/ada", [*EMPTY, "--bind=/a:/b"], "/b"),
        (["-c", "-W", "/w"], "/work/ada",
         ["--bind=/w/tmp:/tmp", "--bind=/w/var_tmp:/var/tmp",
          "--bind=/w/home:/home/ada"], "/home/ada"),
        (["-S", "/s,/t"], "/home/ada",
         [*USUAL, "--tmpfs=/s:mode=1777", "--tmpfs=/t:mode=1777"], "/home/ada"),
        (["-S", "/s", "-W", "w"], "/home/ada",
         [*USUAL, "--bind=/home/ada/w/scratch/s:/s"], "/home/ada"),
        (["-B", "/a,b:/c:ro,/d:/e:rw"], "/home/ada",
         [*USUAL, "--bind=/a:/a", "--bind=/home/ada/b:/c:ro", "--bind=/d:/e:rw"], "/home/ada"),
        (["-B", r"/a\,b:/c\:ro"], "/home/ada", [*USUAL, "--bind=/a,b:/c:ro:rw"], "/home/ada"),
        (["-B", r"/a:/c\:"], "/home/ada", [*USUAL, "--bind=/a:/c::rw"], "/home/ada"),
        (["--mount", "type=bind,src=/a,dst=/b,ro"], "/home/ada",
         [*USUAL, "--bind=/a:/b:ro"], "/home/ada"),
        (["--mount", '"type=bind","source=/a,b",target=/b,readonly=false'], "/home/ada",
         [*USUAL, "--bind=/a,b:/b:rw"], "/home/ada"),
        (["--pwd", "/opt/x/../y"], "/home/ada", USUAL, "/opt/y"),
        (["-f"], "/home/ada/x",
         ["--bind=/home/ada:/root", USUAL[1], "--bind=/home/ada/x:/home/ada/x"],
         "/home/ada/x"),
    ],
)  # fmt: skip
def test_what_is_shown(words: list[str], cwd: str, expected: list[str], workdir: str) -> None:
    plan = planned(*words, "x.sif", "true", cwd=cwd)
    assert mounts(plan) == expected
    assert given_options(plan, "--cd") == [f"--cd={workdir}"]
    assert variables(plan)["PWD"] == workdir
    home = None if "--pwd" in words else variables(plan)["HOME"]
    assert plan.environment.get(FALLBACK_VARIABLE) == home


def test_site(tmp_path: Path) -> None:
    """A site adds binds of what exists, and takes mounts away; other settings have no effect.

    What cannot be taken away has a WARNING.
    """
    file = tmp_path / "apptainer.conf"
    file.write_text(SITE)
    site = read_site(str(file))
    assert mounts(planned("x", "true", site=site)) == [
        *("--private-tmp", "--bind=/var/tmp:/scratch:ro", HERE),
    ]
    assert mounts(planned("--no-mount", "bind-paths", "x", "true", site=site)) == [
        *("--private-tmp", HERE),
    ]
    plan = planned("-c", "x", "true", site=site)
    assert mounts(plan) == EMPTY
    assert plan.warnings == [
        "the site's 'mount proc = no' has no effect: it is shown in any case",
    ]
    assert "--own-dev" in planned("x", "true", site=site).arguments
    assert "--own-dev" not in planned("x", "true").arguments
    with pytest.raises(SundogError):
        read_site(str(tmp_path / "missing"))


def test_directories_of_workdir() -> None:
    assert planned("-c", "-W", "w", "-S", "/s", "x.sif", "true").directories == [
        *("/work/ada/w/tmp", "/work/ada/w/var_tmp", "/work/ada/w/home", "/work/ada/w/scratch/s"),
    ]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["-f"], ["--notify", "--uid=0", "--gid=0"]),
        (["--writable-tmpfs"], ["--write-fake"]),
        (["--compat"], ["--write-fake"]),
        (["--security", "uid:5,gid:6"], ["--uid=5", "--gid=6"]),
        (["--device", "a/b=c,d/e=f"], ["--device=a/b=c", "--device=d/e=f"]),
        (["--cdi-dirs", "/a,/b"], ["--cdi-dirs=/a:/b"]),
        (["--nv"], ["--device=nvidia.com/gpu=all"]),
        (["--rocm"], ["--device=amd.com/gpu=all"]),
    ],
)
def test_options(words: list[str], expected: list[str]) -> None:
    plan = planned(*words, "x.sif", "true", has_devices=True)
    names = ("--notify", "--uid", "--gid", "--write", "--write-fake", "--device", "--cdi-dirs")
    assert given_options(plan, *names) == expected


def test_writable() -> None:
    plan = planned("-w", "--writable-tmpfs", "x", "true", image=SANDBOX)
    assert given_options(plan, "--write", "--write-fake") == ["--write"]
    assert "mutually exclusive" in plan.warnings[0]
    with pytest.raises(SundogError, match="--writable"):
        planned("-w", "x.sif", "true")


@pytest.mark.parametrize(
    ("words", "namespaces", "warned"),
    [
        (["--ipc"], ["ipc"], 0),
        (["--net", "--network", "none"], ["net"], 0),
        (["--network", "none"], [], 1),
        (["--hostname", "n"], ["uts"], 0),
        (["--containall"], ["ipc", "pid"], 0),
        (["--containall", "--no-pid"], ["ipc"], 0),
        (["--pid"], ["pid"], 0),
        (["--nv"], [], 1),
        (["--no-mount", "sys"], [], 1),
        (["--security", "seccomp:x"], [], 1),
    ],
)
def test_namespaces_and_warnings(words: list[str], namespaces: list[str], warned: int) -> None:
    plan = planned(*words, "x.sif", "true")
    assert (plan.namespaces, len(plan.warnings)) == (namespaces, warned)


@pytest.mark.parametrize(
    "words",
    [
        ["--net"], ["--net", "--network", "bridge"], ["--home", "a:b"], ["--home", ":"],
        ["-B", "a:b:c:d"], ["-B", "/a:/b:xx"], ["-B", ":/b"], ["-B", "/a:/"], ["-B", r"/a\:b:/c"],
        ["-B", "/x:/y:image-src=/z"], ["--mount", "type=tmpfs,dst=/a"], ["--mount", "type=bind"],
        ["--mount", "type=bind,src=/a,dst=/b,x"], ["--mount", "type=bind,src=/a,dst=/b,ro=2"],
        ["-S", "x"], ["-S", "/"], ["-W", "/w", "-S", "/../../x"], ["--pwd", "x"], ["--env", "A"],
        ["--env", "1=2"], ["--env-file", "bad.env"], ["--security", "uid:x"], ["-B", '"/a'],
    ],
)  # fmt: skip
def test_refusals(words: list[str]) -> None:
    with pytest.raises(SundogError) as caught:
        planned(*words, "x.sif", "true")
    assert caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("words", "env", "expected"),
    [
        (["--env", "A=1,B=2"], {}, {"A": "1", "B": "2"}),
        (["--env-file", "a.env,b.env", "--env", "B=$A$HOST"], {}, {"A": "2", "B": "2h"}),
        (["--no-eval", "--env", "A=$HOST"], {}, {"A": "$HOST"}),
        ([], {"SINGULARITYENV_A": "hello $HOST"}, {"A": "hello h"}),
        (["--no-eval"], {"SINGULARITYENV_A": "hello $HOST"}, {"A": "hello $HOST"}),
        ([], {"SINGULARITYENV_A": "s", "APPTAINERENV_A": "a"}, {"A": "a"}),
        (["--env", "A=e"], {"APPTAINERENV_A": "a"}, {"A": "e"}),
        (["--env", "PATH=$PATH:/foo"], {},
         {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/foo"}),
        ([], {"APPTAINERENV_PREPEND_PATH": "/a", "APPTAINERENV_APPEND_PATH": "/b",
              "APPTAINERENV_PATH": "/p"}, {"PATH": "/a:/p:/b"}),
        ([], {"APPTAINERENV_APPEND_LD_LIBRARY_PATH": "/a", "LD_LIBRARY_PATH": "/h"},
         {"LD_LIBRARY_PATH": "/.singularity.d/libs:/a"}),
        (["--no-env", "HOST"], {}, {"HOST": None}),
        (["--cleanenv"], {"HTTP_PROXY": "p"},
         {"HOST": None, "USER": None, "TERM": "vt100", "HTTP_PROXY": "p", "LANG": "C",
          "HOME": "/home/ada"}),
        ([], {"BASH_FUNC_x%%": "() { :; }", "SINGULARITY_X": "y", "APPTAINER_X": "y", "N": "a\nb"},
         {"BASH_FUNC_x%%": None, "SINGULARITY_X": None, "APPTAINER_X": None, "N": "a\nb"}),
        ([], {"TMPDIR": "/scratch"}, {"TMPDIR": "/scratch"}),
        ([], {"SLURM_JOB_ID": "7"}, {"SLURM_JOB_ID": "7"}),
    ],
)  # fmt: skip
def test_environment(
    words: list[str], env: dict[str, str], expected: dict[str, str | None]
) -> None:
    plan = planned(*words, "x.sif", "true", env=env)
    assert command(plan) == ["true"]
    found = variables(plan)
    assert {name: found.get(name) for name in expected} == expected
    assert "TMPDIR" not in plan.environment


def test_environment_of_an_image_in_storage() -> None:
    """Its ENV is no text for a shell, and the host's variables do not replace it."""
    image = ImageFacts("x", "docker://x", environment=[("PATH", "/x:/bin"), ("HOST", "$i")])
    found = variables(planned("docker://x", "true", image=image, env={"N": "1"}))
    assert found["HOST"] == "$i"
    assert found["N"] == "1"
    assert found["PATH"] == "/x:/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin"


def test_scripts_of_an_image() -> None:
    """ENV of its OCI image wins over the host; %environment sees the host."""
    scripts = [
        ("10-docker2singularity.sh", 'export PATH="/x"\nexport HOST="${HOST:-"i"}"'),
        ("90-environment.sh", "export USER=${USER:-no}\nexport E=$N\n"),
    ]
    plan = planned("x.sif", "true", image=ImageFacts("/x", "/x", scripts=scripts), env={"N": "1"})
    found = variables(plan)
    assert (found["HOST"], found["USER"], found["E"]) == ("i", "ada", "1")
    assert found["PATH"] == "/x:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


SHPC = "/.singularity.d/env"


@pytest.mark.parametrize("image", [SIF, NAMED])
def test_a_script_that_a_bind_shows(image: ImageFacts) -> None:
    """It is one of the image's, in the order of names; what can't be read is left to a shell."""
    plan = planned("-B", f"/m/99-shpc.sh:{SHPC}/99-shpc.sh", "x", "true", image=image)
    assert variables(plan)["MODULE"] == "ada"
    assert command(plan) == ["true"]
    plan = planned("-B", f"/m/none.sh:{SHPC}/50-none.sh", "x", "true", image=image)
    assert f". '{SHPC}/50-none.sh'" in command(plan)[2]
    for place in (SHPC, "/.singularity.d"):
        with pytest.raises(SundogError, match="the image's own scripts") as caught:
            planned("-B", f"/m:{place}", "x", "true", image=image)
        assert caught.value.hint


def test_a_shell_of_the_image_reads_the_rest() -> None:
    scripts = [("1.sh", "export A=1"), ("2'.sh", "export B=$(date)"), ("3.sh", "export C=1")]
    image = ImageFacts("/x", "/x", scripts=scripts)
    plan = planned("--env", "D=$B", "x.sif", "true", "a b", image=image)
    found = variables(plan)
    assert found["A"] == "1"
    assert "C" not in found
    assert found["SUNDOG_TEXT_0"] == "$B"
    shell, option, program, name, again, *words = command(plan)
    assert (shell, option, name, again) == ("/bin/sh", "-c", "sh", program)
    assert words == ["true", "a b"]
    assert "2'\\''.sh" in program
    assert "1.sh" not in program
    assert "$B" not in program


@pytest.mark.parametrize(
    ("entrypoint", "own", "words", "expected"),
    [
        ([], ["cmd", "a"], [], ["cmd", "a"]),
        ([], ["cmd", "a"], ["x"], ["x"]),
        (["entry"], ["cmd"], [], ["entry", "cmd"]),
        (["entry"], ["cmd"], ["x", "y"], ["entry", "x", "y"]),
        ([], [], [], ["/bin/sh"]),
        ([], ["c"], ["echo", "$HOME"],
         ["/bin/sh", "-c", 'eval "set -- $1"; exec "$@"', "sh", '"echo" "$HOME"']),
        ([], ["c"], ["sh", "-c", 'echo "hello there"'],
         ["/bin/sh", "-c", 'eval "set -- $1"; exec "$@"', "sh",
          '"sh" "-c" "echo "hello there""']),
    ],
)  # fmt: skip
def test_run(entrypoint: list[str], own: list[str], words: list[str], expected: list[str]) -> None:
    image = ImageFacts("x", "docker://x", entrypoint=entrypoint, command=own)
    assert command(planned("docker://x", *words, image=image, action="run")) == expected
    if expected[0] != "/bin/sh":
        return
    plain = command(planned("--no-eval", "docker://x", *words, image=image, action="run"))
    assert plain == (words or ["/bin/sh"])


def test_actions() -> None:
    assert command(planned("x", "a", action="run")) == ["/.singularity.d/runscript", "a"]
    assert command(planned("-s", "/bin/zsh", "x", action="shell")) == ["/bin/zsh"]
    assert command(planned("x", "-c", "true", action="shell"))[3:] == ["sh", "-c", "true"]
    tested = ImageFacts("/x", "/x", test=True)
    assert command(planned("x", image=tested, action="test")) == ["/.singularity.d/test"]
    with pytest.raises(NothingToRun):
        planned("x", action="test")
    with pytest.raises(UsageError):
        planned("x.sif")


def test_notes_of_variables() -> None:
    env = {"SINGULARITYENV_A": "1", "SINGULARITYENV_B": "1", "APPTAINERENV_B": "2"}
    plan = planned("--env", "HOME=/x", "x.sif", "true", env=env)
    assert plan.notes == [
        "Environment variable SINGULARITYENV_A is set, but APPTAINERENV_A is preferred"
    ]
    differing, home = plan.warnings
    assert differing.endswith("_B and APPTAINERENV_B have different values, using the latter")
    assert home == "Overriding HOME environment variable with --env is not permitted"
    assert variables(plan)["HOME"] == "/home/ada"


@pytest.mark.parametrize("image", ["library://x", "shub://x", "instance://x", "ipfs://x"])
def test_images_of_other_kinds(image: str) -> None:
    with pytest.raises(SundogError) as caught:
        stored_name(image)
    assert caught.value.hint


# Lines of programs that call Apptainer, as they were recorded, with short paths.
RECORDED: dict[str, tuple[str, list[str], dict[str, str]]] = {
    "cwltool": (
        "run",
        ["--quiet", "run", "--contain", "--ipc", "--cleanenv", "--no-eval", "--userns", "--home",
         "/tmp/sy:/DSKsCL", "--mount=type=bind,source=/tmp/d2,target=/tmp",
         "--mount=type=bind,source=/fix/in.txt,target=/var/lib/cwl/in.txt,readonly", "--pwd",
         "/DSKsCL", "--net", "--network", "none", "/d/x.sif", "echo", "hi", "/var/lib/cwl/in.txt"],
        {"SINGULARITYENV_GREETING": "hello $HOME", "SINGULARITYENV_TMPDIR": "/tmp"},
    ),
    "cwltool tries --userns": ("exec", ["exec", "--userns", "/d/x.sif", "true"], {}),
    "miniwdl": (
        "exec",
        ["exec", "--pwd", "/mnt/task/work", "--containall", "--no-mount", "hostfs", "--fakeroot",
         "--bind", "/r/stdout.txt:/mnt/task/stdout.txt", "--bind", "/r/work:/mnt/task/work",
         "--bind", "/r/command:/mnt/task/command:ro", "--bind", "/r/tmp:/tmp", "--bind",
         "/r/var_tmp:/var/tmp", "/d/x.sif", "/bin/sh", "-c",
         "/bin/bash ../command >> ../stdout.txt 2>> ../stderr.txt"],
        {},
    ),
    "Snakemake": (
        "exec",
        ["exec", "--home", "/work/ada", "--nv", "-B", "/opt", "--bind", "/cache", "/d/x.sif",
         "bash", "-c", "set -euo pipefail;  echo hello > out.txt"],
        {},
    ),
    "ReFrame": (
        "exec",
        ["exec", "-B/opt:/data", "-B/stage:/rfm_workdir", "--nv", "--pwd", "/rfm_workdir",
         "docker://debian:trixie", "bash", "-c", "cat /etc/os-release | tee out.txt"],
        {},
    ),
    "spython": (
        "exec",
        ["exec", "--nv", "--bind", "/opt:/mnt", "--cleanenv", "/d/x.sif", "echo", "a b"],
        {},
    ),
    "spython runs": ("run", ["run", "/d/x.sif", "x"], {}),
    "Nextflow": (
        "exec",
        ["exec", "--no-home", "--pid", "-B", "/work/ada", "/d/x.sif", "/bin/bash", "-c", "cd x"],
        {"SINGULARITYENV_TMP": "/tmp"},
    ),
    "Galaxy": (
        "exec",
        ["-s", "exec", "--contain", "--pwd", "/work", "--cleanenv", "--ipc", "--pid", "--no-mount",
         "tmp", "-B", "/a:/b:ro", "--home", "/h:/h", "/d/x.sif", "/bin/sh", "x"],
        {"SINGULARITYENV_K": "v"},
    ),
    "shpc": (
        "exec",
        ["exec", "-B", "/m/99-shpc.sh:/.singularity.d/env/99-shpc.sh", "-B", "/h", "--home", "/h",
         "/d/x.sif", "python", "-V"],
        {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_lines(name: str) -> None:
    """Each line is taken, and ch-run takes the result; the command's words stay as they are."""
    action, words, env = RECORDED[name]
    _, (subcommand, *rest) = split_globals(words, {})
    assert subcommand == action
    plan = planned(*rest, action=action, env=env)
    line = CommandLine([word.encode() for word in plan.arguments], Messages())
    operands = rest[
        next(at for at, word in enumerate(rest) if word.startswith(("/d/", "docker:"))) :
    ]
    assert command(plan)[-len(operands) + 1 :] == operands[1:]
    assert line.operands[1:] == [word.encode() for word in command(plan)]


def test_what_cwltool_relies_on() -> None:
    _, words, env = RECORDED["cwltool"]
    plan = planned(*words[2:], action="run", env=env)
    found = variables(plan)
    assert (found["GREETING"], found["TMPDIR"], found["HOME"]) == ("hello $HOME", "/tmp", "/DSKsCL")
    assert plan.namespaces == ["ipc", "net"]
    assert mounts(plan) == [
        *EMPTY,
        *("--bind=/tmp/sy:/DSKsCL", "--bind=/tmp/d2:/tmp"),
        "--bind=/fix/in.txt:/var/lib/cwl/in.txt:ro",
    ]


TEXTS = st.text(alphabet='ab/:,="\\ \n.$', max_size=10)


@given(TEXTS, TEXTS, TEXTS, TEXTS)
@example("", "", "", ":/.")
def test_any_values(bind: str, mount: str, env: str, home: str) -> None:
    """A line becomes one that ch-run takes, or is refused in words."""
    words = ["-B", bind, "--mount", f"type=bind,{mount}", "--env", env, "--home", home]
    for size in (2, 4, 6, 8):
        try:
            plan = planned(*words[size - 2 : size], "/d/x.sif", "true")
        except SundogError:
            continue
        CommandLine([word.encode() for word in plan.arguments], Messages())
