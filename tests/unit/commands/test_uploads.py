"""``tusd-py uploads``: what it prints, and that it ends uploads beside a running server."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.command import run
from tusd_py.model.upload import Status, Upload
from tusd_py.settings import Settings, StorageSettings
from tusd_py.wiring.databases import open_records

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def insert(directory: Path, *uploads: Upload) -> None:
    """Record uploads in a new data directory."""
    assert 0 == run("migrate", "--data-dir", str(directory)).exit_code

    async def insert() -> None:
        async with open_records(Settings(storage=StorageSettings(data_dir=str(directory)))) as records:
            for upload in uploads:
                await records.insert(upload)

    asyncio.run(insert())


def an_upload(upload_id: str, number: int = 0, **fields: object) -> Upload:
    at = NOW + timedelta(seconds=number)
    return replace(Upload(id=upload_id, length=9, created_at=at, updated_at=at), **fields)  # type: ignore[arg-type]  # names are checked by replace


def test_list_shows_newest_first_with_filters(tmp_path: Path) -> None:
    """One line for each upload, without invisible characters; ended ones only by their status. ``--json`` is JSON."""
    name = "filename " + "YRtbMm0="  # an escape sequence of terminals
    insert(
        tmp_path / "d",
        an_upload("a", 1, metadata_header=name, owner="ann"),
        an_upload("b", 2, status=Status.TERMINATED),
    )
    result = run("uploads", "list", "--data-dir", "d")
    assert "2026-03-01T00:00:01.000Z  uploading   a  0/9  ann  a[2m\n" == result.stdout, result.output
    as_json = run("uploads", "list", "--json", "--status", "terminated", "--data-dir", "d")
    assert ["b"] == [json.loads(line)["id"] for line in as_json.stdout.splitlines()]
    nothing = run("uploads", "list", "--owner", "bob", "--data-dir", "d")
    assert ("", "no uploads\n", 0) == (nothing.stdout, nothing.stderr, nothing.exit_code)
    wrong = run("uploads", "list", "--status", "gone", "--data-dir", "d")
    assert (2, True) == (wrong.exit_code, wrong.stderr.startswith("tusd-py: --status is 'gone'; it must be one of"))


def test_list_has_the_filters_of_the_api(tmp_path: Path) -> None:
    """By owner (also none), time, name and type, in the order of the API, and no more than the limit."""
    named = "filename " + b64encode(b"Report.PDF").decode() + ",filetype " + b64encode(b"application/pdf").decode()
    insert(
        tmp_path / "d",
        *(an_upload(str(number), number, owner="ann" if number % 2 else "") for number in range(6)),
        an_upload("r", 9, owner="ann", metadata_header=named),
    )

    def ids(*words: str) -> list[str]:
        listed = run("uploads", "list", "--json", "--data-dir", "d", *words)
        assert listed.exit_code == 0, listed.output
        return [json.loads(line)["id"] for line in listed.stdout.splitlines()]

    assert ids("--owner", "ann", "--limit", "3") == ["r", "5", "3"]
    assert ids("--owner", "") == ["4", "2", "0"]
    assert ids("--name", "report") == ids("--declared-type", "Application/PDF") == ["r"]
    assert ids("--created-from", "2026-03-01T00:00:04Z", "--created-before", "2026-03-01T00:00:09+00:00") == ["5", "4"]
    assert ids("--detected-type", "image/png") == ids("--grant", "x") == []
    wrong = run("uploads", "list", "--created-from", "soon", "--data-dir", "d")
    assert (2, "--created-from is 'soon'" in wrong.stderr) == (wrong.exit_code, True)


def test_show_prints_json_or_a_sentence(tmp_path: Path) -> None:
    """One upload as JSON; an unknown id exits with 2."""
    insert(tmp_path / "d", an_upload("a"))
    assert "a" == json.loads(run("uploads", "show", "a", "--data-dir", "d").stdout)["id"]
    unknown = run("uploads", "show", "x", "--data-dir", "d")
    assert 2 == unknown.exit_code
    assert "tusd-py: upload x does not exist; tusd-py uploads list shows the newest uploads\n" == unknown.stderr


def test_delete_and_expire_end_uploads(tmp_path: Path) -> None:
    """Each id is answered by its own line; those that cannot be ended exit with 2."""
    insert(tmp_path / "d", an_upload("a"), an_upload("b"))
    deleted = run("uploads", "delete", "a", "x", "--data-dir", "d")
    assert (2, "upload a deleted\n") == (deleted.exit_code, deleted.stdout)
    assert "tusd-py: upload x does not exist; tusd-py uploads list shows the newest uploads\n" == deleted.stderr
    assert "upload b expired\n" == run("uploads", "expire", "b", "--data-dir", "d").stdout
    again = run("uploads", "expire", "a", "--data-dir", "d")
    assert (2, "tusd-py: upload a is terminated already\n") == (again.exit_code, again.stderr)


@pytest.mark.parametrize(
    "words",
    [
        ("uploads", "show", "\udcff"),
        ("uploads", "list", "--owner", "\udcff"),
        ("key", "revoke", "\udcff"),
        ("events", "tail", "--upload", "\udcff"),
    ],
)
def test_arguments_that_are_not_text_exit_with_2(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Bytes that are not UTF-8 are answered with a sentence that does not repeat them."""
    insert(tmp_path / "d")
    result = run(*words, "--data-dir", "d")
    assert (2, "tusd-py: an argument, or the input, is not text in UTF-8\n") == (result.exit_code, result.stderr)
