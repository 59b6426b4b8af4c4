"""``python -m benchmarks``: reads the arguments, prepares the servers, measures them and writes the results."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import plots, recipes, report, wrk
from benchmarks.figures import judge
from benchmarks.floors import FLOORS
from benchmarks.machine import (
    OtherPrograms,
    describe_machine,
    divide_cores,
    raise_open_files_limit,
    scratch_directory,
    touch_memory,
)
from benchmarks.run import run
from benchmarks.scenarios.big_patch import BIG_PATCH, CHUNKS, PARALLEL
from benchmarks.scenarios.contract import Bench
from benchmarks.scenarios.finished_uploads import CONCATENATION, DOWNLOAD
from benchmarks.scenarios.interruptions import CUT, TAKEOVER
from benchmarks.scenarios.slow_uploads import SLOW_UPLOADS
from benchmarks.scenarios.small_requests import APPENDS, CREATIONS, HEADS, SMALL_UPLOADS, TERMINATIONS
from benchmarks.scenarios.start import START
from benchmarks.servers import Recipe, ServerUnavailable

SCENARIOS = (
    CREATIONS,
    SMALL_UPLOADS,
    HEADS,
    APPENDS,
    TERMINATIONS,
    START,
    BIG_PATCH,
    CHUNKS,
    PARALLEL,
    CONCATENATION,
    DOWNLOAD,
    SLOW_UPLOADS,
    CUT,
    TAKEOVER,
)
_ROUNDS = 5
_CORES_BUSY_ELSEWHERE_MAX = 0.15
_ROOT = Path(__file__).parent.parent
_RESULTS = Path(__file__).parent / "results" / "latest.json"
_DOCUMENT = _ROOT / "docs" / "benchmarks.md"


def main() -> int:
    """Run what the arguments request. Returns 0 if every server was measured and every floor holds, else 1."""
    arguments = _arguments()
    scenarios = [scenario for scenario in SCENARIOS if scenario.name in arguments.only]
    servers, missing = _prepare(arguments.servers)
    if arguments.before is not None:
        servers.append(recipes.before(arguments.before))
    raise_open_files_limit()
    cores = divide_cores()
    os.sched_setaffinity(0, cores.load)
    with scratch_directory(arguments.scratch) as scratch:
        touch_memory(scratch)
        bench = Bench(scratch, cores)
        other_programs = OtherPrograms()
        outcomes = run(scenarios, servers, bench, arguments.rounds, _log)
        busy_elsewhere = round(other_programs.cores(), 2)
        machine = describe_machine(cores, scratch) | {
            "load": "wrk" if wrk.is_installed() else "own",
            "cores_busy_elsewhere": busy_elsewhere,
        }
    metrics = {(scenario.name, metric.key): metric for scenario in SCENARIOS for metric in scenario.metrics}
    finished = report.Report(
        date=datetime.now(UTC).date().isoformat(),
        machine=machine,
        servers={recipe.name: recipe.title for recipe in servers},
        rounds=arguments.rounds,
        scenarios=scenarios,
        outcomes=outcomes,
        floor_results=judge(FLOORS, metrics, outcomes),
    )
    print(report.as_text(finished))
    whole = len(scenarios) == len(SCENARIOS) and len(servers) == len(recipes.usual()) and arguments.rounds >= _ROUNDS
    if whole and (arguments.even_if_busy or busy_elsewhere <= _CORES_BUSY_ELSEWHERE_MAX):
        _write(finished)
    elif whole:
        _log(f"other programs kept {busy_elsewhere} cores busy: nothing is written; measure again on an idle machine")
    else:
        _log(f"not a whole run of {_ROUNDS} rounds: {_RESULTS.name} and {_DOCUMENT.name} are not changed")
    ours_failed = any("ours" in by_server and by_server["ours"].failure for by_server in outcomes.values())
    return 1 if missing or ours_failed or not all(result.passed for result in finished.floor_results) else 0


def _arguments() -> argparse.Namespace:
    names = [scenario.name for scenario in SCENARIOS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure tusd-py and other tus servers.")
    parser.add_argument(
        "--only", type=_one_of(names), default=names, help=f"comma-separated scenarios: {','.join(names)}"
    )
    parser.add_argument(
        "--servers",
        type=_one_of(list(recipes.ALL)),
        default=recipes.usual(),
        help=f"comma-separated servers: {','.join(recipes.ALL)}",
    )
    parser.add_argument("--before", type=Path, help="also measure the checkout of this project in this directory")
    parser.add_argument("--rounds", type=int, default=_ROUNDS, help="rounds of each scenario")
    parser.add_argument(
        "--even-if-busy",
        action="store_true",
        help="write the results of a whole run although other programs used the cores; they say how much",
    )
    parser.add_argument("--scratch", type=Path, help="directory for the data (default: shared memory)")
    return parser.parse_args()


def _one_of(known: Sequence[str]) -> Callable[[str], list[str]]:
    """An argparse type: a comma-separated list of known names."""

    def parse(text: str) -> list[str]:
        names = text.split(",")
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is not one of {', '.join(known)}")
        return names

    return parse


def _prepare(names: Sequence[str]) -> tuple[list[Recipe], list[str]]:
    """Return the available servers, and a message for each that is not available."""
    found, missing = [], []
    for name in names:
        try:
            found.append(recipes.ALL[name]())
        except ServerUnavailable as reason:
            missing.append(f"{name} is left out: {reason}")
            _log(missing[-1])
    return found, missing


def _write(finished: report.Report) -> None:
    _RESULTS.parent.mkdir(exist_ok=True)
    data = finished.as_data()
    _RESULTS.write_text(json.dumps(data, indent=1) + "\n")
    _DOCUMENT.write_text(report.replace_between_markers(_DOCUMENT.read_text(), report.as_markdown(finished)))
    drawn = plots.draw(data, _DOCUMENT.parent / "benchmarks")
    _log(f"written: {', '.join(str(path.relative_to(_ROOT)) for path in (_RESULTS, _DOCUMENT, *drawn))}")


def _log(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
