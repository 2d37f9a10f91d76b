"""Turn a RUN, after substitution, into its step: command, environment, mounts."""

from __future__ import annotations

from dataclasses import dataclass

from sundog.base.kernel.process import STRING_LIMIT
from sundog.image.builder.files.context import BuildContext
from sundog.image.builder.metadata import DEFAULT_SHELL, command_text
from sundog.image.builder.options import NO_NETWORK
from sundog.image.builder.platforms import foreign_machine
from sundog.image.builder.run.devices import RunDevices
from sundog.image.builder.run.heredoc_command import from_file, heredoc_text, run_command
from sundog.image.builder.run.inject import inject
from sundog.image.builder.run.mounts import ContextOrigin, ImageOrigin, RunMount, RunMounts
from sundog.image.builder.run.step import RunStep
from sundog.image.builder.scope import PROXY_ARGS
from sundog.image.builder.tree_step import absolute, encoded
from sundog.image.builder.user import emulated_user, is_root, stays_root
from sundog.image.dockerfile.devices import DeviceSyntaxError, parse_device
from sundog.image.dockerfile.mounts import BIND, MountSyntaxError, parse_mount
from sundog.image.dockerfile.words import expand
from sundog.image.store.metadata import metadata_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sundog.errors import DockerfileError
    from sundog.image.builder.files.add import Files
    from sundog.image.builder.run.fakeroot import Fakeroot
    from sundog.image.builder.run.mounts import MountOrigin
    from sundog.image.builder.scope import StageScope
    from sundog.image.builder.state import BuildState
    from sundog.image.dockerfile.instructions import Run
    from sundog.image.dockerfile.mounts import Mount
    from sundog.image.oci.config import ImageConfig

_HOME = "/root"
_LONG_HINT = "put the text into a file: COPY <<EOF /FILE; or into a heredoc of RUN in shell form"
_PATH_LIMIT = 4000  # characters; the kernel has PATH_MAX
_INSECURE = "insecure"
_DEFAULT_NETWORK = ("", "default")
_SECURITY_NOTE = (
    "RUN --security=insecure has no effect; a container here never has more than your rights"
)


@dataclass(frozen=True, slots=True)
class RunStepMaker:
    """The parts that the step of a RUN is made from; ``files_of`` resolves ``from`` in a mount."""

    state: BuildState
    instruction: Run
    scope: StageScope
    config: ImageConfig
    files_of: Callable[[str], Files]

    def step(self, fakeroot: Fakeroot | None) -> tuple[RunStep, str]:
        """Return the step, and a notice for the time when it runs ("" for none).

        ``fakeroot`` is the stage's.  Raises DockerfileError.
        """
        state, instruction, config = self.state, self.instruction, self.config
        options, shared = state.options.run, (state.options.run, state.store, state.report)
        argv, script = run_command(instruction, config.shell or DEFAULT_SHELL)
        hooked = command = inject(argv, options.force.hooks)
        if script is None and not instruction.is_exec:
            command, script = from_file(hooked)
        variables = self.scope.variables(config.environment)
        mounts, devices = self._mounts(variables), self._devices(variables)
        scripts = () if script is None else (script,)
        if instruction.security == _INSECURE:
            state.report.info(_SECURITY_NOTE)
        user = self._user()
        proxies = {
            name: variables.pop(name)
            for name in self.scope.args
            if name in PROXY_ARGS and name not in config.environment
        }
        home = {} if user else {"HOME": _HOME}
        variables = {**home, **options.force.environment, **variables}
        if fault := too_long(command, variables):
            raise state.dockerfile.error(instruction, fault, hint=_LONG_HINT)
        step = RunStep(
            *shared,
            self._text(),
            command,
            variables,
            {**options.force.unkeyed, **state.scope.of_host(), **proxies},
            config.working_dir or "/",
            RunMounts(
                *shared, mounts, scripts, devices, metadata_files(config) | options.force.files
            ),
            offline=self._network() == NO_NETWORK,
            user=user,
            wanted_user=config.user,
            fakeroot=fakeroot,
            machine=foreign_machine(config),
        )
        return step, new_command(hooked) if hooked != argv else ""

    def _network(self) -> str:
        own = self.instruction.network
        return self.state.options.run.network if own in _DEFAULT_NETWORK else own

    def _text(self) -> str:
        keyword = self.state.options.run.force.instruction
        if self.instruction.heredocs:
            return f"{keyword} {heredoc_text(self.instruction)}"
        return command_text(self.instruction, keyword)

    def _user(self) -> str:
        """Return the user that the command sees itself as; "" is root."""
        force = self.state.options.run.force
        user = emulated_user(self.config.user, force)
        if not user and not is_root(self.config.user):
            self.state.report.warning(stays_root(force))
        return user

    def _devices(self, variables: Mapping[str, str]) -> RunDevices:
        """Return the devices of the RUN; raise DockerfileError for an invalid flag."""
        state, found = self.state, []
        for text in self.instruction.devices:
            try:
                found.append(parse_device(expand(text, variables, state.dockerfile.escape)))
            except DeviceSyntaxError as error:
                raise self._error(error, text) from error
        return RunDevices(tuple(found), state.options.run, state.report)

    def _mounts(self, variables: Mapping[str, str]) -> tuple[RunMount, ...]:
        """Return the mounts of the RUN; raise DockerfileError for an invalid one."""
        dockerfile = self.state.dockerfile
        found: list[RunMount] = []
        for text in self.instruction.mounts:
            try:
                mount = parse_mount(text, lambda value: expand(value, variables, dockerfile.escape))
            except MountSyntaxError as error:
                raise self._error(error, text) from error
            assert mount is not None
            target = mount.target and absolute(mount.target, self.config.working_dir)
            if len(target) > _PATH_LIMIT:
                raise self._error(MountSyntaxError("--mount: the target is too long for a path"))
            if target == "/":
                raise self._error(MountSyntaxError("--mount: the target is the root"), text)
            if target and any(target == other.target for other in found):
                raise self._error(MountSyntaxError(f"--mount: two at {target}"), text)
            found.append(RunMount(mount, target, self._origin(mount)))
        return tuple(found)

    def _origin(self, mount: Mount) -> MountOrigin | None:
        store = self.state.store
        files: Files = self.state.options.context
        if mount.from_:
            files = self.files_of(mount.from_)
        elif mount.type != BIND:
            return None
        if isinstance(files, BuildContext):
            return ContextOrigin(files, store.driver.name == "overlay")
        return ImageOrigin(files, store)

    def _error(
        self, fault: MountSyntaxError | DeviceSyntaxError, near: str = ""
    ) -> DockerfileError:
        return self.state.dockerfile.error(
            self.instruction, fault.message, near=near, hint=fault.hint
        )


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
