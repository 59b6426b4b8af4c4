"""curl as a client of the IETF draft, as typed by hand."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from urllib.parse import urljoin

import pytest

from tests.support.content import MIB, content
from tests.support.programs import find_program
from tests.support.server import RunningServer, start_server
from tests.support.stored import assert_stored

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def program() -> str:
    return find_program("curl", "curl is not installed (Debian: curl)")


def arguments(program: str, url: str, *more: str) -> list[str]:
    return [program, "--silent", "--show-error", "--verbose", "-H", "Upload-Draft-Interop-Version: 8", *more, url]


def heads(trace: str) -> list[dict[str, str]]:
    """The heads of all responses in the output of ``--verbose``, each with its status under ``""``."""
    found: list[dict[str, str]] = []
    for line in re.findall(r"^< (.+?)\r?$", trace, re.MULTILINE):
        if status := re.match(r"HTTP/1\.1 (\d+)", line):
            found.append({"": status[1]})
        else:
            name, _, value = line.partition(":")
            found[-1][name.lower()] = value.strip()
    return found


def curl(program: str, url: str, *more: str) -> list[dict[str, str]]:
    done = subprocess.run(arguments(program, url, *more), capture_output=True, timeout=60, check=True)
    return heads(done.stderr.decode("latin-1"))


def test_interim_responses_104_100_201(program: str, server: RunningServer, tmp_path: Path) -> None:
    """A whole file in one request gets 104 with the URL, 100 Continue, and 201 with the same URL."""
    data = content(31, 3 * MIB)
    file = tmp_path / "file"
    file.write_bytes(data)
    sent = ["-H", "Upload-Complete: ?1", "-H", "Expect: 100-continue", "--data-binary", f"@{file}"]
    answers = curl(program, server.url, *sent)
    assert [answer[""] for answer in answers][:2] == ["104", "100"]
    assert answers[-1][""] == "201"
    assert answers[0]["upload-draft-interop-version"] == "8"
    assert answers[0]["location"] == answers[-1]["location"]
    assert answers[-1]["upload-complete"] == "?1"
    assert_stored(server, urljoin(server.url, answers[0]["location"]), data)


def test_tls_104_201(program: str, tmp_path: Path) -> None:
    """Over TLS the client gets the URL by 104 and the final 201."""
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "1"]
    subprocess.run([*make, *names, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    server = start_server(tmp_path / "data", "--tls-certificate", str(certificate), "--tls-key", str(key))
    try:
        data = bytes(content(33, 2 * MIB))
        file = tmp_path / "file"
        file.write_bytes(data)
        trusted = ["--http1.1", "--cacert", str(certificate), "-H", "Expect:"]
        answers = curl(program, server.url, *trusted, "-H", "Upload-Complete: ?1", "--data-binary", f"@{file}")
        assert [answers[0][""], answers[-1][""]] == ["104", "201"]
        assert answers[0]["location"] == answers[-1]["location"]
        assert server.stored(answers[-1]["location"]) == data
    finally:
        server.kill()


def test_104_has_a_reason_phrase(program: str, server: RunningServer) -> None:
    """The status line of the 104 has a reason phrase."""
    done = subprocess.run(
        arguments(program, server.url, "-H", "Upload-Complete: ?1", "-d", "x"),
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert b"< HTTP/1.1 104 Upload Resumption Supported" in done.stderr


def test_killed_upload_is_continued(program: str, server: RunningServer, tmp_path: Path) -> None:
    """After curl was killed, the upload continues at the URL of the 104 with the rest of the file only."""
    data = content(32, 8 * MIB)
    file, trace = tmp_path / "file", tmp_path / "trace"
    file.write_bytes(data)
    sent = ["-H", "Upload-Complete: ?1", "-H", "Upload-Length: 8388608", "--limit-rate", "2M", "-T", f"{file}"]
    slow = [*arguments(program, server.url, *sent, "-X", "POST", "--request-target", "/files/")]
    with trace.open("wb") as out:
        process = subprocess.Popen(slow, stderr=out, stdout=subprocess.DEVNULL)
        try:
            while not (found := re.search(r"^< upload-offset: [1-9]", trace.read_text("latin-1"), re.MULTILINE)):
                assert process.poll() is None, trace.read_text("latin-1")
        finally:
            process.kill()
            process.wait()
    assert found
    url = urljoin(server.url, heads(trace.read_text("latin-1"))[0]["location"])
    (state,) = curl(program, url, "--head")
    offset = int(state["upload-offset"])
    assert (state[""], state["upload-complete"]) == ("204", "?0")
    assert 0 < offset < 8 * MIB
    rest = tmp_path / "rest"
    rest.write_bytes(data[offset:])
    typed = ["-H", "Content-Type: application/partial-upload", "-H", f"Upload-Offset: {offset}"]
    last = curl(program, url, *typed, "-H", "Upload-Complete: ?1", "-X", "PATCH", "--data-binary", f"@{rest}")[-1]
    assert (last[""], last["upload-complete"]) == ("201", "?1")
    assert_stored(server, url, data)
