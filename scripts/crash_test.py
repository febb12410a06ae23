"""Kill runs at random times, resume them, and compare their results.

    python scripts/crash_test.py --kills 50 [--run training|ENSEMBLE] [--seed 0]

Small runs of `train-potential` and `equipot md` are killed with SIGKILL, resumed, and
killed again until they end; then every file is compared, bit for bit, with that of an
undisturbed run. After some of the kills the newest state is cut, zeroed or altered by
one bit, and logs and trajectories get an unfinished end, as after a power failure.
The first difference ends the script. The tests kill runs before chosen operations on
files, and fill their disks.
"""

import argparse
import os
import random
import tempfile
from contextlib import closing
from pathlib import Path

from crashing.inputs import ENSEMBLES, write_dynamics, write_training
from crashing.processes import Ended, Server
from crashing.runs import Dynamics, Run, Training

KILLS_PER_RUN = 5
STEPS = 36
SIGKILLED = -9
GROWING = (
    "log.csv",
    "metrics.csv",
    "train.log",
    "trajectory.traj",
    "trajectory.extxyz",
)
UNFINISHED_ENDS = (b"\0" * 700, b"1,0.5,-3.2", b"4\nLattice")
PASSED_OVER = "going on from the state before it"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=50, help="of each run")
    parser.add_argument("--run", choices=("all", "training", *ENSEMBLES), default="all")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as name, closing(Server()) as server:
        root = Path(name)
        training = Training(root / "training", write_training(root / "data"))
        succeed(training.go(server))
        model = training.folder / "model.safetensors"
        if options.run in ("all", "training"):
            kill_at_random(server, training, options.kills, options.seed)
        for ensemble in ENSEMBLES:
            if options.run not in ("all", ensemble):
                continue
            for form in ("traj", "extxyz"):  # they share the kills
                config = write_dynamics(root / "data", model, ensemble, form, STEPS)
                run = Dynamics(root / f"{ensemble}_{form}", config)
                succeed(run.go(server))
                kill_at_random(server, run, -(-options.kills // 2), options.seed)


def kill_at_random(server: Server, whole: Run, kills: int, seed: int) -> None:
    """Kill copies of a run at times uniform over the remainder of each.

    Args:
        server: Starts the processes.
        whole: The undisturbed run.
        kills: How many, over all copies.
        seed: Of the moments and of the damage.
    """
    chance = random.Random(f"{seed}{whole.folder.name}")
    duration = whole.ended.seconds
    start = whole.go(server).seconds  # a resume of what has ended
    killed = torn = copies = 0
    while killed < kills:
        copies += 1
        folder = whole.folder.with_name(f"{whole.folder.name}_{copies}")
        run = type(whole)(folder, whole.config)
        damaged: set[str] = set()
        noticed = True
        for _ in range(KILLS_PER_RUN):
            left = start + (1 - run.progress()) * (duration - start)
            ended = run.go(server, kill_after=chance.uniform(0, left))
            noticed = noticed or PASSED_OVER in ended.text
            if ended.code != SIGKILLED:
                break
            killed += 1
            if harmed := [h for h in run.harmed() if not any(n in h for n in damaged)]:
                raise SystemExit(f"{folder.name}: half a file after a kill: {harmed}")
            if run.states.exist() and chance.random() < 0.4:
                damaged |= tear_tails(run, chance)
                if tear_state(run, chance):
                    damaged.add("state.safetensors")
                    noticed = False
                    torn += 1
        ended = run.go(server)
        succeed(ended)
        if not noticed and PASSED_OVER not in ended.text:
            raise SystemExit(f"{folder.name}: torn state not noticed: {ended.text}")
        if differences := run.differences(whole):
            raise SystemExit(f"{folder.name}: differs in {differences}")
    name = whole.folder.name
    print(
        f"{name}: {killed} kills and {torn} torn states, {copies} equal ends",
        flush=True,
    )


def succeed(ended: Ended) -> None:
    """Exit if a run did not complete."""
    if ended.code != 0:
        raise SystemExit(f"exit status {ended.code}: {ended.text}")


def tear_tails(run: Run, chance: random.Random) -> set[str]:
    """Append incomplete data to growing files; returns their names."""
    names = {name for name in GROWING if (run.folder / name).exists()}
    for name in sorted(names):
        with (run.folder / name).open("ab") as file:
            file.write(chance.choice(UNFINISHED_ENDS))
    return names


def tear_state(run: Run, chance: random.Random) -> bool:
    """Truncate, zero or alter the newest state, if there is a previous one."""
    newest, before = run.states.paths
    unfinished = (run.folder / "state.new.safetensors").exists()
    if unfinished or not before.exists() or newest.samefile(before):
        return False
    content = bytearray(newest.read_bytes())
    place = chance.randrange(len(content) - 8)
    match chance.randrange(3):
        case 0:
            del content[place:]
        case 1:  # blocks that were not yet written to the disk
            content[place:] = bytes(len(content) - place)
        case _:
            content[place] ^= 1 << chance.randrange(8)
    newest.write_bytes(content)
    return True


if __name__ == "__main__":
    main()
