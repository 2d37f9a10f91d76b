"""Images that start before they are here, from a registry behind a slow link."""

from __future__ import annotations

import contextlib
import json
import shlex
import statistics
import subprocess
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.place import WorkshopError

from bench import inputs
from bench.file_system import WHOLE, ext4
from bench.measure import PYTHON, Cost
from bench.registry import registry
from bench.report import Row, Table, figure, ratio
from bench.tools import Podman, Sundog

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bench.measure import Bench
    from bench.report import Results

ROUNDS = 3
RANKS = 8
LINKS = {"1 Gbit/s, 1 ms": (1e9, 0.001), "200 Mbit/s, 20 ms": (2e8, 0.02)}
SLOW = "200 Mbit/s, 20 ms"
# With --divide, there is only the first.
LARGE = "science"
IMAGES = {
    "numpy": ("python3-numpy",),
    LARGE: ("python3-numpy", "python3-scipy", "python3-pandas", "python3-matplotlib"),
}
# Layers on top of the tarball's: one that removes files, and one that adds few.
_DOCKERFILE = "FROM {base}\nRUN rm -r /usr/share/doc /usr/share/man\nCOPY Dockerfile /srv/\n"
TRUE, IMPORT, READ_ALL = "`true`", "`import numpy`", "reading all"
PROGRAMS: Mapping[str, Sequence[str]] = {
    TRUE: ("true",),
    IMPORT: ("python3", "-c", "import numpy"),
    READ_ALL: ("sh", "-c", "find / -xdev -type f -exec cat {} + >/dev/null"),
}
STARTS = {TRUE: 40, IMPORT: 10, READ_ALL: 3}
CHUNKED, GZIP = "zstd:chunked", "gzip"
AND_RUN, LAZY, ON_DEMAND = "pull + run", "--lazy", "--lazy=ondemand"
RECORDED = "--lazy --record"
_HOW = (AND_RUN, LAZY, ON_DEMAND, RECORDED)
PULL, COMPLETED, RANKS_READ = "pull", "pull --lazy, then pull", f"{READ_ALL}, {RANKS} ranks"
_BUSY = 0.5  # of a core: a link that takes more may be what is measured
_SLOW_LINK = Path(__file__).parent / "slow_link.py"
_MANIFEST = {"Accept": "application/vnd.oci.image.manifest.v1+json"}


@dataclass(frozen=True)
class _Traffic:
    """What went through a link: requests, bytes of answers, and the link's CPU seconds."""

    requests: int
    received: int
    cpu: float


@dataclass(frozen=True)
class _Link:
    """A running slow_link.py."""

    host: str
    process: subprocess.Popen[str]

    def total(self) -> _Traffic:
        """Return all that has gone through the link."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return _Traffic(*json.loads(self.process.stdout.readline()))


@dataclass(frozen=True)
class _Found:
    """What one command cost."""

    cost: Cost
    requests: float
    received: float
    busy: float  # the link's CPU, in cores

    @classmethod
    def median(cls, found: Sequence[_Found]) -> _Found:
        """Condense rounds; of the link's CPU, return the most."""
        return cls(
            Cost.median([each.cost for each in found]),
            statistics.median(each.requests for each in found),
            statistics.median(each.received for each in found),
            max(each.busy for each in found),
        )


_Rounds = dict[tuple[str, str, str], list[_Found]]  # by link, form of the image, and command


