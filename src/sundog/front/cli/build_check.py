"""Check a Dockerfile: ``build --check``, and any build with ``# check=error=true``."""

from __future__ import annotations

from sundog.errors import EXIT_ERROR, NotInStorage
from sundog.front.cli.output import TAB, print_line
from sundog.image.builder.check.lint import CheckDirective, check
from sundog.image.builder.check.subject import Facts
from sundog.image.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from sundog.front.cli.common_arguments import ImageArguments
    from sundog.front.cli.report import Report
    from sundog.image.builder.files.context import BuildContext
    from sundog.image.dockerfile.parse import Dockerfile

_HINT = "# check=skip=RULE,… at the top of the Dockerfile leaves rules out"


def print_findings(
    arguments: ImageArguments,
    dockerfile: Dockerfile,
    context: BuildContext,
    build_args: Mapping[str, str],
    report: Report,
) -> int:
    """Print the findings on standard output; return the exit status, 1 if there are any."""
    for name in CheckDirective.parse(dockerfile.directive("check")).unknown:
        report.warning(f"parser directive 'check': unknown: {name}")
    with Store.open(arguments.storage_path()) as store:

        def base_environment(image: str) -> Mapping[str, str] | None:
            try:
                return store.images.get(image).config.environment
            except NotInStorage:
                report.verbose(f"UndefinedVar not checked: not in storage: {image}")
                return None

        facts = Facts(build_args, base_environment, context.ignored(), context.ignore_file())
        findings = check(dockerfile, facts)
    for finding in findings:
        message, *excerpt = finding.lines
        print_line(message)
        for line in excerpt:
            print_line(line, TAB)
    if not findings:
        report.info(f"check complete, nothing found: {dockerfile.path}")
        return 0
    report.fatal(f"check: {len(findings)} found in {dockerfile.path}", _HINT)
    return EXIT_ERROR


def fails_on_findings(dockerfile: Dockerfile) -> bool:
    """Tell whether the Dockerfile asks that its build fail on findings."""
    return CheckDirective.parse(dockerfile.directive("check")).is_error
