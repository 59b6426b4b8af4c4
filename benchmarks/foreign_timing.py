"""``python -m benchmarks.foreign_timing``: whether the time of an answer tells a foreign upload from an unknown one.

One server, one connection, and for each verb the two requests in turn, so that other load affects both alike. Prints
the medians and their difference, compared with what chance alone gives: the same between two halves of one kind.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import itertools
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

_SECRET = "a secret of the benchmark, 32 bytes or more"
_VERBS = ("HEAD", "PATCH", "DELETE", "GET")
#: A difference of medians up to this many times that between two halves of the same kind is chance.
_CHANCE_MAX = 3.0
_SECONDS_MAX = 20e-6


def main() -> int:
    """Measure and print. Returns 1 if a verb can be told apart."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=4000, help="of each verb and kind")
    options = parser.parse_args()
    is_apart = False
    with tempfile.TemporaryDirectory() as folder, _serving(Path(folder)) as port:
        token = _token("alice")
        parts = [_create(port, token, "Upload-Length: 0", "Upload-Concat: partial") for _ in range(20)]
        final = "Upload-Concat: final;" + " ".join(f"/files/{part}" for part in parts)
        kinds = {"regular": _create(port, token, "Upload-Length: 100"), "final": _create(port, token, final)}
        for verb, kind in itertools.product(_VERBS, kinds):
            times = _measure(port, verb, kinds[kind], options.requests)
            medians = {kind: statistics.median(each) for kind, each in times.items()}
            difference = medians["foreign"] - medians["unknown"]
            chance = max(abs(statistics.median(each[::2]) - statistics.median(each[1::2])) for each in times.values())
            told_apart = abs(difference) > max(_SECONDS_MAX, _CHANCE_MAX * chance)
            is_apart = is_apart or told_apart
            print(
                f"{verb:<6} {kind:<7} "
                f"foreign {medians['foreign'] * 1e6:7.1f} us  unknown {medians['unknown'] * 1e6:7.1f} us  "
                f"difference {difference * 1e6:+6.1f} us  by chance {chance * 1e6:5.1f} us"
                f"{'  TOLD APART' if told_apart else ''}"
            )
    return int(is_apart)


def _measure(port: int, verb: str, foreign: str, count: int) -> dict[str, list[float]]:
    token = _token("bob")
    times: dict[str, list[float]] = {"foreign": [], "unknown": []}
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number in range(count + 200):
            for kind in random.sample(["foreign", "unknown"], 2):
                upload_id = foreign if kind == "foreign" else os.urandom(16).hex()
                started = time.perf_counter()
                status = _ask(connection, verb, upload_id, token)
                seconds = time.perf_counter() - started
                if status != 404:
                    raise RuntimeError(f"{verb} of an upload that is {kind} was answered {status}")
                if number >= 200:  # the first ones warm up
                    times[kind].append(seconds)
    return times


def _ask(connection: socket.socket, verb: str, upload_id: str, token: str) -> int:
    patch = "Content-Type: application/offset+octet-stream\r\nUpload-Offset: 0\r\nContent-Length: 0\r\n"
    connection.sendall(
        f"{verb} /files/{upload_id} HTTP/1.1\r\nHost: bench\r\nTus-Resumable: 1.0.0\r\n"
        f"Authorization: Bearer {token}\r\n"
        f"{patch if verb == 'PATCH' else ''}\r\n".encode()
    )
    answer = connection.recv(65536)
    head, _, body = answer.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    while verb != "HEAD" and len(body) < length:
        body += connection.recv(65536)
    return int(head[9:12])


def _create(port: int, token: str, *headers: str) -> str:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(
            b"POST /files/ HTTP/1.1\r\nHost: bench\r\nTus-Resumable: 1.0.0\r\nContent-Length: 0\r\n"
            b"Authorization: Bearer " + "\r\n".join([token, *headers]).encode() + b"\r\n\r\n"
        )
        head = connection.recv(65536).decode()
    location = next(line for line in head.split("\r\n") if line.lower().startswith("location:"))
    return location.rsplit("/", 1)[1].strip()


def _token(subject: str) -> str:
    parts = [{"alg": "HS256", "typ": "JWT"}, {"sub": subject, "exp": int(time.time()) + 3600}]
    text = ".".join(_base64(json.dumps(part).encode()) for part in parts)
    return f"{text}.{_base64(hmac.digest(_SECRET.encode(), text.encode(), hashlib.sha256))}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@contextmanager
def _serving(data_dir: Path) -> Iterator[int]:
    settings = {"LOG__LEVEL": "warning", "ACCESS__ANONYMOUS": "none", "JWT__SECRET": _SECRET}
    variables = {f"TUSD_PY_{name}": value for name, value in settings.items()}
    command = [sys.executable, "-m", "tusd_py", "serve", "--port", "0", "--data-dir", str(data_dir)]
    with subprocess.Popen(
        command, env={**os.environ, **variables}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            url = next(word for line in process.stdout for word in line.split() if word.startswith("http://"))
            yield urlsplit(url).port or 0
        finally:
            process.terminate()


if __name__ == "__main__":
    sys.exit(main())
