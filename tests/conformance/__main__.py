"""The command line: ``python -m tests.conformance URL``. Reads arguments, runs the suite, prints, decides the exit
code."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from tests.conformance.case import Level
from tests.conformance.cases import all_cases
from tests.conformance.run import Outcome, run_cases
from tests.conformance.subject import Unreachable, probe
from tests.conformance.table import as_json, details, summary, table


def main(arguments: list[str] | None = None) -> int:
    """0: no MUST or SHOULD failed (with ``--strict``: nothing failed); 1: some did; 2: there is nothing to test."""
    options = _parser().parse_args(arguments)
    headers = dict(part.split(": ", 1) for part in options.header)
    try:
        subject = probe(options.url, headers)
        tight = probe(options.tight, headers, is_impatient=True) if options.tight else None
    except Unreachable as error:
        print(error, file=sys.stderr)
        return 2
    wanted = options.only.split(",") if options.only else []
    cases = [
        case for case in all_cases() if not wanted or case.id.startswith(tuple(wanted)) or case.extension in wanted
    ]
    started = time.monotonic()
    verdicts = run_cases(cases, subject, tight)
    for line in (*table(verdicts), *details(verdicts, everything=options.verbose), *summary(verdicts)):
        print(line)
    print(f"{len(verdicts)} cases in {time.monotonic() - started:.1f} s against {subject.url}")
    if options.json:
        options.json.write_text(json.dumps(as_json(subject, verdicts), indent=1, ensure_ascii=False) + "\n")
    counted = tuple(Level) if options.strict else (Level.MUST, Level.SHOULD)
    return int(any(verdict.outcome is Outcome.FAIL and verdict.case.level in counted for verdict in verdicts))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("url", help="where uploads are created, e.g. http://127.0.0.1:8080/files/")
    parser.add_argument("--tight", metavar="URL", help="the same server with tight limits: see docs/conformance.md")
    parser.add_argument("--header", action="append", default=[], metavar="'Name: value'", help="sent with each request")
    parser.add_argument("--only", metavar="IDS", help="ids (or their beginnings) and extensions, separated by commas")
    parser.add_argument("--strict", action="store_true", help="policy deviations fail the run as well")
    parser.add_argument("--verbose", action="store_true", help="print every conversation, not only those that failed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there")
    return parser


if __name__ == "__main__":
    sys.exit(main())
