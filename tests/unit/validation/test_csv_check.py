"""The CSV check: valid files in chunks of any size, and the reason for each invalid one."""

from __future__ import annotations

import csv
import io
import time
from typing import Literal

import pytest
from hypothesis import given, settings
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
        b'a,b\n"1","2"\n "3" , "4" \n"5,5",6\n',
        b'"a","b"\n"",""\n"""",""""""\n"x""","""y"\n',
        b'"a\nb","c\r\nd\re"\r\n"f",g\r\n',
        b"\n  \n\n a,b\n\n \n  \n   \n1,2\n \n",
        b"a,b\r\n\r\n  \r\n1,2\r\n",
        b"a,b\n,\n1,\n,2",
        b'a,b\n"' + b"long\n" * 3_000 + b'",2\n',
        b'a,b\n"' + b"x" * 200_000 + b'",2\n',
        b"a,b\n" + b"x" * 200_000 + b",2\n",
        b"a,b\r1,2\r",
        b"a,b\r1,2\r\r3,4",
        b'a,b\r"x\ny",2\r',
        b"id,status (open;closed)\n1,open\n",
        b"id,status (open;closed;broken)\n1,open\n2,closed\n",
        b'id,"a;b;c"\n1,open\n',
        b"a|b,c\n1|2\n3,4,5|6\n",
        b"name;price, net;price, gross\nx;1,5;2,5\n",
        b"sep=;\r\na,b;c\r\n1,5;2\r\n",
        b'SEP=|\n"a"|b\n1|2\n',
    ],
)
@pytest.mark.parametrize("size", [1, 2, 5, 1000, 3_000_000])
def test_valid_csv(content: bytes, size: int) -> None:
    """All separators and encodings, quotes over several lines, with and without a final line end."""
    assert "" == problem(content, size)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no rows"),
        (b"\n\n", "no rows"),
        (b"a,b\n1,2,3\n", "row 2: it has 3 columns, the first row has 2"),
        (b"\n\na,b\n1,2\n\n1\n", "row 6: it has 1 columns, the first row has 2"),
        (b"one\ntwo\nthree,four\n", "row 3: it has 2 columns, the first row has 1"),
        (b'a,b\n"x,2\n3,4\n', "never closed"),
        (b'a,b\n"x"y,2\n', "row 2"),
        (b"a,b\n\xff\xfe,1\n", "neither UTF-8"),
        (b"a,b\n\xc3", "neither UTF-8"),
        (b"a,b\n1,\x00\n", "zero bytes"),
        (b'a,b\n1,2\nx"y",2\n', "row 3: a quote is not at the beginning or the end"),
        (b'a,b\n"x" "y",2\n', "row 2: a quote is not at"),
        (b'a,b\n""x,2\n', "row 2: a quote is not at"),
        (b"a,b\n1\r2,3\n", "row 2: a carriage return"),
        (b"id,x (a;b)\n1,open\n2,closed,more\n", "row 3: it has 3 columns, the first row has 2"),
        (b"sep=;\na;b\n1,2\n", "row 3: it has 1 columns, the first row has 2"),
        (b"a,b\r1,2,3\r", "row 2: it has 3 columns"),
        (b"sep=;\n", "no rows"),
        (b"x" * 3_000_000, "row 1: it is too long"),
        (b"a\n" + b"x" * 1_100_000 + b"\ny\n", "row 2: it is too long"),
        (b'"' + b"x\n" * 1_500_000, "never closed"),
    ],
)
def test_invalid_csv_has_a_reason(content: bytes, reason: str) -> None:
    """The first violation with its row, in chunks of any size; memory is bounded by the longest row allowed."""
    assert reason in problem(content, 65536)
    assert problem(content, 65536) == problem(content, 8_000_000)


#: Rows as spreadsheets and databases export them: the other separators stand in cells, quoted or not.
_TABLES = {
    "orders": [["id", "status (open;closed|void)", "total"], ["1", "open; paid|sent", "9.50"], ["2", "void", ""]],
    "decimal commas": [["Artikel", "Preis", "Menge"], ["Tee, grün", "1,50", "2"], ["Kaffee", "2,75", "10"]],
    "comments": [["who", "what"], ["Ada", 'she said "no"; then\nleft'], ["Alan", "a\tb|c;d,e"], ["", ""]],
    "one column": [["word"], ["one"], ["two"]],
    "long": [["id", "text"], ["1", "x" * 200_000], ["2", "y, " * 70_000]],
}


