"""``python -m benchmarks.hook_overhead``: the time that pre-create over HTTP adds to a creation.

The time of the receiver is excluded. The program times creations on a server without hooks, creations on a server that
invokes ``examples/hook_receiver.py``, and direct requests to that receiver: in turn and over one connection each, so
that other load affects all three alike.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.tus import Client

_RECEIVER = Path(__file__).parent.parent / "examples" / "hook_receiver.py"
_ADDRESS = re.compile(r"http://\S+(/files/|/hooks)")
_WARM_UP = 50
#: The body of the direct requests to the receiver: the same as that of the server.
_EVENT = {
    "Type": "pre-create",
    "Event": {
        "Upload": {"ID": "", "Size": 1, "Offset": 0, "MetaData": {"filename": "bench.bin"}},
        "HTTPRequest": {"Method": "POST", "URI": "/files/", "RemoteAddr": "127.0.0.1:1", "Header": {}},
    },
}


def main() -> int:
    """Measure and print. Returns 1 if the median of the overhead is 5 ms or more."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--creations", type=int, default=1000)
    with tempfile.TemporaryDirectory() as folder, _running([str(_RECEIVER), "0"], {}) as hooks:
        hook_settings = {"TUSD_PY_HOOKS__HTTP_URLS": hooks, "TUSD_PY_HOOKS__ENABLED_EVENTS": "pre-create"}
        with serving(Path(folder, "plain"), {}) as plain, serving(Path(folder, "hooked"), hook_settings) as hooked:
            times = _measure(parser.parse_args().creations, plain, hooked, hooks)
    for name, seconds in times.items():
        print(f"{name:<28} p50 {_quantile(seconds, 50):6.2f} ms   p99 {_quantile(seconds, 99):6.2f} ms")
    overhead = [hooked - plain - own for plain, hooked, own in zip(*times.values(), strict=True)]
    print(f"{'overhead':<28} p50 {_quantile(overhead, 50):6.2f} ms   p99 {_quantile(overhead, 99):6.2f} ms")
    return int(_quantile(overhead, 50) >= 5)


def _measure(creations: int, plain: str, hooked: str, hooks: str) -> dict[str, list[float]]:
    parts = urlsplit(hooks)
    receiver = http.client.HTTPConnection(parts.hostname or "", parts.port)
    body = json.dumps(_EVENT).encode()

    def invoke() -> None:
        receiver.request("POST", parts.path, body, {"Content-Type": "application/json"})
        receiver.getresponse().read()

    with Client(plain) as first, Client(hooked) as second:
        actions: dict[str, Callable[[], object]] = {
            "creation": lambda: first.create(1),
            "creation with pre-create": lambda: second.create(1),
            "the receiver itself": invoke,
        }
        times: dict[str, list[float]] = {name: [] for name in actions}
        for number in range(creations + _WARM_UP):
            for name, action in actions.items():
                began = time.perf_counter()
                action()
                if number >= _WARM_UP:
                    times[name].append(time.perf_counter() - began)
    receiver.close()
    return times


def _quantile(seconds: list[float], percent: int) -> float:
    return statistics.quantiles(seconds, n=100)[percent - 1] * 1000


def serving(data: Path, environment: Mapping[str, str]) -> AbstractContextManager[str]:
    """Run a server with the data directory ``data`` and return its endpoint."""
    return _running(["-m", "tusd_py", "serve", "--port", "0", "--data-dir", str(data)], environment)


@contextmanager
def _running(arguments: list[str], environment: Mapping[str, str]) -> Iterator[str]:
    """Run a Python program and return the address that it prints."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TUSD_PY_")}
    with subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**inherited, **environment},
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            yield next(found[0] for line in process.stdout if (found := _ADDRESS.search(line)))
        finally:
            process.terminate()


if __name__ == "__main__":
    sys.exit(main())
