"""Published names stay inside the directory and are valid on every file system, whatever clients send."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.harness import EPOCH
from tusd_py.model.upload import Upload
from tusd_py.protocol.metadata import format_metadata
from tusd_py.publishing.names import NAME_BYTES_MAX, candidates, published_name, safe_name
from tusd_py.settings.processing import PATTERN_FIELDS, check_pattern

UPLOAD = Upload(
    id="0a1b", length=5, created_at=EPOCH, updated_at=EPOCH, completed_at=datetime(2026, 3, 4, tzinfo=UTC), owner="ada"
)


def named(name: bytes, owner: str = "ada") -> Upload:
    return replace(UPLOAD, metadata_header=format_metadata({"filename": name}), owner=owner)


def test_every_field_of_a_pattern() -> None:
    """Every field that a pattern may have is filled in."""
    pattern = "/".join(f"{{{field}}}" for field in PATTERN_FIELDS) + "/x"
    assert "0a1b/cat.tar.gz/cat.tar/gz/ada/2026/03/04/x" == published_name(pattern, named(b"cat.tar.gz"))


def test_fields_without_a_value() -> None:
    """The id replaces a missing name, ``nobody`` a missing owner; a missing extension is empty."""
    assert "nobody/0a1b" == published_name("{owner}/{filename}", replace(UPLOAD, owner=""))
    assert "README." != published_name("{stem}.{extension}", named(b"README")) == "README"


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("../../etc/passwd", "_._.._etc_passwd"),
        ("..", "_"),
        (".", "_"),
        ("", "_"),
        (".htaccess", "_htaccess"),
        ("a\0b\nc", "a_b_c"),
        ("gpj\u202eexe.scr", "gpj_exe.scr"),
        ("con", "_con"),
        ("LPT1.txt", "_LPT1.txt"),
        ("a:b*c?.txt", "a_b_c_.txt"),
        ("trailing. ", "trailing"),
        ("ä" * 150 + ".pdf", "ä" * 98 + ".pdf"),
        ("cat.png", "cat.png"),
        ("Screenshot 9.41.00\u202fAM.png", "Screenshot 9.41.00 AM.png"),
        ("a\u00a0b\u3000c.txt", "a b c.txt"),
        ("می\u200cخواهم.txt", "می\u200cخواهم.txt"),
        ("👩\u200d👩\u200d👧.png", "👩\u200d👩\u200d👧.png"),
        ("\u2066a\u2069\u200f.txt", "_a__.txt"),
        ("\u3000\u200d", "_"),
        ("a.\u200d", "a"),
        ("Ada's report (1).pdf", "Ada's report (1).pdf"),
    ],
)
def test_a_name_is_made_safe(name: str, safe: str) -> None:
    """Separators, hidden and reserved names, reversed reading direction, and length."""
    assert safe == safe_name(name)


@pytest.mark.parametrize(
    ("relative", "expected"),
    [
        (b"photos/2026/cat.png", "ada/photos/2026/cat.png"),
        (b"/photos/cat.png", "ada/photos/cat.png"),
        (b"photos\\2026\\cat.png", "ada/photos/2026/cat.png"),
        (b"../../etc/./cat.png", "ada/etc/cat.png"),
        (b".git/con/cat.png", "ada/_git/_con/cat.png"),
        ("a\u202eb/c\u3000d/cat.png".encode(), "ada/a_b/c d/cat.png"),
        (b"cat.png", "ada/cat.png"),
        (b"null", "ada/cat.png"),
        (b"", "ada/cat.png"),
        (b"x/" * 40 + b"cat.png", "ada/" + "x/" * 16 + "cat.png"),
        (
            b"y" * 180 + b"/" + b"z" * 900 + b"/" + b"w" * 900 + b"/cat.png",
            f"ada/{'y' * 180}/{'z' * 200}/{'w' * 200}/cat.png",
        ),
        ((b"v" * 180 + b"/") * 8 + b"cat.png", "ada/" + ("v" * 180 + "/") * 5 + "cat.png"),
    ],
)
def test_folders_of_a_dropped_folder(relative: bytes, expected: str) -> None:
    """The metadata ``relativePath``, of which only safe folders are used, bounded in number and length."""
    upload = replace(UPLOAD, metadata_header=format_metadata({"filename": b"cat.png", "relativePath": relative}))
    assert expected == published_name("{owner}/{folders}/{filename}", upload)


@pytest.mark.parametrize("pattern", ["{folders}", "a/{folders}", "x{folders}/a", "{folders}{id}/a"])
def test_folders_are_whole_segments_before_the_last(pattern: str) -> None:
    """They may be several or none."""
    with pytest.raises(ValueError, match="stands alone"):
        check_pattern(pattern)


@pytest.mark.parametrize("client_name", [b"../../etc/passwd", b"C:\\Windows\\passwd", b"/etc/passwd", b"x/../passwd"])
def test_directories_of_the_client_are_dropped(client_name: bytes) -> None:
    """Only the last segment of the client's file name is used."""
    assert "2026/passwd" == published_name("{yyyy}/{filename}", named(client_name))


