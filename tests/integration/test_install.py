"""The wheel and the environment of the image, and the installation as the README describes it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest
from tusclient.client import TusClient

from tests.support.content import MIB, content
from tests.support.image import ROOT, copied, is_sent, run, stages
from tests.support.programs import find_program
from tests.support.receiver import Receiver, receiving
from tests.support.server import start_server
from tests.support.stored import assert_stored
from tests.support.waiting import until_now

pytestmark = [
    pytest.mark.timeout(240),
    # The client leaves its files to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@dataclass(frozen=True)
class Installed:
    """An environment that contains only the wheel and its requirements."""

    environment: Path
    wheel: Path

    def command(self, name: str) -> str:
        return str(self.environment / "bin" / name)


@pytest.fixture(scope="module")
def installed(image: tuple[Path, Path]) -> Installed:
    """The result of the first stage of the Dockerfile."""
    return Installed(*image)


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory that contains only a package ``workers`` of the user and is also on ``PYTHONPATH``."""
    directory = tmp_path / "empty"
    (directory / "workers").mkdir(parents=True)
    for module in ("__init__.py", "__main__.py"):
        (directory / "workers" / module).write_text("raise SystemExit('the package of the user was imported')\n")
    monkeypatch.chdir(directory)
    monkeypatch.setenv("PYTHONPATH", str(directory))
    return directory


@pytest.fixture
def constraints(tmp_path: Path, installed: Installed) -> Path:
    """A constraints file for pip and uv: the locked versions, and our wheel instead of a published one."""
    file = tmp_path / "constraints.txt"
    locked = re.findall(r"^[a-z0-9-]+==[^\\\n]*", (ROOT / "requirements.lock").read_text(), re.M)
    file.write_text("\n".join([*locked, f"tusd-py @ {installed.wheel.as_uri()}\n"]))
    return file


def webhook_settings(receiver: Receiver) -> dict[str, str]:
    return {"WEBHOOKS__ENDPOINTS": json.dumps([{"name": "all", "url": receiver.url, "allow_private": True}])}


def has_completed(receiver: Receiver) -> bool:
    """Whether the receiver got ``upload.ready``."""
    return any(call.hook == "upload.ready" for call in receiver.calls)


def upload(url: str, source: Path) -> str:
    """Upload with tuspy in two chunks and return the URL of the upload."""
    source.write_bytes(content(30, MIB + 3))
    uploader = TusClient(url).uploader(str(source), chunk_size=MIB)
    uploader.upload()
    assert uploader.url is not None
    return str(uploader.url)


def test_build_context_is_what_the_dockerfile_copies() -> None:
    """``.dockerignore`` lets through what the Dockerfile copies, and nothing else."""
    sources = [name for stage in stages() for names, _ in copied(stage) for name in names]
    assert {"tusd_py", "workers", "config.toml"} <= set(sources)
    for name in sources:
        assert (ROOT / name).exists(), name
        assert is_sent(PurePosixPath(name)), f".dockerignore excludes {name}"
    assert set(sources) == {path.name for path in ROOT.iterdir() if is_sent(PurePosixPath(path.name))}
    assert not is_sent(PurePosixPath("tusd_py/web/__pycache__"))


def test_image_has_user_volume_tini_and_health_check() -> None:
    """The image runs as its own user, tini is the first process, and the health check reads the configuration."""
    last = {item.word: item.text for item in stages()[-1]}
    assert "tusd-py" == last["USER"]
    assert "/data" == last["VOLUME"]
    assert ["tini", "--"] == json.loads(last["ENTRYPOINT"])
    assert last["HEALTHCHECK"].endswith('CMD ["tusd-py", "check", "--live"]')


def test_wheel_uses_only_our_import_names(installed: Installed) -> None:
    """The wheel installs ``tusd_py`` and ``tusd_py_workers``, the configuration, and every licence."""
    with zipfile.ZipFile(installed.wheel) as wheel:
        names = wheel.namelist()
        configuration = wheel.read("tusd_py/config.toml")
    (metadata,) = {name.partition("/")[0] for name in names if ".dist-info" in name}
    assert {"tusd_py", "tusd_py_workers", metadata} == {name.partition("/")[0] for name in names}
    assert (ROOT / "config.toml").read_bytes() == configuration
    licences = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["license-files"]
    assert {f"{metadata}/licenses/{name}" for name in licences} <= set(names)


