"""Whether bytes can be read as CSV (RFC 4180, with the separators in use), found out while they pass by."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Sequence

_SEPARATORS = (",", ";", "\t", "|")
_RECORD_CHARACTERS_MAX = 1024 * 1024


class CsvCheck:
    """Reads one file as it comes in. UTF-8, or UTF-16 with a byte order mark; every row as wide as the first.

    ``problem`` is the first thing that is wrong; what comes after that is no longer looked at. Blocks while it reads.
    """

    def __init__(self) -> None:
        self.problem = ""
        self._decoder: codecs.IncrementalDecoder | None = None
        self._text = ""  # of a line that has not ended
        self._record: list[str] = []  # lines inside a quote that has not ended
        self._record_characters = 0
        self._is_open = False  # a quote has not ended
        self._separator = ""
        self._width = 0
        self._rows = 0
        self._first_bytes = b""

    def update(self, piece: bytes) -> None:
        if not self.problem:
            self._decode(piece, final=False)

    def end(self) -> str:
        """What is wrong with the whole, as a sentence; empty where nothing is."""
        if not self.problem:
            self._decode(b"", final=True)
        if not self.problem and self._record:
            self.problem = "it cannot be read as CSV: a quote is opened and never closed"
        if not self.problem and not self._rows:
            self.problem = "it cannot be read as CSV: it has no rows"
        return self.problem

    def _decode(self, piece: bytes, *, final: bool) -> None:
        if self._decoder is None:
            self._first_bytes += piece
            if len(self._first_bytes) < 4 and not final:
                return
            piece = self._first_bytes
            is_wide = piece.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
            self._decoder = codecs.getincrementaldecoder("utf-16" if is_wide else "utf-8-sig")()
        try:
            text = self._text + self._decoder.decode(piece, final)
        except UnicodeDecodeError:
            self.problem = "it cannot be read as CSV: it is neither UTF-8 nor UTF-16"
            return
        if "\0" in text:
            self.problem = "it cannot be read as CSV: it has zero bytes"
            return
        # Not splitlines, which knows ends of lines that no table has.
        *lines, self._text = text.split("\n")
        lines = [f"{line}\n" for line in lines]
        if final:
            lines, self._text = [*lines, self._text], ""
        if len(self._text) > _RECORD_CHARACTERS_MAX:
            self.problem = "it cannot be read as CSV: a line does not end"
        for line in lines:
            self._take(line)
            if self.problem:
                return

    def _take(self, line: str) -> None:
        """One line; a quote that it leaves open goes on in the next."""
        self._record.append(line)
        self._record_characters += len(line)
        if self._record_characters > _RECORD_CHARACTERS_MAX:
            self.problem = f"it cannot be read as CSV: row {self._rows + 1} does not end"
            return
        self._is_open ^= line.count('"') % 2 == 1
        if not self._is_open:
            record, self._record, self._record_characters = self._record, [], 0
            self._read(record)

    def _read(self, record: Sequence[str]) -> None:
        if not "".join(record).strip():
            return
        if not self._separator:
            self._separator = _separator(record)
        try:
            rows = list(csv.reader(record, delimiter=self._separator, strict=True))
        except csv.Error as error:
            self.problem = f"it cannot be read as CSV: row {self._rows + 1}: {error}"
            return
        for row in rows:
            self._rows += 1
            self._width = self._width or len(row)
            if len(row) != self._width:
                self.problem = (
                    f"it cannot be read as CSV: row {self._rows} has {len(row)} columns, the first has {self._width}"
                )
                return


def _separator(record: Sequence[str]) -> str:
    """What divides the first row; where nothing does, there is one column."""
    outside = "".join("".join(record).split('"')[::2])
    return max(_SEPARATORS, key=outside.count)