def measure(bench: Bench, results: Results, *, divisor: int = 1) -> None:
    """Take all measurements; with a ``divisor``, of the smaller image, in fewer rounds."""
    rounds = max(1, ROUNDS // divisor)
    with registry(bench, bench.directory("registry")) as host:
        for name in list(IMAGES)[: 1 if divisor > 1 else None]:
            image = _Image(bench, host, name)
            image.make()
            _pushes(bench, image, results)
            image.index()
            image.record()
            _starts(bench, image, rounds, results)
            _later_starts(bench, image, divisor, results)


@dataclass(frozen=True)
class _Image:
    """An image of Python's packages in a registry, in all forms, each in its repository."""

    bench: Bench
    host: str
    name: str

    @property
    def storage(self) -> Sundog:
        """The storage in which the image was made."""
        return Sundog("sundog", self.bench, self.bench.place / f"storage-{self.name}")

    @property
    def indexes(self) -> Sundog:
        """The storage that has the indexes of the layers, and no image."""
        return Sundog("sundog", self.bench, self.bench.place / f"indexes-{self.name}")

    @property
    def ch_image(self) -> str:
        """The command ch-image."""
        return str(self.bench.programs / "ch-image")

    @property
    def ch_run(self) -> str:
        """The command ch-run."""
        return str(self.bench.programs / "ch-run")

    def reference(self, form: str, host: str = "") -> str:
        """Return the reference of the image in this form."""
        return f"{host or self.host}/{self.name}/{form.replace(':', '-')}:latest"

    def make(self) -> None:
        """Build the image."""
        context, base = self.bench.directory(f"context-{self.name}"), f"{self.name}-base"
        self.do(self.storage.importing(inputs.science(*IMAGES[self.name]), base))
        (context / "Dockerfile").write_text(_DOCKERFILE.format(base=base))
        self.do(self.storage.building(context / "Dockerfile", options=["-t", self.name]))

    def index(self) -> None:
        """Push the image as gzip, and make indexes of its layers."""
        self.do([self.ch_image, "push", self.name, self.reference(GZIP)])
        command = [self.ch_image, "index", self.reference(GZIP)]
        self.bench.run(command, self.indexes.environment)

    def record(self) -> None:
        """Record what `import numpy` reads as zstd:chunked."""
        storage = Sundog("sundog", self.bench, self.bench.place / f"recorded-{self.name}")
        command = [self.ch_run, LAZY, self.recording, self.reference(CHUNKED), "--"]
        self.bench.run([*command, *PROGRAMS[IMPORT]], storage.environment)

    @property
    def recording(self) -> str:
        """The option with the record."""
        return f"--record={self.bench.place / self.name}.record"

    def do(self, argv: Sequence[str]) -> None:
        """Run a command where the image was made."""
        self.bench.run(argv, self.storage.environment)

    def size(self, form: str) -> int:
        """Return the bytes of the layers of this form in the registry."""
        repository = f"{self.name}/{form.replace(':', '-')}"
        url = f"http://{self.host}/v2/{repository}/manifests/latest"
        with urllib.request.urlopen(urllib.request.Request(url, headers=_MANIFEST)) as answer:
            return sum(layer["size"] for layer in json.load(answer)["layers"])

    def commands(self, form: str, host: str) -> dict[str, str]:
        """Return what is measured of one form, as scripts by label; ``host`` is the link's.

        Of gzip, that is what starts alone: all of it takes half an hour.
        """
        reference = self.reference(form, host)
        pull = f"{self.ch_image} pull {reference}"
        scripts: dict[str, str] = {}
        for label, program in PROGRAMS.items():
            if form == GZIP and label == READ_ALL:
                return scripts
            words = f"{reference} -- {shlex.join(program)}"
            scripts[f"{label}, {AND_RUN}"] = f"{pull} && {self.ch_run} {words}"
            for how in (LAZY, ON_DEMAND):
                scripts[f"{label}, {how}"] = f"{self.ch_run} {how} {words}"
            if (form, label) == (CHUNKED, IMPORT):
                recorded = shlex.join([self.ch_run, LAZY, self.recording])
                scripts[f"{label}, {RECORDED}"] = f"{recorded} {words}"
        begin = f"{self.ch_image} pull --lazy {reference}"
        rank = f"{self.ch_run} {reference} -- {shlex.join(PROGRAMS[READ_ALL])}"
        scripts[PULL] = pull
        # Its containers need control groups: no more of podman can be measured anywhere.
        podman = Podman("podman", self.bench, Path("$CH_IMAGE_STORAGE"))
        scripts["podman's pull"] = " ".join(podman.pulling(reference))
        scripts[COMPLETED] = f"{begin} && {pull}"
        scripts[RANKS_READ] = (
            f'{begin}; ranks=; for i in $(seq {RANKS}); do {rank} & ranks="$ranks $!"; done;'
            " for rank in $ranks; do wait $rank; done"
        )
        return scripts


def _pushes(bench: Bench, image: _Image, results: Results) -> None:
    """Push the image as zstd:chunked, by Sundog and by skopeo from a layout of plain tars."""
    layout = bench.place / f"layout-{image.name}"
    save = [image.ch_image, "save", "--format=oci-dir", "--compression=none"]
    image.do([*save, "-o", str(layout), image.name])
    form = f"--dest-compress-format={CHUNKED}"
    skopeo = ["skopeo", "copy", "-q", "--dest-tls-verify=false", form]
    commands = {
        "sundog": [
            *(image.ch_image, "push", f"--compression={CHUNKED}"),
            *(image.name, image.reference(CHUNKED)),
        ],
        "skopeo": [*skopeo, f"oci:{layout}", f"docker://{image.reference('skopeo')}"],
    }
    costs = bench.time(list(commands.values()), env=image.storage.environment)
    own, peer = costs
    results.tables.append(
        Table(
            f"Push as zstd:chunked: {image.name}",
            "To a docker-registry on this machine; skopeo from a layout of tars. One round.",
            ("by", "wall, s", "CPU, s", "pushed, MB"),
            [
                Row((
                    f"{name}{cost.remark}",
                    figure(cost.wall, ".1f"),
                    figure(cost.cpu, ".1f"),
                    "" if cost.failures else figure(image.size(form) / 1e6, ".1f"),
                ))
                for (name, form), cost in zip(
                    (("sundog", CHUNKED), ("skopeo", "skopeo")), costs, strict=True
                )
            ],
            commands=[" ".join(argv) for argv in commands.values()],
        )
    )  # fmt: skip
    name = f"push of {image.name} as zstd:chunked: CPU ÷ skopeo's"
    results.target(name, own.cpu / peer.cpu, 0.25)


def _starts(bench: Bench, image: _Image, rounds: int, results: Results) -> None:
    """Start the image from the registry, through each link."""
    found: _Rounds = {}
    with contextlib.ExitStack() as stack:
        links = {
            name: stack.enter_context(_slow_link(bench, image.host, *speed))
            for name, speed in LINKS.items()
        }
        for turn in range(rounds):
            for name, link in links.items():
                place = bench.directory(f"lazy-{image.name}-{turn}-{link.host[10:]}")
                with ext4(place, bench.user, WHOLE):
                    for form in (CHUNKED, GZIP):
                        for label, script in image.commands(form, link.host).items():
                            one = _once(image, link, place, script)
                            found.setdefault((name, form, label), []).append(one)
    median = {key: _Found.median(each) for key, each in found.items()}
    _tell(image, median, rounds, results)
    for name in LINKS:
        _targets(image, name, median, results)


def _once(image: _Image, link: _Link, place: Path, script: str) -> _Found:
    """Run a command in fresh storage that has the indexes."""
    bench = image.bench
    storage = Sundog("sundog", bench, place / str(sum(1 for _ in place.iterdir())))
    bench.run(["cp", "-r", str(image.indexes.storage), str(storage.storage)])
    before = link.total()
    (cost,) = bench.time([["sh", "-ec", script]], env=storage.environment)
    after = link.total()
    if cost.failures:
        raise WorkshopError(f"{script}: {cost.failures[-1]}")
    return _Found(
        cost,
        after.requests - before.requests,
        after.received - before.received,
        (after.cpu - before.cpu) / cost.wall,
    )


@contextlib.contextmanager
def _slow_link(bench: Bench, host: str, rate: float, delay: float) -> Iterator[_Link]:
    """Run a link to the server ``host`` as the user."""
    words = [host.rpartition(":")[2], str(rate), str(delay)]
    with subprocess.Popen(
        # As text: the user may not be able to read the checkout.
        [PYTHON, "-I", "-S", "-c", _SLOW_LINK.read_text(), *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        user=bench.user.uid,
        group=bench.user.gid,
        extra_groups=bench.user.groups,
    ) as process:
        assert process.stdout is not None
        try:
            yield _Link(f"127.0.0.1:{int(process.stdout.readline())}", process)
        finally:
            process.kill()


def _tell(
    image: _Image, median: Mapping[tuple[str, str, str], _Found], rounds: int, results: Results
) -> None:
    """Enter the table of starts."""
    rows = []
    for (link, form, label), found in median.items():
        program, _, how = label.partition(", ")
        base = f"{program}, {AND_RUN}" if how in _HOW else PULL
        cost, size = found.cost, image.size(form)
        rows.append(
            Row((
                *(link, form, label, figure(cost.wall, ".2f"), figure(cost.cpu, ".2f")),
                ratio(cost.wall, median[link, form, base].cost.wall),
                figure(found.requests, ".0f"),
                figure(found.received / 1e6, ".1f"),
                figure(100 * found.received / size, ".1f"),
                figure(found.busy, ".2f"),
            ))
        )  # fmt: skip
    sizes = ", ".join(f"{image.size(form) / 1e6:.0f} MB as {form}" for form in (CHUNKED, GZIP))
    tar = inputs.science(*IMAGES[image.name]).stat().st_size
    results.tables.append(
        Table(
            f"Start before the image is here: {image.name}",
            f"Debian with {', '.join(IMAGES[image.name])}, a tar of {tar / 1e6:.0f} MB, and two"
            f" small layers; in the registry {sizes}. A link of this rate and round trip is"
            f" between docker-registry and the tool. Each command in fresh storage; rounds:"
            f" {rounds}, medians; CPU of all processes. The ratio is that to pull + run of the same"
            " program, or to pull. Requests, MB (of 10^6 bytes) and per cent of the layers are all"
            " that came until the command ended: with `--lazy`, the rest comes meanwhile."
            f" Storage has an index of each gzip. The link's CPU is in cores; a row above {_BUSY}"
            " does not count.",
            (
                *("link", "form", "command", "wall, s", "CPU, s", "ratio: wall"),
                *("requests", "received, MB", "%", "link's CPU"),
            ),
            rows,
            commands=list(image.commands(CHUNKED, "HOST").values()),
        )
    )


def _targets(
    image: _Image, link: str, median: Mapping[tuple[str, str, str], _Found], results: Results
) -> None:
    """Enter the figures to reach; a link that was busy gives none."""
    size = image.size(CHUNKED)

    def found(label: str) -> _Found:
        return median[link, CHUNKED, label]

    def wall(label: str, base: str) -> float:
        return found(label).cost.wall / found(base).cost.wall

    walls = [
        (f"{TRUE}: wall ÷ {AND_RUN}", f"{TRUE}, {LAZY}", f"{TRUE}, {AND_RUN}", 0.05),
        (f"{READ_ALL}: wall ÷ {AND_RUN}", f"{READ_ALL}, {LAZY}", f"{READ_ALL}, {AND_RUN}", 1.1),
        ("complete: wall ÷ pull", COMPLETED, PULL, 1.1),
    ]
    if link == SLOW:
        label = f"{IMPORT}: wall ÷ {AND_RUN}"
        walls.append((label, f"{IMPORT}, {LAZY}", f"{IMPORT}, {AND_RUN}", 0.2))
        label = f"{IMPORT}: wall with a record ÷ without"
        walls.append((label, f"{IMPORT}, {RECORDED}", f"{IMPORT}, {LAZY}", 0.7))
    begin = f"{image.name}, {link}"
    for what, label, base, limit in walls:
        if max(found(label).busy, found(base).busy) <= _BUSY:
            results.target(f"{begin}, {what}", wall(label, base), limit)
    for program, requests, share in ((TRUE, 10, 0.01), (IMPORT, 40, 0.07)):
        one = found(f"{program}, {ON_DEMAND}")
        results.target(f"{begin}, {program}: requests", one.requests, requests)
        if image.name == LARGE:
            came = one.received / size
            results.target(f"{begin}, {program}: bytes ÷ those of the layers", came, share)
    ranks = found(RANKS_READ).received / size
    results.target(f"{begin}, {RANKS} ranks: bytes ÷ those of the layers", ranks, 1.1)


def _later_starts(bench: Bench, image: _Image, divisor: int, results: Results) -> None:
    """Start the image once it is here, and from a shared store, beside the same as SquashFS."""
    storage = Sundog("sundog", bench, bench.place / f"later-{image.name}")
    reference, squashed = image.reference(CHUNKED), bench.place / f"{image.name}.sqfs"
    for lazily in (["--lazy"], []):
        bench.run([image.ch_image, "pull", *lazily, reference], storage.environment)
    convert = [str(bench.programs / "ch-convert"), image.name, str(squashed)]
    image.do(convert)
    shared = bench.place / f"shared-{image.name}"
    image.do([image.ch_image, "publish", image.name, str(shared)])
    image.do([image.ch_image, "pack", image.name])
    starts = {
        "SquashFS": [str(squashed)],
        "complete": [reference],
        "packed": [f"--storage={image.storage.storage}", image.name],
        "shared": [f"--image-store={shared}", image.name],
    }
    limits = {("complete", "SquashFS"): (1.2, 1.2, 1.5), ("shared", "packed"): (1.1, 1.1, 1.1)}
    rows = []
    for number, label in enumerate((TRUE, IMPORT, READ_ALL)):
        commands = [[image.ch_run, *words, "--", *PROGRAMS[label]] for words in starts.values()]
        rounds = max(1, STARTS[label] // divisor)
        costs = bench.time(commands, rounds=rounds, env=storage.environment)
        rows += [
            Row((label, kind, figure(cost.wall, ".3f"), figure(cost.cpu, ".3f")))
            for kind, cost in zip(starts, costs, strict=True)
        ]
        cost = dict(zip(starts, costs, strict=True))
        for (own, peer), most in limits.items():
            begin, limit = f"{image.name}, {own}, {label}", most[number]
            results.target(f"{begin}: CPU ÷ {peer}", cost[own].cpu / cost[peer].cpu, limit)
            if label != READ_ALL:
                results.target(f"{begin}: wall ÷ {peer}", cost[own].wall / cost[peer].wall, limit)
    results.tables.append(
        Table(
            f"Start once the image is here: {image.name}",
            "As SquashFS; as zstd:chunked that came by `pull --lazy` and is complete; from storage"
            " with a SquashFS for each layer; and from a store into which it was published. Medians"
            " of several rounds in turns, with warm caches; CPU of all processes.",
            ("program", "image", "wall, s", "CPU, s"),
            rows,
        )
    )
