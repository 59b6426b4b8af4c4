"""Checks while bytes are read whether they are CSV (RFC 4180, with the separators in use)."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Sequence

_SEPARATORS = (",", ";", "\t", "|")
_RECORD_CHARACTERS_MAX = 1024 * 1024


class CsvCheck:
    """Checks one file in chunks: UTF-8, or UTF-16 with a byte order mark; every row as many columns as the first.

    ``problem`` is the first violation; the bytes after it are ignored. ``update`` and ``end`` compute and block.
    """

    def __init__(self) -> None:
        self.problem = ""
        self._decoder: codecs.IncrementalDecoder | None = None
        self._text = ""  # the beginning of a line that has not ended
        self._record: list[str] = []  # the lines of a record whose quote is still open
        self._record_characters = 0
        self._is_quote_open = False
        self._separator = ""
        self._width = 0
        self._rows = 0
        self._first_bytes = b""

    def update(self, chunk: bytes) -> None:
        """Check the next bytes."""
        if not self.problem:
            self._decode(chunk, final=False)

    def end(self) -> str:
        """Finish the check. Return what is wrong as a sentence, or an empty string."""
        if not self.problem:
            self._decode(b"", final=True)
        if not self.problem and self._record:
            self.problem = "it is not valid CSV: a quote is opened and never closed"
        if not self.problem and not self._rows:
            self.problem = "it is not valid CSV: it has no rows"
        return self.problem

    def _decode(self, chunk: bytes, *, final: bool) -> None:
        if self._decoder is None:
            self._first_bytes += chunk
            if len(self._first_bytes) < 4 and not final:
                return
            chunk = self._first_bytes
            is_utf_16 = chunk.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
            self._decoder = codecs.getincrementaldecoder("utf-16" if is_utf_16 else "utf-8-sig")()
        try:
            text = self._text + self._decoder.decode(chunk, final)
        except UnicodeDecodeError:
            self.problem = "it is not valid CSV: it is neither UTF-8 nor UTF-16"
            return
        if "\0" in text:
            self.problem = "it is not valid CSV: it contains zero bytes"
            return
        # Not splitlines: it also splits at characters that do not end a line in CSV.
        *lines, self._text = text.split("\n")
        lines = [f"{line}\n" for line in lines]
        if final:
            lines, self._text = [*lines, self._text], ""
        if len(self._text) > _RECORD_CHARACTERS_MAX:
            self.problem = "it is not valid CSV: a line is too long"
        for line in lines:
            self._add_line(line)
            if self.problem:
                return

    def _add_line(self, line: str) -> None:
        """Add a line to the record; while a quote is open, the record continues in the next line."""
        self._record.append(line)
        self._record_characters += len(line)
        if self._record_characters > _RECORD_CHARACTERS_MAX:
            self.problem = f"it is not valid CSV: row {self._rows + 1} is too long"
            return
        self._is_quote_open ^= line.count('"') % 2 == 1
        if not self._is_quote_open:
            record, self._record, self._record_characters = self._record, [], 0
            self._check(record)

    def _check(self, record: Sequence[str]) -> None:
        if not "".join(record).strip():
            return
        if not self._separator:
            self._separator = _separator(record)
        try:
            rows = list(csv.reader(record, delimiter=self._separator, strict=True))
        except csv.Error as error:
            self.problem = f"it is not valid CSV: row {self._rows + 1}: {error}"
            return
        for row in rows:
            self._rows += 1
            self._width = self._width or len(row)
            if len(row) != self._width:
                self.problem = (
                    f"it is not valid CSV: row {self._rows} has {len(row)} columns, the first has {self._width}"
                )
                return


def _separator(record: Sequence[str]) -> str:
    """The separator that is most frequent in the first row, outside of quotes."""
    unquoted = "".join("".join(record).split('"')[::2])
    return max(_SEPARATORS, key=unquoted.count)
