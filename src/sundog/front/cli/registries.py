"""Options of the commands that use registries, and the prompt for a password."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from functools import cache, partial

from sundog.base.kernel.libc import escaped
from sundog.base.spelling import BOOLEANS, nearest
from sundog.errors import CredentialsError, SundogError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.front.cli.common_arguments import ImageArguments
    from sundog.front.cli.report import Report
    from sundog.image.builder.bases import LookUp, PromisedImage, Pull
    from sundog.image.oci.platform import Platform
    from sundog.image.registry.credentials import Credentials
    from sundog.image.registry.options import PullOptions
    from sundog.image.registry.session import Session
    from sundog.image.store.image_files import Image
    from sundog.image.store.store import Store

PULL_POLICIES = ALWAYS, MISSING, NEVER, NEWER = "always", "missing", "never", "newer"
ATTEMPTS = 5
HOST = "host"
_YOLO = "yolo"


def open_session(
    arguments: ImageArguments,
    report: Report,
    *,
    authenticated: bool = False,
    attempts: int = ATTEMPTS,
    silence: float | None = None,
) -> Session:
    """Return the command's session with registries; ``silence`` is as of ``Session``."""
    from sundog.image.registry.session import Session  # a build seldom pulls

    return Session(
        os.environ,
        report,
        verify=not arguments.tls_no_verify,
        authenticated=authenticated or wants_login(arguments),
        prompt=ask_credentials,
        remember=not arguments.password_many,
        attempts=attempts,
        silence=silence,
        shared=arguments.shared_stores(report.warning),
    )


def wants_login(arguments: ImageArguments) -> bool:
    """Tell whether the user asked for authentication, by option or by variable."""
    return arguments.auth or os.environ.get("CH_IMAGE_AUTH") == "yes"


def pull_options(
    arguments: ImageArguments, last_layer: int | None = None, *, arch: str | None = None
) -> PullOptions:
    """Return the options of a pull, from the common options; ``arch`` replaces --arch."""
    arch = arguments.arch if arch is None else arch
    from sundog.image.registry.options import PullOptions  # only what pulls needs options

    return PullOptions(
        chosen_platform(arch),
        any_platform=arch == _YOLO,
        last_layer=last_layer,
        fresh=arguments.always_download,
    )


def chosen_platform(arch: str) -> Platform | None:
    """Return the platform of --arch; None for any, or for this machine's."""
    from sundog.image.oci.platform import Platform  # most commands need none

    if not arch:
        raise UsageError("--arch: no architecture", "as in --arch=arm64")
    return None if arch in (HOST, _YOLO) else Platform.parse(arch)


def pull_policy(text: str) -> str:
    """Return the policy that --pull of a build names, one of ``PULL_POLICIES``.

    Raises UsageError.
    """
    word = {True: ALWAYS, False: MISSING}[BOOLEANS[text]] if text in BOOLEANS else text
    found = word.lower().removeprefix("if")
    if found not in PULL_POLICIES:
        close = nearest(found, PULL_POLICIES)
        hint = f"did you mean {close}?" if close else f"one of: {', '.join(PULL_POLICIES)}"
        raise UsageError(f"--pull={text}: no such policy", hint)
    return found


def puller(
    arguments: ImageArguments, report: Report, *, policy: str = MISSING, attempts: int = ATTEMPTS
) -> Pull | None:
    """Return the function that pulls the base images of a build, each once; None for ``never``."""
    if policy == NEVER:
        return None
    # One session, so that the user is asked for a password once.
    session = cache(partial(open_session, arguments, report, attempts=attempts))
    pulled: dict[tuple[str, Platform | None], Image] = {}

    def pull_base(store: Store, text: str, platform: Platform | None) -> Image:
        from sundog.image.registry.pull import pull  # a build seldom pulls

        options = pull_options(arguments)
        if platform is not None:
            options = replace(options, platform=platform)
        key = (text, options.platform)
        if key not in pulled:
            report.info(f"pulling image:    {text}")
            try:
                pulled[key] = pull(store, session(), text, text, options=options, report=report)
            except SundogError as error:
                if policy != NEWER or not store.images.has(text, options.wanted):
                    raise
                report.warning(f"{text}: taken as it is in storage: {error.message}")
                pulled[key] = store.images.get(text, options.wanted)
        return pulled[key]

    return pull_base


def looker(arguments: ImageArguments, report: Report) -> LookUp:
    """Return the function that looks up the base images of a build, and fetches none."""
    session = cache(partial(open_session, arguments, report))

    def look_up_base(store: Store, text: str, platform: Platform | None) -> PromisedImage:
        from sundog.image.registry.pull import look_up  # a build seldom pulls

        options = pull_options(arguments)
        if platform is not None:
            options = replace(options, platform=platform)
        return look_up(store, session(), text, options=options, report=report)

    return look_up_base


def ask_credentials(registry: str, username: str | None = None) -> Credentials:
    """Ask the user for name and password; raise CredentialsError where there is no terminal."""
    import getpass

    from sundog.image.registry.credentials import (
        PASSWORD_VARIABLE,
        USERNAME_VARIABLE,
        Credentials,
    )

    try:
        with open("/dev/tty", "r+b", buffering=0) as terminal:
            if username is None:
                terminal.write(f"\nUsername for {escaped(registry)}: ".encode())
                username = terminal.readline().decode(errors="replace").strip()
    except OSError as error:
        raise CredentialsError(
            f"{registry}: no credentials, and no terminal to ask for them",
            f"set ${USERNAME_VARIABLE} and ${PASSWORD_VARIABLE}, or run "
            f"ch-image login --password-stdin {registry}",
        ) from error
    sys.stderr.flush()
    return Credentials(username, getpass.getpass("Password: "))
