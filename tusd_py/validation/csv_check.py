"""Checks while bytes are read whether they are CSV (RFC 4180, with the separators and line ends in use).

Nothing here is done for each row or character in Python: a file of rows with two bytes has half a million of them in
a MiB. Each piece is reduced by a few fast passes instead. First the content of quotes is replaced by a mark, so that
every line end that is left ends a row. Then everything but separators and line ends is removed, and what is left must
be the same row again and again.

The separator is not guessed from the first rows. Each one that the first row has is a candidate, and a candidate is
dropped at the first row that it gives another number of columns: ``id,status (open;closed)`` has two candidates, and
the second row decides. The file is CSV if one candidate is left at its end.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass

_SEPARATORS = (b",", b";", b"\t", b"|")
#: The longest row, without what stands in quotes. Bounds the memory of a check.
ROW_BYTES_MAX = 1024 * 1024
_PIECE_BYTES_MAX = 128 * 1024
_MARK = b'"'  # stands for a quoted field; adjacent marks are one field with escaped quotes
_MARKS = b'""'
_PAIR = b"\xff"  # stands for two quotes; never part of UTF-8
# For each separator: all other bytes but line ends.
_ALL_BUT = {separator: bytes(set(range(256)) - set(separator + b"\n")) for separator in _SEPARATORS}
# For each separator: it and line ends become "\n", marks stay, and everything else becomes "x".
_KINDS = {
    separator: bytes(
        code if code == ord('"') else ord("\n" if code in separator + b"\n" else "x") for code in range(256)
    )
    for separator in _SEPARATORS
}
# Excel reads the separator from such a first line.
_SEPARATOR_LINE = re.compile(rb"sep=([,;\t|])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Dialect:
    """A separator, with the number of columns that it gives the first row."""

    separator: bytes
    width: int

    def problem(self, rows: bytes) -> str:
        """What is wrong with ``rows``, which have no spaces and end with a line end; empty if nothing is."""
        if not self._have_good_marks(rows):
            return "a quote is not at the beginning or the end of a field"
        if not self._have_equal_widths(rows):
            width = rows.count(self.separator) + 1
            return f"it has {width} columns, the first row has {self.width}"
        return ""

    def _have_equal_widths(self, rows: bytes) -> bool:
        row = self.separator * (self.width - 1) + b"\n"
        structure = rows.translate(None, _ALL_BUT[self.separator])
        if structure == row * (len(structure) // len(row)):
            return True
        # Blank lines do not count. In the structure a row without separators looks like one.
        rows = _collapsed(b"\n" + rows, b"\n")[1:]
        structure = rows.translate(None, _ALL_BUT[self.separator])
        return structure == row * (len(structure) // len(row))

    def _have_good_marks(self, rows: bytes) -> bool:
        """Whether quotes stand around whole fields only."""
        if _MARK not in rows:
            return True
        kinds = rows.translate(_KINDS[self.separator])
        return b'x"' not in kinds and b'"x' not in kinds


class CsvCheck:
    """Checks one file in chunks: UTF-8, or UTF-16 with a byte order mark; every row as many columns as the first.

    ``problem`` is the first violation; the bytes after it are ignored. ``update`` and ``end`` compute and block.
    """

    def __init__(self) -> None:
        self.problem = ""
        self._decoder: codecs.IncrementalDecoder | None = None
        self._is_utf_16 = False
        self._first_bytes = b""
        self._is_quote_open = False
        self._rest = b""  # the beginning of a row that has not ended
        self._line_end = b""  # the first one: "\n", or "\r" on its own
        self._separator = b""  # named by the first line
        self._dialects: tuple[_Dialect, ...] = ()
        self._rows = 0  # before the rest, with blank ones

    def update(self, chunk: bytes) -> None:
        """Check the next bytes."""
        for start in range(0, len(chunk), _PIECE_BYTES_MAX):
            if not self.problem:
                self._decode(chunk[start : start + _PIECE_BYTES_MAX], final=False)

    def end(self) -> str:
        """Finish the check. Return what is wrong as a sentence, or an empty string."""
        if not self.problem:
            self._decode(b"", final=True)
        if not self.problem and self._is_quote_open:
            self._fail("a quote is opened and never closed")
        if not self.problem and not self._dialects:
            self._fail("it has no rows")
        return self.problem

    def _fail(self, reason: str, row: int | None = None) -> None:
        place = "" if row is None else f"row {row}: "
        self.problem = f"it is not valid CSV: {place}{reason}"

    def _decode(self, chunk: bytes, *, final: bool) -> None:
        """Convert the next bytes to UTF-8."""
        if self._decoder is None:
            self._first_bytes += chunk
            if len(self._first_bytes) < 4 and not final:
                return
            chunk = self._first_bytes.removeprefix(codecs.BOM_UTF8)
            self._is_utf_16 = chunk.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
            self._decoder = codecs.getincrementaldecoder("utf-16" if self._is_utf_16 else "utf-8")()
        if self._is_utf_16 or not chunk.isascii() or self._decoder.getstate()[0]:
            try:
                chunk = self._decoder.decode(chunk, final).encode()
            except UnicodeDecodeError:
                self._fail("it is neither UTF-8 nor UTF-16")
                return
        if b"\0" in chunk:
            self._fail("it contains zero bytes")
            return
        self._split(chunk, final=final)

    def _split(self, data: bytes, *, final: bool) -> None:
        """Take the quoted content out, and check all rows that are complete."""
        if self._is_quote_open or _MARK in data:
            data = self._unquoted(data)
        if data.startswith(_MARK) and self._rest.endswith(_MARK):
            data = data[1:]  # an escaped quote, cut in two
        if not self._line_end:
            data, self._rest = self._rest + data, b""
            self._line_end = _first_line_end(data, final=final)
        if self._line_end == b"\r":
            data = data.replace(b"\r", b"\n")
        data = self._rest + data
        if final and data and not self._is_quote_open and not data.endswith(b"\n"):
            data += b"\n"
        end = data.rfind(b"\n") + 1
        rows, self._rest = data[:end], data[end:]
        if rows:
            self._check(rows.replace(b"\r\n", b"\n") if b"\r" in rows else rows)
        if len(self._rest) > ROW_BYTES_MAX and not self.problem:
            self._fail("it is too long", self._rows + 1)

    def _unquoted(self, data: bytes) -> bytes:
        """``data`` with a mark in place of each quoted field.

        Two quotes are an empty field, or an escaped quote between two pieces of one field; there, marks are adjacent
        and become one.
        """
        paired = data.replace(_MARKS, _PAIR)
        segments = paired.split(_MARK)
        outside = _MARK.join(segments[self._is_quote_open :: 2])
        self._is_quote_open ^= len(segments) % 2 == 0
        if self._is_quote_open and len(segments) > 1:
            outside += _MARK  # of the piece that goes on in the next data
        return outside if paired is data else _collapsed(outside.replace(_PAIR, _MARK), _MARK)

    def _check(self, rows: bytes) -> None:
        """Check rows without quoted content, each with a line end."""
        if not self._dialects:
            rows = self._read_first_row(rows)
            if not rows:
                return
        # Spaces around quotes are allowed, and lines of spaces are blank. Marks must not become adjacent by this.
        compact = rows.translate(None, b" ") if b" " in rows else rows
        fitting: tuple[_Dialect, ...] = ()
        if not (b"\r" in rows or _has_long(rows) or (compact is not rows and _MARKS in compact)):
            fitting = tuple(dialect for dialect in self._dialects if not dialect.problem(compact))
        if fitting:
            self._dialects = fitting
            self._rows += rows.count(b"\n")
        else:
            self._fail(*max((self._find_problem(rows, dialect) for dialect in self._dialects), key=_row_of))

    def _read_first_row(self, rows: bytes) -> bytes:
        """Find the candidates in the first row. Return the rows from there; none if all are blank."""
        start = len(rows) - len(rows.lstrip(b" \n"))
        self._rows += rows.count(b"\n", 0, start)
        rows = rows[start:]
        if not rows:
            return rows
        first, _, following = rows.partition(b"\n")
        if (line := _SEPARATOR_LINE.fullmatch(first)) and not self._separator:
            self._separator = line[1]
            self._rows += 1
            return self._read_first_row(following)
        counts = {separator: first.count(separator) for separator in _SEPARATORS}
        if self._separator:
            found = [self._separator]
        else:
            found = sorted(filter(counts.__getitem__, _SEPARATORS), key=counts.__getitem__, reverse=True)
        self._dialects = tuple(_Dialect(each, counts[each] + 1) for each in found or _SEPARATORS[:1])
        return rows

    def _find_problem(self, rows: bytes, dialect: _Dialect) -> tuple[str, int]:
        """The first problem that one of ``rows`` has in ``dialect``, with the number of its row. This happens once."""
        number = self._rows
        for number, row in enumerate(_lines(rows), self._rows + 1):
            compact = row.translate(None, b" ")
            if len(row) > ROW_BYTES_MAX:
                return "it is too long", number
            if b"\r" in row:
                return "a carriage return is not followed by a line feed", number
            if _MARKS in compact:
                return "a quote is not at the beginning or the end of a field", number
            if compact and (problem := dialect.problem(compact + b"\n")):
                return problem, number
        raise AssertionError("one of the rows has a problem")


def _row_of(found: tuple[str, int]) -> int:
    return found[1]


def _lines(rows: bytes) -> Iterator[bytes]:
    start = 0
    while (end := rows.find(b"\n", start)) >= 0:
        yield rows[start:end]
        start = end + 1


def _first_line_end(data: bytes, *, final: bool) -> bytes:
    """The first line end in ``data``: ``\\n``, also for ``\\r\\n``, or a single ``\\r``; empty if there is none yet."""
    position = data.find(b"\r")
    if position < 0 or 0 <= data.find(b"\n") < position:
        return b"\n" if b"\n" in data else b""
    following = data[position + 1 : position + 2]
    if following:
        return b"\n" if following == b"\n" else b"\r"
    return b"\r" if final else b""


def _has_long(rows: bytes) -> bool:
    """Whether a row is longer than ``ROW_BYTES_MAX``."""
    start = 0
    while len(rows) - start > ROW_BYTES_MAX:
        end = rows.rfind(b"\n", start, start + ROW_BYTES_MAX + 1)
        if end < 0:
            return True
        start = end + 1
    return False


def _collapsed(rows: bytes, character: bytes) -> bytes:
    """``rows`` with one ``character`` in place of every run of it. Each pass halves the longest run."""
    while character * 2 in rows:
        rows = rows.replace(character * 2, character)
    return rows
