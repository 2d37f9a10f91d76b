"""Turn a RUN, after substitution, into its step: command, environment, mounts."""

from __future__ import annotations

from sundog.base.kernel.process import STRING_LIMIT
from sundog.image.builder.files.context import BuildContext
from sundog.image.builder.metadata import DEFAULT_SHELL, command_text
from sundog.image.builder.run.devices import RunDevices
from sundog.image.builder.run.heredoc_command import from_file, heredoc_text, run_command
from sundog.image.builder.run.inject import inject
from sundog.image.builder.run.mounts import ContextOrigin, ImageOrigin, RunMount, RunMounts
from sundog.image.builder.run.step import RunStep
from sundog.image.builder.scope import PROXY_ARGS
from sundog.image.builder.tree_step import absolute, encoded
from sundog.image.builder.user import emulated_user, is_root
from sundog.image.dockerfile.devices import DeviceSyntaxError, parse_device
from sundog.image.dockerfile.mounts import BIND, MountSyntaxError, parse_mount
from sundog.image.dockerfile.words import expand
from sundog.image.store.metadata import metadata_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sundog.image.builder.files.add import Files
    from sundog.image.builder.run.fakeroot import Fakeroot
    from sundog.image.builder.run.mounts import MountOrigin
    from sundog.image.builder.scope import StageScope
    from sundog.image.builder.state import BuildState
    from sundog.image.dockerfile.instructions import Run
    from sundog.image.oci.config import ImageConfig

_HOME = "/root"
_LONG_HINT = "put the text into a file: COPY <<EOF /FILE; or into a heredoc of RUN in shell form"
_PATH_LIMIT = 4000  # characters; the kernel has PATH_MAX
_CACHE_NAMESPACE = "BUILDKIT_CACHE_MOUNT_NS"
_INSECURE = "insecure"
_NO_NETWORK = "none"
_SECURITY_NOTE = (
    "RUN --security=insecure has no effect; a container here never has more than your rights"
)


def make_run_step(
    state: BuildState,
    instruction: Run,
    scope: StageScope,
    config: ImageConfig,
    files_of: Callable[[str], Files],
    *,
    fakeroot: Fakeroot | None = None,
) -> tuple[RunStep, str]:
    """Return the step, and a notice for the time when it runs ("" for none).

    ``files_of`` resolves ``from`` in a mount.  ``fakeroot`` is the stage's.  Raises
    DockerfileError.
    """
    options = state.options.run
    argv, script = run_command(instruction, config.shell or DEFAULT_SHELL)
    hooked = command = inject(argv, options.force.hooks)
    if script is None and not instruction.is_exec:
        command, script = from_file(hooked)
    environment = config.environment
    proxies = {
        name: value
        for name, value in scope.args.items()
        if name in PROXY_ARGS and name not in environment
    }
    variables = {
        name: value for name, value in scope.variables(environment).items() if name not in proxies
    }
    mounts = RunMounts(
        _mounts(state, instruction, scope.variables(environment), config, files_of),
        () if script is None else (script,),
        state.options.secrets,
        state.agents,
        state.options.build_args.get(_CACHE_NAMESPACE, ""),
        state.store,
        state.report,
        metadata_files(config),
        _devices(state, instruction, scope.variables(environment)),
    )
    if instruction.security == _INSECURE:
        state.report.info(_SECURITY_NOTE)
    keyword = options.force.instruction
    text = command_text(instruction, keyword)
    if instruction.heredocs:
        text = f"{keyword} {heredoc_text(instruction)}"
    user = emulated_user(config.user, options.force)
    if not user and not is_root(config.user):
        mode = options.force.mode
        state.report.warning(
            f"RUN stays root after USER with --force={mode}; notify runs it as that user"
        )
    home = {} if user else {"HOME": _HOME}
    variables = {**home, **options.force.environment, **variables}
    if fault := too_long(command, variables):
        raise state.dockerfile.error(instruction, fault, hint=_LONG_HINT)
    step = RunStep(
        text,
        command,
        variables,
        {**state.scope.of_host(), **proxies},
        config.working_dir or "/",
        options,
        state.store,
        state.report,
        mounts,
        offline=instruction.network == _NO_NETWORK,
        user=user,
        fakeroot=fakeroot,
    )
    return step, new_command(hooked) if hooked != argv else ""


def _devices(
    state: BuildState, instruction: Run, variables: Mapping[str, str]
) -> RunDevices | None:
    """Return the devices of a RUN, None for none; raise DockerfileError for an invalid flag."""
    options, dockerfile = state.options.run, state.dockerfile
    if not instruction.devices and not options.devices:
        return None
    found = []
    for text in instruction.devices:
        try:
            found.append(parse_device(expand(text, variables, dockerfile.escape)))
        except DeviceSyntaxError as error:
            raise dockerfile.error(
                instruction, error.message, near=text, hint=error.hint
            ) from error
    return RunDevices(tuple(found), options.devices, options.cdi_directories, state.report)


def too_long(argv: Sequence[str], variables: Mapping[str, str]) -> str:
    """Say which string of a command the kernel would not pass to it; "" if it takes all."""
    strings = {"an argument of the command": argv}
    strings |= {f"the variable {name}": [f"{name}={value}"] for name, value in variables.items()}
    for what, several in strings.items():
        for string in several:
            if (size := len(encoded(string))) >= STRING_LIMIT:
                return f"{what} has {size} bytes; the kernel passes at most {STRING_LIMIT - 1}"
    return ""


def new_command(argv: Sequence[str]) -> str:
    """Return the notice that RUN runs another command than the written one."""
    return f"--force: RUN: new command: {list(argv)!r}"


def _mounts(
    state: BuildState,
    instruction: Run,
    variables: Mapping[str, str],
    config: ImageConfig,
    files_of: Callable[[str], Files],
) -> tuple[RunMount, ...]:
    """Return the mounts of a RUN; raise DockerfileError for an invalid one."""
    dockerfile = state.dockerfile
    overlays = state.store.driver.name == "overlay"
    found: list[RunMount] = []
    for text in instruction.mounts:
        try:
            mount = parse_mount(text, lambda value: expand(value, variables, dockerfile.escape))
        except MountSyntaxError as error:
            raise dockerfile.error(
                instruction, error.message, near=text, hint=error.hint
            ) from error
        assert mount is not None
        origin: MountOrigin | None = None
        if mount.from_:
            files = files_of(mount.from_)
            if isinstance(files, BuildContext):
                origin = ContextOrigin(files, overlays)
            else:
                origin = ImageOrigin(files, state.store)
        elif mount.type == BIND:
            origin = ContextOrigin(state.options.context, overlays)
        target = mount.target and absolute(mount.target, config.working_dir)
        if len(target) > _PATH_LIMIT:
            raise dockerfile.error(instruction, "--mount: the target is too long for a path")
        if target == "/":
            raise dockerfile.error(instruction, "--mount: the target is the root", near=text)
        if target and any(target == other.target for other in found):
            raise dockerfile.error(instruction, f"--mount: two at {target}", near=text)
        found.append(RunMount(mount, target, origin))
    return tuple(found)
