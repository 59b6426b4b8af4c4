"""The grammars of ids, paths and owners."""

from __future__ import annotations

import pytest

from tusd_py.model.ids import is_foreign_path, is_owner, is_upload_id, known_id


@pytest.mark.parametrize("text", ["a", "0", "A-b_c", "0123456789abcdef0123456789abcdef", "a" * 128, "0~!$'()*+,=@_-"])
def test_is_upload_id_accepts(text: str) -> None:
    """Letters, digits and URL-safe punctuation, starting with a letter or digit, at most 128 characters."""
    assert is_upload_id(text)


WRONG = ["", "-a", "_a", ".", "..", "a/b", "a.b", "a b", "a\n", "é", "٣", "a\x00", "a" * 129]
WRONG += ["~a", "@", "a%41", "a&b", "a#b", "a?b", "a\\b", 'a"b', "a<b", "a;b", "a:b"]


@pytest.mark.parametrize("text", WRONG)
def test_is_upload_id_rejects(text: str) -> None:
    """Characters with a meaning in paths, file names or headers."""
    assert not is_upload_id(text)


def test_known_id_of_tusds_s3store() -> None:
    """A valid id stands for itself; a long one, or one with dots or slashes, for a valid one, always the same."""
    assert "0a+2~x" == known_id("0a+2~x")
    found = [known_id(text) for text in ("0a+x.y", "0a+x.z", "0a+" + "x" * 300, "project/0a.mp4+x", "_a+x.y")]
    assert all(text is not None and is_upload_id(text) for text in found)
    assert 5 == len(set(found))
    assert found[0] == known_id("0a+x.y")


WRONG_IDS = ["", "a.b", "a/b", "a" * 129, "+x.y", "a.b+", "../a+x.y", "a/../b+x.y", "a//b+x.y", "a/.b+x.y", "/a+x.y"]
WRONG_IDS += [
    "a.b+x/y",
    "a b+x.y",
    "a.b+x\n",
    "a.b+x\x00",
    "é+x.y",
    "a+x.y&z",
    "a+x.y?z",
    "a+x.y#z",
    "a+." + "x" * 1022,
]


@pytest.mark.parametrize("text", WRONG_IDS)
def test_known_id_of_other_texts(text: str) -> None:
    """Nothing else is anything's id."""
    assert known_id(text) is None


@pytest.mark.parametrize("text", ["", "ann", "ann@example.com", "Zoë Müller", "a" * 255, "團隊/42"])
def test_is_owner_accepts(text: str) -> None:
    """An owner is any text of at most 255 characters; the empty text means no owner."""
    assert is_owner(text)


@pytest.mark.parametrize("text", ["a" * 256, "a\n", "a\x00", "\x7f", "a\x85b", "a\u2028b", "\ud800"])
def test_is_owner_rejects(text: str) -> None:
    """Control characters, line ends and half surrogate pairs could not be logged or stored."""
    assert not is_owner(text)


def test_is_foreign_path() -> None:
    """A path of any system; no control characters, not empty, at most 4096 characters."""
    assert all(map(is_foreign_path, ["/a b/ü", "C:\\a", "s3://bucket/key", "a" * 4096]))
    assert not any(map(is_foreign_path, ["", "a\n", "a\x00", "\ud800", "a" * 4097]))