@pytest.mark.parametrize("name", _TABLES)
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_tables_in_every_dialect_are_valid_without_one_more_cell(
    name: str, separator: str, line_end: str, encoding: str, quoting: Literal[0, 1]
) -> None:
    """A corpus of tables in every dialect: each is valid, and one more cell in its last row is not."""
    for more, expected in (([], True), (["more"], False)):
        rows = [*_TABLES[name][:-1], [*_TABLES[name][-1], *more]]
        buffer = io.StringIO(newline="")
        csv.writer(buffer, delimiter=separator, lineterminator=line_end, quoting=quoting).writerows(rows)
        found = problem(buffer.getvalue().encode(encoding), 65536)
        # One column has no separator: in the last row each of them but the comma is text.
        assert expected == (found == "") or (name == "one column" and separator != ","), found


_CELL = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=8)


@given(st.integers(1, 4).flatmap(lambda n: st.lists(st.lists(_CELL, min_size=n, max_size=n), min_size=1)), st.data())
def test_output_of_a_csv_writer_is_valid(rows: list[list[str]], data: st.DataObject) -> None:
    """Python's own writer, any text in its cells, chunks cut anywhere."""
    buffer = io.StringIO(newline="")
    csv.writer(buffer, quoting=csv.QUOTE_ALL).writerows(rows)
    content = buffer.getvalue().encode()
    assert "" == problem(content, data.draw(st.integers(1, len(content))))


def is_valid(text: str) -> bool:
    """The same grammar, read character by character."""
    rows, fields, state, blank = [], 1, "start", True
    text = f"{text}\n".replace("\r\n", "\n")
    outside = "".join(text.split('"')[::2])
    has_single_cr = "\r" in outside and "\n" not in outside[: outside.index("\r")]
    for character in text:
        if character == "\r" and has_single_cr and state != "quoted":
            character = "\n"
        if state == "quoted":
            state = "quote" if character == '"' else "quoted"
        elif character == '"' and state in ("start", "quote"):
            state, blank = "quoted", False
        elif character == " ":
            state = "after" if state in ("quote", "after") else state
        elif character in ",\n":
            if character == ",":
                fields, blank = fields + 1, False
            else:
                rows += [] if blank else [fields]
                fields, blank = 1, True
            state = "start"
        elif state in ("start", "plain") and character not in '"\r':
            state, blank = "plain", False
        else:
            return False
    return state == "start" and len(set(rows)) == 1


@given(st.text('a," \n\r', max_size=24), st.integers(1, 6))
@settings(max_examples=1000)
def test_verdicts_are_those_of_a_simple_reader(text: str, size: int) -> None:
    """Every small text, in chunks cut anywhere."""
    assert (problem(text.encode(), size) == "") == is_valid(text), problem(text.encode(), size)


@pytest.mark.parametrize(
    "unit",
    [
        *(b"a\n", b"1,2\n", b"\n", b"a\r\n", b"1,2\n\n", b"1,2\n \n", b'"a"\n', b'"a", "b"\n', b'"",""\n', b'""\n'),
        *(b'""""""\n', b'"\n"\n', b",,,,,,,,\n", b"1" + b"," * 65534 + b"\n", b"x" * 1_048_575 + b"\n"),
        *(b'"a"; "b"\n  \n', b'"a" ,"b"\r\n', '"ä", "ö"\n'.encode(), b'"1"\r', b'"a,b";"c|d"\n', b"1,2;3|4\t5\n"),
        *(b'"' + b"\n" * 65533 + b'"\n', b"1,2\n" + b" " * 65531 + b"\n", b'1,"2"\n' + b'"",""\n' * 10),
    ],
)
def test_every_kind_of_row_is_fast(unit: bytes) -> None:
    """A MiB of rows of two bytes took more than a second. The limit is a twentieth of the speed of this check."""
    content = unit * (4 * 1024 * 1024 // len(unit))
    csv_check = CsvCheck()
    before = time.thread_time()
    for start in range(0, len(content), 65536):
        csv_check.update(content[start : start + 65536])
    csv_check.end()
    assert time.thread_time() - before < 1.5