_PIECE = st.one_of(
    st.sampled_from([f"{{{field}}}" for field in PATTERN_FIELDS]), st.sampled_from(["a", "-", ".", "/", "x y", ".."])
)


def _valid(pattern: str) -> bool:
    try:
        check_pattern(pattern)
    except ValueError:
        return False
    return True


@given(
    st.lists(_PIECE, min_size=1, max_size=8).map("".join).filter(_valid), st.binary(max_size=400), st.text(max_size=300)
)
def test_paths_stay_inside_the_directory(pattern: str, name: bytes, owner: str) -> None:
    """For every valid pattern and all metadata: a relative path of names that are valid everywhere."""
    path = published_name(pattern, named(name, owner))
    root = Path("/srv/published")
    assert (root / path).resolve().is_relative_to(root) and (root / path) != root
    segments = path.split("/")
    assert len(segments) == len([segment for segment in pattern.split("/") if segment != "{folders}"])
    for segment in segments:
        visible = re.sub("[\u200c\u200d]", "", segment)
        assert segment not in ("", ".", "..") and visible.isprintable() and not re.search(r'[\\:*?"<>|]', segment)
        assert len(segment.encode()) <= NAME_BYTES_MAX
        assert not segment.startswith(".") and segment == segment.rstrip(". ")


def test_suffixes_come_before_the_extension() -> None:
    """The directory does not change; a few numbers come first, then a suffix that differs for each upload."""
    names = list(itertools.islice(candidates("a.b/report.pdf", "id1"), 12))
    assert names[:3] == ["a.b/report.pdf", "a.b/report-2.pdf", "a.b/report-3.pdf"]
    assert all(re.fullmatch(r"a\.b/report-[a-z2-7]{8}\.pdf", name) for name in names[9:])
    assert len(set(names)) == 12
    assert names == list(itertools.islice(candidates("a.b/report.pdf", "id1"), 12)), "the same after a crash"
    assert list(itertools.islice(candidates("a.b/README", "id2"), 3))[2] == "a.b/README-3"
    assert set(names[9:]).isdisjoint(itertools.islice(candidates("a.b/report.pdf", "id2"), 12))


@given(st.text(max_size=300))
def test_names_with_a_suffix_are_valid(name: str) -> None:
    """No candidate is longer than file systems allow."""
    for candidate in itertools.islice(candidates(safe_name(name), "id"), 12):
        assert len(candidate.encode()) <= 255 and "/" not in candidate


@pytest.mark.parametrize(
    "pattern", ["", "/a", "a//b", "../{id}", "{id}/..", "{name}", "{id", "{{id}}", "a\\b", "{id}/", "a\n", "{id:>5}"]
)
def test_invalid_patterns_are_refused(pattern: str) -> None:
    """The error shows a valid one."""
    with pytest.raises(ValueError, match="a relative path such as"):
        check_pattern(pattern)


@given(st.lists(st.text(max_size=300), min_size=2, max_size=8, unique=True))
def test_no_two_owners_share_a_directory(owners: list[str]) -> None:
    """Different owners have different directories, of one segment each, also where their names are unsafe."""
    assert_apart([owner for owner in owners if owner])


def test_owners_that_look_alike() -> None:
    """Owners that differ only in what a name cannot have, imitated digests, and a subject named nobody."""
    imitated = published_name("{owner}", replace(UPLOAD, owner="a/b"))
    assert_apart(
        [
            "a/b",
            "a:b",
            "a_b",
            "..",
            ".",
            "_",
            "con",
            "_con",
            "e\u0301",
            "\u00e9",
            "nobody",
            imitated,
            "x" * 255,
            "x" * 254,
        ]
    )
    assert published_name("{owner}", replace(UPLOAD, owner="")) == "nobody"
    assert published_name("{owner}", replace(UPLOAD, owner="alice@example.com")) == "alice@example.com"


def assert_apart(owners: list[str]) -> None:
    names = [published_name("{owner}", replace(UPLOAD, owner=owner)) for owner in ["", *owners]]
    assert len(set(names)) == len(names)
    assert all(name not in ("", ".", "..") and "/" not in name for name in names)
