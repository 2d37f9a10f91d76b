"""All rules, and the parser directive ``check``, which chooses the rules to apply.

Specification: Docker's build checks; the rules have their names.  The Dockerfile reference,
“check”.
"""

from __future__ import annotations

from dataclasses import dataclass

from sundog.image.builder.check import files, stages, style, variables
from sundog.image.builder.check.subject import Subject

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sundog.image.builder.check.subject import Facts, Finding, Rule
    from sundog.image.dockerfile.parse import Dockerfile

RULES: dict[str, Rule] = {
    "ConsistentInstructionCasing": style.consistent_instruction_casing,
    "CopyIgnoredFile": files.copy_ignored_file,
    "DuplicateStageName": stages.duplicate_stage_name,
    "ExposeInvalidFormat": style.expose_invalid_format,
    "ExposeProtoCasing": style.expose_proto_casing,
    "FromAsCasing": style.from_as_casing,
    "FromPlatformFlagConstDisallowed": stages.from_platform_flag_const_disallowed,
    "InvalidDefaultArgInFrom": variables.invalid_default_arg_in_from,
    "InvalidDefinitionDescription": style.invalid_definition_description,
    "JSONArgsRecommended": stages.json_args_recommended,
    "LegacyKeyValueFormat": style.legacy_key_value_format,
    "MaintainerDeprecated": style.maintainer_deprecated,
    "MultipleInstructionsDisallowed": stages.multiple_instructions_disallowed,
    "NoEmptyContinuation": style.no_empty_continuation,
    "RedundantTargetPlatform": stages.redundant_target_platform,
    "ReservedStageName": stages.reserved_stage_name,
    "SecretsUsedInArgOrEnv": variables.secrets_used_in_arg_or_env,
    "StageNameCasing": style.stage_name_casing,
    "UndefinedArgInFrom": variables.undefined_arg_in_from,
    "UndefinedVar": variables.undefined_var,
    "WorkdirRelativePath": stages.workdir_relative_path,
}
# These rules apply only if the directive asks for them.
EXPERIMENTAL = frozenset({"InvalidDefinitionDescription"})
_ALL = "all"


@dataclass(frozen=True, slots=True)
class CheckDirective:
    """``# check=skip=RULE,…;experimental=RULE,…;error=true``.

    ``unknown`` has the parts that are none of these.  ``is_error`` says that a finding makes a
    build fail.
    """

    skipped: frozenset[str] = frozenset()
    experimental: frozenset[str] = frozenset()
    is_error: bool = False
    unknown: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> CheckDirective:
        """Parse the directive's value."""
        sets: dict[str, frozenset[str]] = {"skip": frozenset(), "experimental": frozenset()}
        is_error = False
        unknown: list[str] = []
        for part in filter(None, map(str.strip, text.split(";"))):
            key, _, value = (piece.strip() for piece in part.partition("="))
            names = {name.strip() for name in value.split(",") if name.strip()}
            if key == "error" and value.lower() in ("true", "false"):
                is_error = value.lower() == "true"
            elif key in sets:
                sets[key] = frozenset(RULES) if _ALL in names else frozenset(names)
                unknown += sorted(names - RULES.keys() - {_ALL})
            else:
                unknown.append(part)
        return cls(sets["skip"], sets["experimental"], is_error, tuple(unknown))

    def applies(self, rule: str) -> bool:
        """Tell whether a rule applies."""
        if rule in EXPERIMENTAL and rule not in self.experimental:
            return False
        return rule not in self.skipped


def check(dockerfile: Dockerfile, facts: Facts) -> list[Finding]:
    """Return the findings of all rules that apply to a Dockerfile, in the order of lines.

    Raises DockerfileError if substitution fails.
    """
    directive = CheckDirective.parse(dockerfile.directive("check"))
    subject = Subject.of(dockerfile, facts)
    findings = [
        finding
        for name, rule in RULES.items()
        if directive.applies(name)
        for finding in rule(subject)
    ]
    return sorted(findings, key=lambda finding: (finding.line, finding.rule))
