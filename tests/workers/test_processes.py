"""Workers as processes: our command, Dramatiq's, and the child of a server."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.waiting import eventually
from tests.support.worker import job, job_queue_of, jobs_in, settings_of
from tusd_py.serving.child_process import SupervisedChild
from tusd_py.settings import Settings
from tusd_py.wiring.clock import utc_now

BIN = Path(sys.executable).parent


@contextmanager
def started(arguments: Sequence[str], settings: Settings, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process over the data of ``settings``, with no other settings."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TUSD_PY_")}
    environment |= {
        "TUSD_PY_STORAGE__DATA_DIR": settings.storage.data_dir,
        "TUSD_PY_WORKER__BROKER": settings.worker.broker,
    }
    with log.open("ab") as stream:
        process = subprocess.Popen(arguments, stderr=stream, env=environment, start_new_session=True)
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(10)


async def worked(settings: Settings, timeout_seconds: float = 30.0) -> None:
    """Return once a worker has handled a job: it records in the job that its actor is unknown."""
    async with job_queue_of(settings) as job_queue:
        await job_queue.add_jobs([job("unheard")], utc_now())
        deadline = time.monotonic() + timeout_seconds
        while "no actor 'unheard'" not in (await jobs_in(job_queue))[0].error:
            assert time.monotonic() < deadline, "no worker has looked at the newest job"
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    "command",
    [
        [BIN / "tusd-py", "worker"],
        [sys.executable, "-m", "workers"],
        [BIN / "dramatiq", "workers", "--processes", "2", "--threads", "2"],
    ],
    ids=["tusd-py worker", "python -m workers", "dramatiq workers"],
)
@pytest.mark.anyio
async def test_worker_command(tmp_path: Path, broker: str, command: list[str | Path]) -> None:
    """It runs jobs with the settings of the environment, and exits with 0 soon after SIGTERM."""
    settings = settings_of(tmp_path / "data", broker=broker)
    log = tmp_path / "worker.log"
    with started([str(word) for word in command], settings, log) as process:
        await worked(settings)
        process.terminate()
        assert 0 == process.wait(15), log.read_text()
    assert "Traceback" not in log.read_text()


def test_exit_does_not_wait_for_the_event_loop_of_actors() -> None:
    """At a second SIGTERM, as a service manager causes, Dramatiq exits without stopping the loop: the process ends."""
    program = (
        "import sys\n"
        "from dramatiq import Worker\n"
        "from dramatiq.brokers.stub import StubBroker\n"
        "from workers.broker import ActorEventLoop\n"
        "broker = StubBroker(middleware=[])\n"
        "ActorEventLoop().before_worker_boot(broker, Worker(broker))\n"
        "sys.exit(3)\n"
    )
    assert 3 == subprocess.run([sys.executable, "-c", program], timeout=15).returncode


def test_worker_that_cannot_stop_is_ended_with_exit_code_1() -> None:
    """A lock that an interrupted actor never released holds up the stop: the process ends all the same."""
    code = (
        "import threading, workers.process as p; p.exit_if_overdue(0.2); l = threading.Lock(); l.acquire(); l.acquire()"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, "did not stop in time" in ended.stderr) == (1, True)


@pytest.mark.anyio
async def test_worker_waits_for_database(tmp_path: Path) -> None:
    """Started before its database can be opened, it logs that and works once it can."""
    (tmp_path / "data").mkdir()
    database = tmp_path / "data" / "tusd.sqlite3"
    database.mkdir()
    settings = settings_of(tmp_path / "data")
    log = tmp_path / "worker.log"

    with started([sys.executable, "-m", "workers"], settings, log):
        await eventually(lambda: "could not start, retrying" in log.read_text(), "the worker says what it waits for")
        database.rmdir()
        await worked(settings)


def supervised_child(settings: Settings, *, grace_seconds: float = 20.0) -> SupervisedChild:
    command = [sys.executable, "-m", "workers", "--settings", "{descriptor}", "--child"]
    return SupervisedChild(command, settings.model_dump_json().encode() + b"\n", grace_seconds=grace_seconds)


def pid_of(child: SupervisedChild) -> int:
    assert child.pid is not None
    return child.pid


@pytest.mark.anyio
async def test_child_restarted_and_stopped(tmp_path: Path) -> None:
    """A killed worker is replaced; it stops when the server stops it, not by signals to the process group."""
    settings = settings_of(tmp_path)
    child = supervised_child(settings)
    child.start()
    try:
        await worked(settings)
        first = pid_of(child)
        os.kill(first, signal.SIGKILL)
        await worked(settings_of(tmp_path))
        second = pid_of(child)
        assert second != first
        os.kill(second, signal.SIGTERM)
        os.kill(second, signal.SIGINT)
        await worked(settings_of(tmp_path))
        assert second == child.pid
    finally:
        child.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(second, 0)


def parent_process(arguments: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(arguments, stdout=subprocess.PIPE)


@pytest.mark.anyio
async def test_child_exits_with_parent(tmp_path: Path) -> None:
    """The worker exits however its parent dies, ``kill -9`` included."""
    settings = settings_of(tmp_path)
    program = (
        "import sys, time\n"
        "from tusd_py.serving.child_process import SupervisedChild\n"
        "child = SupervisedChild([sys.executable, '-m', 'workers', '--settings', '{descriptor}', '--child'],"
        " sys.argv[1].encode() + b'\\n', grace_seconds=10)\n"
        "child.start()\n"
        "while child.pid is None: time.sleep(0.01)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    arguments = [sys.executable, "-c", program, settings.model_dump_json()]
    with parent_process(arguments) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        await worked(settings)
        parent.kill()
    await eventually(lambda: not Path(f"/proc/{worker}").exists(), "the worker has ended")


def test_settings_passed_to_worker(tmp_path: Path) -> None:
    """The worker has the settings of the server."""
    settings = Settings.model_validate(
        {
            "server": {"trusted_proxies": ["10.0.0.0/8", "::1"], "header_bytes_max": "64KiB"},
            "storage": {"data_dir": str(tmp_path)},
            "hooks": {"http_urls": ["https://user:secret@example.com/hooks"]},
            "worker": {"broker": "redis://:secret@127.0.0.1/1", "lease_seconds": 2.5},
        }
    )
    assert settings == Settings.model_validate_json(settings.model_dump_json())