def test_image_has_no_build_tools(installed: Installed) -> None:
    """The environment of the image contains neither pip nor any other build tool."""
    found = {path.name.partition("-")[0].lower() for path in installed.environment.rglob("*.dist-info")}
    assert {"tusd_py", "uvicorn", "aiobotocore", "cryptography"} <= found
    assert not found & {"pip", "setuptools", "wheel", "hatchling", "editables", "tomlkit"}
    assert not (installed.environment / "bin" / "pip").exists()


def test_installed_server_stores_an_upload_and_delivers_its_event(
    tmp_path: Path, hostile: Path, installed: Installed
) -> None:
    """In a directory with a package ``workers`` of the user, the embedded worker delivers the event of an upload."""
    with receiving() as receiver:
        program = [installed.command("tusd-py")]
        server = start_server(tmp_path / "data", settings=webhook_settings(receiver), program=program)
        try:
            url = upload(server.url, tmp_path / "source.bin")
            assert_stored(server, url, content(30, MIB + 3))
            until_now(lambda: has_completed(receiver), "the webhook gets upload.ready")
            live = subprocess.run([*program, "check", "--live", "--port", str(server.port)], capture_output=True)
            assert 0 == live.returncode, live.stderr
        finally:
            code = server.stop()
    assert 0 == code
    assert "exited" not in server.log.read_text()


@contextmanager
def running(command: list[str], data_dir: Path, settings: dict[str, str]) -> Iterator[None]:
    """Run a worker process during the block."""
    given = {f"TUSD_PY_{name}": value for name, value in settings.items()}
    environment = {**os.environ, **given, "TUSD_PY_STORAGE__DATA_DIR": str(data_dir)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()
            process.wait(20)


@pytest.mark.parametrize("command", [["tusd-py", "worker"], ["dramatiq", "tusd_py_workers", "--processes", "1"]])
def test_installed_worker_delivers_events(
    tmp_path: Path, hostile: Path, installed: Installed, command: list[str]
) -> None:
    """``tusd-py worker`` and ``dramatiq tusd_py_workers`` work beside a package ``workers`` of the user."""
    with receiving() as receiver:
        settings = webhook_settings(receiver)
        program = [installed.command("tusd-py")]
        server = start_server(tmp_path / "data", "--no-worker", settings=settings, program=program)
        try:
            upload(server.url, tmp_path / "source.bin")
            with running([installed.command(command[0]), *command[1:]], tmp_path / "data", settings):
                until_now(lambda: has_completed(receiver), "the webhook gets upload.ready")
        finally:
            server.stop()


def test_installed_program_prints_the_default_configuration(hostile: Path, installed: Installed) -> None:
    """``config --default`` prints ``config.toml`` of the repository, and the message for a wrong name refers to it."""
    program = installed.command("tusd-py")
    printed = subprocess.run([program, "config", "--default"], capture_output=True, text=True, check=True)
    assert (ROOT / "config.toml").read_text() == printed.stdout
    mistaken = subprocess.run([program, "check"], capture_output=True, text=True, env={"TUSD_PY_ZZZ": "1"})
    assert "tusd-py: zzz (TUSD_PY_ZZZ) is not a setting; see tusd-py config --default\n" == mistaken.stderr


@pytest.mark.long
def test_install_section_of_the_readme(tmp_path: Path, hostile: Path, constraints: Path) -> None:
    """The commands of the section, run unchanged, install and start a server that stores an upload."""
    section = (ROOT / "README.md").read_text().partition("## Install\n")[2]
    (*commands, serve) = section.partition("```sh\n")[2].partition("```")[0].splitlines()
    run("\n".join(commands), hostile, PIP_CONSTRAINT=str(constraints))
    (program, command) = serve.partition("#")[0].split()
    assert "serve" == command
    server = start_server(tmp_path / "data", program=[str(hostile / program)])
    try:
        upload(server.url, tmp_path / "source.bin")
    finally:
        server.stop()


def test_uvx_runs_the_wheel(tmp_path: Path, hostile: Path, installed: Installed, constraints: Path) -> None:
    """``uvx`` runs the server from the wheel without installing it."""
    # make test installs it.
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    uvx = find_program("uvx", "uv is not installed", path=path)
    program = [uvx, "--python", sys.executable, "--constraints", str(constraints), "--from", str(installed.wheel)]
    run(f"{' '.join(program)} tusd-py --version", hostile)
    server = start_server(tmp_path / "data", program=[*program, "tusd-py"])
    try:
        upload(server.url, tmp_path / "source.bin")
    finally:
        server.stop()
