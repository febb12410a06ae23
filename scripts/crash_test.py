"""Kill runs at random and at chosen moments, fill their disk, and compare their ends.

    python scripts/crash_test.py --kills 50 --what all --json FILE

Small runs of `train-potential` and `equipot md` are killed with SIGKILL, resumed, and
killed again until they end; then every file is compared, bit by bit, with that of a run
that nobody disturbed. After some of the kills files are damaged as a power failure
could: the newest state is cut, zeroed or altered, and unfinished lines are appended to
logs and trajectories. With ``--what disk`` the disk fills up, and folders are
read-only; this mounts a tmpfs, which takes root. Exits with status 1 if there is any
difference.
"""

import argparse
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from crash_points import Count, FileLimit, KillAt, OtherUser
from crash_runs import (
    ENSEMBLES,
    Dynamics,
    Ended,
    Run,
    Server,
    Training,
    write_dynamics,
    write_training,
)
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from equipot.storage.atomic_file import write_json

KILLS_PER_RUN = 5
STEPS = 36
TRAINING_SIZES = (4, 8, 12, 20, 28, 40, 52, 64, 80, 100, 120, 140, 160)
DYNAMICS_SIZES = (4, 8, 12, 16, 20, 24, 28)
"""Sizes of disks in KiB: the runs need about 190 and 40."""
SIGKILLED = -9
BEFORE_IT = "going on from the state before it"


