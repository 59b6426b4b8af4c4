"""Sends small requests with wrk, a load generator in C, whose script only says which request to send."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from benchmarks.load import Load, LoadFailed, Target

_PROGRAM = "wrk"
_REPORT = "REPORT "
_GRACE_SECONDS = 30.0
# wrk calls request() for each request; formatting each request only once keeps the cost of Lua small.
_SCRIPT = """
wrk.method = {method}
wrk.body = {body}
{headers}
local formatted, turn = {{}}, 0
function request()
  if turn == 0 then
{formats}
  end
  turn = turn % #formatted + 1
  return formatted[turn]
end
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('{report}{{"requests": %d, "microseconds": %d, "failures": %d}}\\n', summary.requests,
    summary.duration, e.connect + e.read + e.write + e.status + e.timeout))
end
"""


def is_installed() -> bool:
    return shutil.which(_PROGRAM) is not None


def make_load(target: Target, seconds: float, connections: int, script: Path) -> Load:
    """Run wrk against ``target``. Raises ``LoadFailed`` for any answer that is not 2xx or a lost connection.

    ``script`` is overwritten.
    """
    script.write_bytes(_script(target))
    address = f"http://{target.host}:{target.port}{target.path}"
    command = [_PROGRAM, "--threads=1", f"--connections={connections}", f"--duration={seconds:.0f}s"]
    done = subprocess.run(
        [*command, f"--script={script}", address],
        capture_output=True,
        text=True,
        timeout=seconds + _GRACE_SECONDS,
        check=True,
    )
    reports = [line.removeprefix(_REPORT) for line in done.stdout.splitlines() if line.startswith(_REPORT)]
    if not reports:
        raise LoadFailed(f"wrk printed {done.stdout[-400:]!r} {done.stderr[-400:]!r}")
    report = json.loads(reports[-1])
    if report["failures"] or not report["requests"]:
        raise LoadFailed(f"{report['failures']} of {report['requests']} requests failed")
    return Load(report["requests"], report["microseconds"] / 1e6)


def _script(target: Target) -> bytes:
    headers = "\n".join(_headers(target.headers))
    formats: list[str] = []
    for each in target.variants or [{}]:
        formats += [*_headers(each), "formatted[#formatted + 1] = wrk.format()"]
    text = _SCRIPT.format(
        method=_lua(target.method),
        body=_lua(target.body.decode("latin-1")),
        headers=headers,
        formats="\n".join(formats),
        report=_REPORT,
    )
    return text.encode("latin-1")


def _headers(headers: Mapping[str, str]) -> list[str]:
    """The lines of Lua that set ``headers``."""
    return [f"wrk.headers[{_lua(name)}] = {_lua(value)}" for name, value in headers.items()]


def _lua(text: str) -> str:
    """A Lua string literal with every byte escaped, so that no byte of a body can end it."""
    return '"' + "".join(f"\\{byte:03d}" for byte in text.encode("latin-1")) + '"'
