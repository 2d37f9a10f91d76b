"""``ch-convert``: what SquashFS and tar of an image in storage cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import inputs
from bench.measure import Cost
from bench.report import Row, Table, figure, ratio

if TYPE_CHECKING:
    from bench.measure import Bench
    from bench.report import Results

ROUNDS = 5
_SQUASH_LIMIT, _TAR_LIMIT = 1.3, 1.1
_LEVEL = ("-comp", "zstd", "-Xcompression-level", "3", "-no-progress", "-quiet", "-noappend")


def measure(bench: Bench, results: Results) -> None:
    """Convert a large image to SquashFS and to tars."""
    convert, image = str(bench.programs / "ch-convert"), str(bench.programs / "ch-image")
    storage = f"--storage={bench.place / 'storage'}"
    tree, out = str(bench.place / "tree"), str(bench.place / "out")
    bench.run([image, storage, "-q", "import", str(inputs.big()), "big"])
    bench.run([convert, storage, "-q", "big", "-o", "dir", tree])
    ours = [convert, storage, "-q", "big"]
    commands = {
        ("SquashFS", "mksquashfs of a directory"): ["mksquashfs", tree, f"{out}.1", *_LEVEL],
        ("SquashFS", "ch-convert"): [*ours, f"{out}.sqfs"],
        ("tar.gz", "ch-image save"): [image, storage, "-q", "save", "-o", f"{out}.2", "big"],
        ("tar.gz", "ch-convert"): [*ours, f"{out}.tar.gz"],
        ("tar", "ch-image save"): [
            *(image, storage, "-q", "save", "--compression=none", "-o", f"{out}.3", "big")
        ],
        ("tar", "ch-convert"): [*ours, f"{out}.tar"],
    }
    runs: dict[tuple[str, str], list[Cost]] = {key: [] for key in commands}
    for _ in range(ROUNDS):
        for key, argv in commands.items():
            runs[key] += bench.time([argv])
    costs = {key: Cost.median(found) for key, found in runs.items()}
    rows = []
    for (form, program), cost in costs.items():
        own = costs[form, "ch-convert"]
        figures = figure(cost.wall, ".2f"), figure(cost.cpu, ".2f"), ratio(own.wall, cost.wall)
        rows.append(Row((form, f"{program}{cost.remark}", *figures)))
    results.tables.append(
        Table(
            "Convert",
            f"The large image, from storage. Medians of {ROUNDS} rounds.",
            ("to", "by", "wall, s", "CPU, s", "ratio: wall"),
            rows,
            commands=[" ".join(argv) for argv in commands.values()],
        )
    )
    squash, peer = costs["SquashFS", "ch-convert"], costs["SquashFS", "mksquashfs of a directory"]
    results.target(
        "storage to SquashFS: wall ÷ mksquashfs's", squash.wall / peer.wall, _SQUASH_LIMIT
    )
    for form in ("tar.gz", "tar"):
        quotient = costs[form, "ch-convert"].wall / costs[form, "ch-image save"].wall
        results.target(f"storage to {form}: wall ÷ ch-image save's", quotient, _TAR_LIMIT)