class Part:
    """Runs of one kind: how to make one, its undisturbed end, and what was counted."""

    def __init__(
        self,
        server: Server,
        title: str,
        make: Callable[[Path], Run],
        folder: Path,
        seed: str,
    ) -> None:
        self.server = server
        self.title = title
        self.make = make
        self.folder = folder
        folder.mkdir()
        self.random = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.failures: list[str] = []
        self.torn = False
        """Whether the newest state is damaged, and no process has said so."""
        self.damaged: set[str] = set()
        """Files of the present run that were damaged here."""

    def measure(self) -> None:
        """Run undisturbed: twice through, and once resumed after its end."""
        self.reference = self.make(self.folder / "reference")
        self._succeeds(self.reference.go(self.server))
        again = self.make(self.folder / "again")
        ended = again.go(self.server, Count())
        self._succeeds(ended)
        self.points, self.duration = ended.points, ended.seconds
        self._compare(again, "undisturbed")
        ended = again.go(self.server)
        self._succeeds(ended)
        self.start = ended.seconds
        self._compare(again, "resumed after its end")

    def kill_at_random(self, kills: int) -> None:
        """Kill at moments that are uniform over what is left of a run."""
        while self.counts["random kills"] < kills and len(self.failures) < 10:
            run = self._fresh()
            for _ in range(KILLS_PER_RUN):
                left = self.start + (1 - run.progress()) * (self.duration - self.start)
                ended = self._go(run, kill_after=self.random.uniform(0, left))
                if ended.code != SIGKILLED:
                    break
                self.counts["random kills"] += 1
                self._note_kill(run, ended)
                if self.random.random() < 0.4:
                    self._harm(run)
            self._finish(run)

    def kill_at_points(self, stride: int) -> None:
        """Kill before every operation on files, and before a random one after that."""
        for number in range(1, self.points + 1, stride):
            run = self._fresh()
            for point in (number, self.random.randint(1, self.points)):
                ended = self._go(run, KillAt(point))
                if ended.code != SIGKILLED:
                    break
                self.counts["chosen kills"] += 1
                self._note_kill(run, ended)
            self._finish(run)

    def fill_disk(self, sizes: tuple[int, ...]) -> None:
        """Give a run a disk that is too small, then one that is large enough."""
        for size in sizes:
            with small_disk(self.folder / "disk", size) as disk:
                run = self.make(disk / "run")
                run.text = self.folder / "disk.out"
                ended = self._go(run)
                if ended.code == 0:
                    self.counts["disks that sufficed"] += 1
                    continue
                self._check_full(run, ended, f"disk of {size} KiB")
                self.counts["full disks"] += 1
                mount("-o", "remount,size=64m", str(disk))
                self._finish(run)

    def limit_files(self, sizes: tuple[int, ...]) -> None:
        """Let no file grow beyond a size, then let it."""
        for size in sizes:
            run = self._fresh()
            ended = self._go(run, FileLimit(size))
            if ended.code == 0:
                self.counts["limits that sufficed"] += 1
                continue
            self._check_full(run, ended, f"files of at most {size} bytes")
            self.counts["files beyond their limit"] += 1
            self._finish(run)

    def forbid_writing(self) -> None:
        """Start and resume in folders that cannot be written to."""
        with small_disk(self.folder / "disk", 4096) as disk:
            run = self.make(disk / "run")
            run.text = self.folder / "disk.out"
            self._go(run, KillAt(self.points * 2 // 3))
            before = contents(run.folder)
            mount("-o", "remount,ro", str(disk))
            for name in ("new", "run"):
                other = self.make(disk / name)
                other.text = run.text
                self._check_refused(other, other.go(self.server), "Read-only")
            if contents(run.folder) != before:
                self._fail("a read-only folder was changed")
            mount("-o", "remount,rw", str(disk))
            self._finish(run)
        run = self._fresh()
        self._go(run, KillAt(self.points * 2 // 3))
        before = contents(run.folder)
        self._check_refused(run, run.go(self.server, OtherUser()), "Permission denied")
        if contents(run.folder) != before:
            self._fail("the folder of another user was changed")
        self._finish(run)

    def done(self) -> str:
        """What was counted, in short."""
        kills = self.counts["random kills"] + self.counts["chosen kills"]
        ends, failures = self.counts["ends compared"], len(self.failures)
        return f"{kills} kills, {ends} ends compared, {failures} failures"

    def _fresh(self) -> Run:
        self.counts["runs"] += 1
        self.torn, self.damaged = False, set()
        return self.make(self.folder / f"run{self.counts['runs']}")

    def _go(self, run: Run, *arguments: Any, **options: Any) -> Ended:
        resumed = (run.folder / "config.yaml").is_file()
        self.counts["resumes"] += resumed
        ended = run.go(self.server, *arguments, **options)
        if "Traceback" in ended.text or ended.code > 1:
            self._fail(f"exit status {ended.code}: {ended.text}")
        if self.torn and BEFORE_IT in ended.text:
            self.counts["torn states passed over"] += 1
            self.torn = False
        elif self.torn and ended.code == 0:
            self._fail(f"a torn state was not noticed: {ended.text}")
        return ended

    def _finish(self, run: Run) -> None:
        self._succeeds(self._go(run))
        self._compare(run, "stopped and resumed")

    def _compare(self, run: Run, what: str) -> None:
        self.counts["ends compared"] += 1
        try:
            differences = run.differences(self.reference)
        except (OSError, ValueError) as error:
            differences = [repr(error)]
        if differences:
            self._fail(f"{run.folder.name}, {what}, differs in {differences}")

    def _note_kill(self, run: Run, ended: Ended) -> None:
        phase = ended.phase if run.states.exist() else "before the first state"
        self.counts[f"killed: {phase}"] += 1
        for harm in run.harmed():
            if not any(name in harm for name in self.damaged):
                self._fail(f"half a file after a kill in {phase}: {harm}")
        self.counts["folders examined after a kill"] += 1

    def _harm(self, run: Run) -> None:
        """Damage what a power failure can damage."""
        if not run.states.exist():
            return
        for name in GROWING:
            if (path := run.folder / name).exists():
                self.damaged.add(name)
                with path.open("ab") as file:
                    file.write(self.random.choice(TAILS))
        for name in ("model.safetensors", "environment.json"):
            if (path := run.folder / name).exists() and run.progress() > 0.5:
                self.damaged.add(name)
                self.counts["other files torn"] += 1
                path.write_bytes(path.read_bytes()[:-20])
        newest, before = run.states.paths
        saved = not (run.folder / "state.new.safetensors").exists()
        if saved and before.exists() and not newest.samefile(before):
            content = bytearray(newest.read_bytes())
            self.random.choice(TEARS)(content, self.random)
            newest.write_bytes(content)
            self.torn = True
            self.damaged.add(newest.name)
            self.counts["states torn"] += 1

    def _check_full(self, run: Run, ended: Ended, what: str) -> None:
        found = re.search(r"error: the disk is full: .* for (\S+?);", ended.text)
        if ended.code != 1 or not found or str(run.folder) not in found[1]:
            self._fail(f"{what}: exit status {ended.code}: {ended.text}")
        else:
            name = Path(found[1]).name
            self.counts[f"named: {'tensorboard' if 'tfevents' in name else name}"] += 1
        for harm in run.harmed():
            self._fail(f"{what}: {harm}")

    def _check_refused(self, run: Run, ended: Ended, reason: str) -> None:
        self.counts["folders that cannot be written to"] += 1
        clear = f"{reason}" in ended.text and str(run.folder) in ended.text
        if ended.code != 1 or not clear or ended.phase != "start":
            self._fail(f"{reason}: exit status {ended.code}: {ended.text}")

    def _succeeds(self, ended: Ended) -> None:
        if ended.code != 0:
            self._fail(f"exit status {ended.code}: {ended.text}")

    def _fail(self, message: str) -> None:
        self.failures.append(message)
        print(f"FAILED {self.title}: {message}", flush=True)


def cut(content: bytearray, chance: random.Random) -> None:
    del content[chance.randrange(len(content)) :]


def zero_tail(content: bytearray, chance: random.Random) -> None:
    """As a file system leaves blocks that had no time to reach the disk."""
    start = chance.randrange(len(content) - 8)
    content[start:] = bytes(len(content) - start)


def flip_bit(content: bytearray, chance: random.Random) -> None:
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)


GROWING = (
    "log.csv",
    "metrics.csv",
    "train.log",
    "trajectory.traj",
    "trajectory.extxyz",
)

TAILS = (b"\0" * 700, b"1,0.5,-3.2", b"4\nLattice")
"""Of files that were growing."""

TEARS = (cut, zero_tail, flip_bit)


def contents(folder: Path) -> dict[str, bytes]:
    files = (p for p in sorted(folder.rglob("*")) if p.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True, text=True)


@contextmanager
def small_disk(folder: Path, kibibytes: int) -> Iterator[Path]:
    """A file system of its own, in memory."""
    folder.mkdir(exist_ok=True)
    mount("-t", "tmpfs", "-o", f"size={kibibytes}k,mode=755", "none", str(folder))
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def can_mount(folder: Path) -> str | None:
    """Why no file system can be mounted here, or None."""
    try:
        with small_disk(folder, 64):
            return None
    except (OSError, subprocess.CalledProcessError) as error:
        return getattr(error, "stderr", None) or str(error)


def parts_of(
    server: Server, arguments: argparse.Namespace, root: Path
) -> Iterator[tuple[Part, str]]:
    """Parts that were asked for, measured, with what to do with each."""
    what, seed = arguments.what, arguments.seed
    config = write_training(root / "data")
    training = Part(
        server, "training", lambda f: Training(f, config), root / "training", f"{seed}"
    )
    training.measure()
    yield training, "kill" if what in ("all", "training") else ""
    yield training, "disk" if what in ("all", "disk") else ""
    model = training.reference.folder / "model.safetensors"
    for name in ENSEMBLES if arguments.ensemble is None else [arguments.ensemble]:
        chosen = name in ("npt", arguments.ensemble)
        if what == "training" or (what == "disk" and not chosen):
            continue
        for form in ("traj", "extxyz"):
            part = dynamics_part(server, root, model, name, form, seed)
            part.measure()
            if what in ("all", "md"):
                yield part, "kill" if chosen else "kill at random"
            yield part, "disk" if what in ("all", "disk") and chosen else ""


def dynamics_part(
    server: Server, root: Path, model: Path, name: str, form: str, seed: int
) -> Part:
    config = write_dynamics(root / "data", model, name, form, STEPS)
    return Part(
        server,
        f"md, {name}, {form}",
        lambda f: Dynamics(f, config),
        root / f"{name}_{form}",
        f"{seed}{name}{form}",
    )


def test(
    part: Part, what: str, arguments: argparse.Namespace, no_mount: str | None
) -> None:
    """Do with a part what was asked for."""
    training = part.title == "training"
    if what.startswith("kill"):
        # The two formats of a trajectory share the kills of an ensemble.
        part.kill_at_random(arguments.kills if training else -(-arguments.kills // 2))
        if what == "kill":
            part.kill_at_points(arguments.stride)
        return
    part.limit_files(
        (2000, 12000, 20000, 40000) if training else (2400, 3300, 4000, 8000)
    )
    if no_mount is None:
        part.fill_disk(TRAINING_SIZES if training else DYNAMICS_SIZES)
        part.forbid_writing()


def show(parts: list[Part], console: Console) -> None:
    columns = {
        "kills": ("random kills", "chosen kills"),
        "before 1st state": ("killed: before the first state",),
        "starting": ("killed: start",),
        "in steps": ("killed: steps",),
        "saving": ("killed: state",),
        "logging": ("killed: log",),
        "validating": ("killed: validation",),
        "testing": ("killed: test",),
        "torn": ("states torn", "other files torn"),
        "full disks": ("full disks", "files beyond their limit"),
        "refused": ("folders that cannot be written to",),
        "resumes": ("resumes",),
        "ends": ("ends compared",),
    }
    table = Table(title="Stopped runs", box=SIMPLE_HEAD)
    table.add_column("run")
    for name in (*columns, "failures"):
        table.add_column(name, justify="right")
    for part in parts:
        counts = [sum(part.counts[n] for n in names) for names in columns.values()]
        table.add_row(part.title, *map(str, (*counts, len(part.failures))))
    console.print(table)


def write_counts(
    arguments: argparse.Namespace, parts: list[Part], *, mounted: bool
) -> None:
    record = {
        "seed": arguments.seed,
        "stride of chosen kills": arguments.stride,
        "mounted": mounted,
        "failures": sum(len(part.failures) for part in parts),
        "parts": {part.title: dict(sorted(part.counts.items())) for part in parts},
    }
    write_json(arguments.json, record)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50, help="at random, of each kind")
    parser.add_argument(
        "--what", choices=("all", "training", "md", "disk"), default="all"
    )
    parser.add_argument("--ensemble", choices=tuple(ENSEMBLES))
    parser.add_argument("--stride", type=int, default=1, help="between chosen kills")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="file for the counts")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        root.chmod(0o755)
        no_mount = can_mount(root / "mount")
        if no_mount is not None and arguments.what in ("all", "disk"):
            print(
                f"left out, as nothing can be mounted here ({no_mount.strip()}): full "
                "and read-only disks; files are limited in size instead"
            )
        parts: list[Part] = []
        with closing(Server()) as server:
            for part, what in parts_of(server, arguments, root):
                if what:
                    test(part, what, arguments, no_mount)
                    print(f"{part.title}: {what}: {part.done()}", flush=True)
                parts += [part] if part not in parts else []
                if arguments.json is not None:
                    write_counts(arguments, parts, mounted=no_mount is None)
    show(parts, Console(width=180))
    failures = sum(len(part.failures) for part in parts)
    total = sum((part.counts for part in parts), Counter())
    kills = total["random kills"] + total["chosen kills"]
    print(
        f"{kills} kills, {total['resumes']} resumes, {total['ends compared']} ends "
        f"compared, {failures} failures, {time.monotonic() - begin:.0f} s"
    )
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
