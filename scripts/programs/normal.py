"""Take out of a row's output what no two runs have in common."""

from __future__ import annotations

import re

MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
DAY = r"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? +)?"
# In this order: a pattern, what stands in its place, and the reason.
RULES = (
    (rf"\b{DAY}{MONTH}[a-z]* +\d\d?\b(?:,? +\d{{4}}\b)?", "DATE", "times"),
    (rf"\b{DAY}\d\d? {MONTH} \d{{4}}\b", "DATE", "times"),
    (r"\b20\d\d([-/.])\d\d\1\d\d(?:T\d\d:\d\d:\d\d)?", "DATE", "times"),
    (r"(?<=DATE )\d\d:\d\d\b(?!:)", "TIME", "times"),  # elsewhere, it may be owner and group
    (r"\b\d\d?:\d\d:\d\d(?:\.\d+)?\b", "TIME", "times"),
    (r"\b1[789]\d{8}(?:\.\d+)?\b", "SECONDS", "times"),
    (r"\b\d+(?:\.\d+ ?(?:ms|sec|s)| ?ms| ?seconds)\b", "DURATION", "times"),
    (r"(?i)\b(pid[ :=]+)\d+", r"\1PID", "process numbers"),
    (r"(?<=[\w)])\[\d+\](?=:)", "[PID]", "process numbers"),
    (r"(?<=kill: \()\d+(?=\))", "PID", "process numbers"),
    (r"(?<=@test_)\d+(?=_tmp)", "PID", "process numbers"),
    (r"^\w+: line \d+: +\d+ ", "PID ", "process numbers"),
    (r"(?i)\b(ino(?:de)?(?: number)?[ :=]+)\d+", r"\1INODE", "inode numbers"),
    (r"\b0x[0-9a-f]{6,}\b", "ADDRESS", "addresses"),
    (r"(?<=tmp\.)\w{6,10}\b", "NAME", "temporary names"),
    (r"(?<=/tmp/)[\w.-]*\w{6}\b", "NAME", "temporary names"),
    (r"^/run/\.sundog-fast-path\.so .*\n", "", "the library of the fast path, bound there"),
)
# Paths that only one side makes, or that have another name each time.
PATHS = (
    (r"(?<=/tmp/)[\w.-]*\w{6}(?:\.log)?(?=[/ ])", "NAME", "temporary names"),
    (r"\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d", "TIME", "times"),
    (r"(?<=/)[0-9a-f]{2}(?= d |/[0-9a-f]{36})", "HH", "digests of contents with times"),
    (r"(?<=[/_])[0-9a-f]{36,64}\b", "DIGEST", "digests of contents with times"),
    (r"(?<=/)\d+(?=\.\w+ )", "NUMBER", "process numbers and times in names"),
    (r"^(/.*[.-])\d+(?=[/ ]\S* )", r"\1NUMBER", "process numbers and times in names"),
    (r"(user\.librepo\.checksum\.mtime=)\w+", r"\1TIME", "times"),
)
COVERED = re.compile(
    r"^/(?:ch|mnt|dev|proc|sys|etc/(?:hosts|resolv\.conf|machine-id)|"
    r"run/\.sundog-fast-path\.so)[/ ]"
)
_RULES = [(re.compile(pattern, re.MULTILINE), word) for pattern, word, _ in RULES]
_PATHS = [(re.compile(pattern), word) for pattern, word, _ in PATHS]


def output(text: str) -> list[str]:
    """Return the lines of an output, comparable."""
    return _replaced(text, _RULES).splitlines()


def made(lines: tuple[str, ...]) -> list[str]:
    """Return the list of what a row made, comparable; without what covers the image's own files."""
    return sorted(_replaced(line, _PATHS) for line in lines if not COVERED.match(line))


def _replaced(text: str, rules: list[tuple[re.Pattern[str], str]]) -> str:
    for pattern, word in rules:
        text = pattern.sub(word, text)
    return text
