"""The CSV check: valid files in chunks of any size, and the reason for each invalid one."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tusd_py.validation.csv_check import CsvCheck


def problem(content: bytes, size: int = 7) -> str:
    table = CsvCheck()
    for start in range(0, len(content), size):
        table.update(content[start : start + size])
    return table.end()


@pytest.mark.parametrize(
    "content",
    [
        b"a,b\n1,2\n",
        b"a,b\r\n1,2",
        b"a;b\n1,5;2\n",
        b"a\tb\n1\t2\n",
        b"one\ntwo\n\nthree\n",
        b'a,b\n"x, ""y""\nz",2\n',
        "a,b\nä,ö\n".encode("utf-8-sig"),
        "a,b\nä,ö\n".encode("utf-16"),
        b"a",
        "a,b\nx\u2028y,z".encode(),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_valid_csv(content: bytes, size: int) -> None:
    """All separators and encodings, quotes over several lines, with and without a final line end."""
    assert "" == problem(content, size)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no rows"),
        (b"\n\n", "no rows"),
        (b"a,b\n1,2,3\n", "row 2 has 3 columns, the first has 2"),
        (b'a,b\n"x,2\n3,4\n', "never closed"),
        (b'a,b\n"x"y,2\n', "row 2"),
        (b"a,b\n\xff\xfe,1\n", "neither UTF-8"),
        (b"a,b\n\xc3", "neither UTF-8"),
        (b"a,b\n1,\x00\n", "zero bytes"),
        (b"x" * 3_000_000, "is too long"),
        (b'"' + b"x\n" * 1_500_000, "is too long"),
    ],
)
def test_invalid_csv_has_a_reason(content: bytes, reason: str) -> None:
    """The first violation with its row; memory is bounded by the longest row allowed."""
    assert reason in problem(content, 65536)


_CELL = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=8)


@given(st.integers(1, 4).flatmap(lambda n: st.lists(st.lists(_CELL, min_size=n, max_size=n), min_size=1)), st.data())
def test_output_of_a_csv_writer_is_valid(rows: list[list[str]], data: st.DataObject) -> None:
    """Python's own writer, any text in its cells, chunks cut anywhere."""
    buffer = io.StringIO(newline="")
    csv.writer(buffer, quoting=csv.QUOTE_ALL).writerows(rows)
    content = buffer.getvalue().encode()
    assert "" == problem(content, data.draw(st.integers(1, len(content))))
