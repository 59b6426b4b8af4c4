"""``tusd-py quota``: limits for single subjects, what is shown, and the reconciliation."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from tests.support.command import run


def test_show_set_and_default(tmp_path: Path) -> None:
    """Limits of one subject come before the settings, one at a time, and can be removed."""
    data = ("--data-dir", str(tmp_path))
    assert run("migrate", *data).exit_code == 0

    def limits() -> list[int | None]:
        result = run("quota", "show", "user:alice", "--json", *data, QUOTAS__ENABLED="true")
        assert result.exit_code == 0, result.output
        return [json.loads(line)["limit"] for line in result.stdout.splitlines()]

    assert limits() == [10 * 1000**3, 100 * 1000**3]
    set_one = run("quota", "set", "user:alice", "--bytes-per-day", "5GB", *data, QUOTAS__ENABLED="true")
    assert set_one.stdout.splitlines() == [
        "user:alice  bytes_per_day     limit 5GB",
        "user:alice  all other quotas follow its credentials and the settings",
    ]
    changed = {"QUOTAS__ENABLED": "true", "QUOTAS__BYTES_PER_MONTH": "1TB"}
    shown = run("quota", "show", "user:alice", *data, **changed).stdout.splitlines()
    assert [line.partition("limit ")[2] for line in shown] == ["5GB  (set for this subject)", "1TB"]
    assert run("quota", "set", "user:alice", "--bytes-per-month", "none", *data, QUOTAS__ENABLED="true").exit_code == 0
    assert limits() == [5 * 1000**3, None]
    more = {"QUOTAS__ENABLED": "true", "QUOTAS__UPLOADS_AT_ONCE": "3"}
    words = ("--files-per-day", "7", "--bytes-stored", "1GB", "--uploads-at-once", "none")
    set_more = run("quota", "set", "user:alice", *words, *data, **more)
    assert set_more.stdout.splitlines() == [
        "user:alice  bytes_per_day     limit 5GB",
        "user:alice  bytes_per_month   limit none",
        "user:alice  files_per_day     limit 7",
        "user:alice  bytes_stored      limit 1GB",
        "user:alice  uploads_at_once   limit none",
        "user:alice  all other quotas follow its credentials and the settings",
    ]
    shown = run("quota", "show", "user:alice", *data, **more).stdout.splitlines()
    assert shown[0] == "bytes_per_day     used 0 bytes  reserved 0 bytes  limit 5GB  (set for this subject)"
    assert shown[2] == "files_per_day     used 0  reserved 0  limit 7  (set for this subject)"
    assert limits() == [5 * 1000**3, None, 7, 1000**3, None]
    reset = run("quota", "set", "user:alice", "--files-per-day", "default", "--bytes-per-day", "default", *data, **more)
    assert "bytes_per_day" not in reset.stdout and "files_per_day" not in reset.stdout
    assert limits() == [10 * 1000**3, None, 1000**3, None]
    removed = run("quota", "set", "user:alice", "--default", *data)
    assert removed.stdout == "user:alice  all quotas follow its credentials and the settings\n"
    assert "quotas are off" in removed.output
    assert limits() == [10 * 1000**3, 100 * 1000**3]


def test_mistakes_exit_with_2(tmp_path: Path) -> None:
    """A subject without its kind, no limit, a wrong size and switched-off quotas are named."""
    data = ("--data-dir", str(tmp_path))
    assert run("migrate", *data).exit_code == 0
    for words, sentence in (
        (("set", "alice", "--default"), "did you mean user:alice?"),
        (("set", "address:999", "--default"), "an address is one such as 192.0.2.7 or 2001:db8::1"),
        (("set", "user:", "--default"), "an owner is a text of 1 to 255 characters"),
        (("set", "user:alice"), "name a limit such as --bytes-per-day or --files-per-day, or --default"),
        (("set", "user:alice", "--files-per-day", "1.5"), "--files-per-day is '1.5'"),
        (("set", "user:alice", "--bytes-stored", "1GB"), "set quotas.bytes_stored"),
        (("set", "user:alice", "--bytes-per-day", "much"), "--bytes-per-day is 'much'"),
        (("show", "user:alice"), "quotas are off"),
    ):
        result = run("quota", *words, *data)
        assert (result.exit_code, sentence in result.output) == (2, True), result.output


def test_difference_exits_with_1_until_it_is_repaired(tmp_path: Path) -> None:
    """A difference exits with 1 until it is repaired."""
    data = ("--data-dir", str(tmp_path))
    assert run("migrate", *data).exit_code == 0
    assert run("quota", "reconcile", *data).stdout == "no differences\n"
    with sqlite3.connect(tmp_path / "tusd.sqlite3") as connection:
        connection.execute(
            "INSERT INTO quota_charges (upload_id, created_at, subject, day, month, bytes, is_settled, taken_by) "
            "VALUES ('u', 1, 'user:a', '2026-01-02', '2026-01', 5, false, '')"
        )
    connection.close()
    found = run("quota", "reconcile", *data)
    assert (found.exit_code, "user:a  2026-01  bytes  counted 0  charged 5" in found.stdout) == (1, True)
    assert run("quota", "reconcile", "--repair", *data).exit_code == 0
    assert run("quota", "reconcile", *data).stdout == "no differences\n"
