"""Checks while bytes are read whether they are CSV (RFC 4180, with the separators in use).

Nothing here is done for each row or character in Python: a file of rows with two bytes has half a million of them in
a MiB. Each piece is reduced by a few fast passes instead. First the content of quotes is replaced by a mark, so that
every line end that is left ends a row. Then everything but separators and line ends is removed, and what is left must
be the same row again and again.
"""

from __future__ import annotations

import codecs

_SEPARATORS = (b",", b";", b"\t", b"|")
#: The longest row, without what stands in quotes. Bounds the memory of a check.
ROW_BYTES_MAX = 1024 * 1024
_PIECE_BYTES_MAX = 128 * 1024
_MARK = b'"'  # stands for a quoted field; adjacent marks are one field with escaped quotes
_PAIR = b"\xff"  # stands for two quotes; never part of UTF-8
_ALL_BUT = {separator: bytes(set(range(256)) - set(separator + b"\n")) for separator in _SEPARATORS}


class CsvCheck:
    """Checks one file in chunks: UTF-8, or UTF-16 with a byte order mark; every row as many columns as the first.

    ``problem`` is the first violation; the bytes after it are ignored. ``update`` and ``end`` compute and block.
    """

    def __init__(self) -> None:
        self.problem = ""
        self._decoder: codecs.IncrementalDecoder | None = None
        self._first_bytes = b""
        self._is_quote_open = False
        self._rest = b""  # the beginning of a row that has not ended
        self._separator = b""
        self._width = 0
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
        if not self.problem and not self._width:
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
            chunk = self._first_bytes
            is_utf_16 = chunk.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
            self._decoder = codecs.getincrementaldecoder("utf-16" if is_utf_16 else "utf-8-sig")()
        try:
            data = self._decoder.decode(chunk, final).encode()
        except UnicodeDecodeError:
            self._fail("it is neither UTF-8 nor UTF-16")
            return
        if b"\0" in data:
            self._fail("it contains zero bytes")
            return
        self._split(data, final=final)

    def _split(self, data: bytes, *, final: bool) -> None:
        """Take the quoted content out, and check all rows that are complete."""
        if self._is_quote_open or _MARK in data:
            data = self._unquoted(data)
        data = self._rest + data
        if final and data and not self._is_quote_open and not data.endswith(b"\n"):
            data += b"\n"
        end = data.rfind(b"\n") + 1
        rows, self._rest = data[:end], data[end:]
        if rows:
            self._check(rows.replace(b"\r\n", b"\n"))
        if len(self._rest) > ROW_BYTES_MAX and not self.problem:
            self._fail("it is too long", self._rows + 1)

    def _unquoted(self, data: bytes) -> bytes:
        """``data`` with a mark in place of each piece that stands in quotes, and of each pair of quotes.

        A pair is an empty field, or an escaped quote between two pieces of one field; there, marks become adjacent.
        """
        segments = data.replace(b'""', _PAIR).split(b'"')
        outside = _MARK.join(segments[self._is_quote_open :: 2])
        self._is_quote_open ^= len(segments) % 2 == 0
        if self._is_quote_open and len(segments) > 1:
            outside += _MARK  # of the piece that goes on in the next data
        return outside.replace(_PAIR, _MARK)

    def _check(self, rows: bytes) -> None:
        """Check rows without quoted content, each with a line end."""
        if not self._width:
            start = len(rows) - len(rows.lstrip(b" \n"))
            self._rows += rows.count(b"\n", 0, start)
            rows = rows[start:]
            if not rows:
                return
            # The separator that is most frequent in the first row.
            first = rows[: rows.index(b"\n")]
            self._separator = max(_SEPARATORS, key=first.count)
            self._width = first.count(self._separator) + 1
        rows = _collapsed(rows, _MARK)
        if not (self._have_equal_widths(rows) and self._have_good_marks(rows)) or b"\r" in rows or self._has_long(rows):
            self._find_problem(rows)
        self._rows += rows.count(b"\n")

    def _have_equal_widths(self, rows: bytes) -> bool:
        row = self._separator * (self._width - 1) + b"\n"
        structure = rows.translate(None, _ALL_BUT[self._separator])
        if structure == row * structure.count(b"\n"):
            return True
        # Blank lines do not count: those without anything, and those of spaces only.
        rows = _collapsed(b"\n" + _collapsed(rows, b" ").replace(b" \n", b"\n"), b"\n")
        structure = rows[1:].translate(None, _ALL_BUT[self._separator])
        return structure == row * structure.count(b"\n")

    def _have_good_marks(self, rows: bytes) -> bool:
        """Whether quotes stand around whole fields only. Spaces around them are allowed."""
        marks = rows.count(_MARK)
        if not marks:
            return True
        if self._count_fields(rows) == marks:
            return True
        rows = _collapsed(rows, b" ").replace(b" " + _MARK, _MARK).replace(_MARK + b" ", _MARK)
        return self._count_fields(rows) == marks

    def _count_fields(self, rows: bytes) -> int:
        """The number of quoted fields; -1 if a quote has other neighbours than separators and line ends."""
        starts = rows.startswith(_MARK) + rows.count(b"\n" + _MARK) + rows.count(self._separator + _MARK)
        ends = rows.count(_MARK + b"\n") + rows.count(_MARK + self._separator)
        return starts if starts == ends else -1

    def _has_long(self, rows: bytes) -> bool:
        """Whether a row is longer than ``ROW_BYTES_MAX``."""
        start = 0
        while len(rows) - start > ROW_BYTES_MAX:
            end = rows.rfind(b"\n", start, start + ROW_BYTES_MAX + 1)
            if end < 0:
                return True
            start = end + 1
        return False

    def _find_problem(self, rows: bytes) -> None:
        """Report the first row that is wrong. One of ``rows`` is, so this happens once."""
        for number, row in enumerate(rows.split(b"\n")[:-1], self._rows + 1):
            width = row.count(self._separator) + 1
            if len(row) > ROW_BYTES_MAX:
                self._fail("it is too long", number)
            elif b"\r" in row:
                self._fail("a carriage return is not followed by a line feed", number)
            elif not self._have_good_marks(row + b"\n"):
                self._fail("a quote is not at the beginning or the end of a field", number)
            elif width != self._width and row.strip(b" "):
                self._fail(f"it has {width} columns, the first row has {self._width}", number)
            if self.problem:
                return


def _collapsed(rows: bytes, character: bytes) -> bytes:
    """``rows`` with one ``character`` in place of every run of it. Each pass halves the longest run."""
    while character * 2 in rows:
        rows = rows.replace(character * 2, character)
    return rows
