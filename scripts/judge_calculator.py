"""Run the calculator through external test suites for calculators.

    make judges

    python scripts/judge_calculator.py --molecules MODEL --metal MODEL [--only NAME]
        [--json FILE]

torch-sim and ml-peg judge the model of molecules, matcalc that of a metal; both are
trained on closed forms (`scripts/judges/*.yaml`), which are judged beside them. The
exit status is 1 if anything failed. What each judge checks: docs/judges.md.
"""

import argparse
import importlib
from dataclasses import asdict
from pathlib import Path

import torch
from judges.verdict import Verdict, print_table

from equipot.storage.atomic_file import write_json
from equipot.system.environment import describe_environment

JUDGES = {"torch-sim": "molecules", "ml-peg": "molecules", "matcalc": "metal"}
"""And which model they judge. Each is imported only when it is asked for."""


def main() -> int:
    arguments = parse_arguments()
    torch.set_num_threads(1)
    verdicts: list[Verdict] = []
    for name in [arguments.only] if arguments.only else JUDGES:
        model = getattr(arguments, JUDGES[name])
        if model is None:
            print(f"{name} not run: it needs --{JUDGES[name]} MODEL", flush=True)
            continue
        print(f"{name} judges {model}", flush=True)
        module = importlib.import_module(f"judges.{name.replace('-', '_')}_judge")
        verdicts += module.judge(model)
    print_table(verdicts)
    if arguments.json is not None:
        environment = describe_environment()
        del environment["command"]  # it may contain paths of this machine
        record = {
            "environment": environment,
            "verdicts": [asdict(v) for v in verdicts],
        }
        write_json(arguments.json, record)
    return 0 if verdicts and all(v.passed for v in verdicts) else 1


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--molecules", type=Path, help="model of the ten elements")
    parser.add_argument("--metal", type=Path, help="model of copper")
    parser.add_argument("--only", choices=JUDGES, help="one judge")
    parser.add_argument("--json", type=Path, help="write the table to this file")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
