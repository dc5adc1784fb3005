"""From packed bytes in any encoding to UTF-8."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import re

import charset_normalizer
import zstandard

from forecasting.errors import DataError

SAMPLE = 1 << 18
FEW = 0.15
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

# What other files begin with, what they are, and how their table becomes one that is read.
_CSV = "export its table as CSV"
_BINARY = (
    (b"PK\x03\x04", "a zip archive", "unpack it and name the table in it"),
    (b"PK\x05\x06", "an empty zip archive", "name a table"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Excel workbook (xls)", _CSV),
    (b"PAR1", "a Parquet file", "set data.format: parquet"),
    (b"ARROW1", "an Arrow file", "set data.format: arrow"),
    (b"\xff\xff\xff\xff", "an Arrow stream", "set data.format: arrow"),
    (b"%PDF", "a PDF document", _CSV),
    (b"SQLite format 3\x00", "an SQLite database", "name it as sqlite:///PATH with data.table"),
    (b"\x89HDF", "an HDF5 file", _CSV),
    (b"\x93NUMPY", "a NumPy array", _CSV),
    (b"ORC", "an ORC file", _CSV),
    (b"Obj\x01", "an Avro file", _CSV),
    (b"\x80\x04\x95", "a pickle", _CSV),
    (b"\x80\x05\x95", "a pickle", _CSV),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it and name the table in it"),
    (b"Rar!\x1a\x07", "a RAR archive", "unpack it and name the table in it"),
    (b"{\\rtf", "an RTF document", _CSV),
)
_PAGE = re.compile(
    r"(?is)(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<(!doctype\s+html|html|head|body|table)\b"
)
_XML = re.compile(r"(?s)<(\?xml\b|[A-Za-z_][\w:.-]*(\s[^<>]*)?/?>)")
_JSON = re.compile(r'[\[{]\s*("|\{|\[|\]|\}|$)|\[\s*(-?\d|null\b|true\b|false\b|NaN\b)')


def other_content(head: bytes) -> tuple[str, str] | None:
    """What a file is that is no text table, and what to do about it; by its first bytes."""
    for mark, what, cure in _BINARY:
        # ORC, PAR1 and the like may be the name of a column, too.
        if not head.startswith(mark) or (mark.isalnum() and not looks_binary(head)):
            continue
        if mark == b"PK\x03\x04":
            if b"xl/" in head or b"[Content_Types].xml" in head:
                return "an Excel workbook (xlsx)", _CSV
            if b"opendocument.spreadsheet" in head:
                return "a spreadsheet (ods)", _CSV
        return what, cure
    text = head.replace(b"\x00", b"").decode("latin-1")
    text = text.lstrip("\xef\xbb\xbf\xff\xfe \t\r\n")
    # <DATE>,<CLOSE> is how some sources of prices name their columns.
    tagged = not re.match(r"<[^<>]*>\s*[,;\t|]", text)
    if tagged and _PAGE.match(text):
        return "a web page (HTML)", "download the table itself: the page may be a login or an error"
    if tagged and _XML.match(text) and (text.startswith("<?xml") or "</" in text or "/>" in text):
        return "XML", _CSV
    if _JSON.match(text):
        return "JSON", "turn it into CSV, with pandas: pandas.read_json(PATH).to_csv(...)"
    return None


def refuse_other_content(head: bytes, name: str) -> None:
    """An error that calls a file what it is, where it is no text table."""
    content = other_content(head)
    if content is not None:
        raise DataError(f"{name} is {content[0]}, no text table; {content[1]}")


def is_packed(head: bytes) -> bool:
    """Whether the first bytes are those of an archive that `decompress` opens."""
    return head.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ\x00"))


def decompress(data: bytes, name: str) -> bytes:
    """The bytes themselves, whatever they were packed with; told by their first bytes."""
    try:
        if data[:2] == b"\x1f\x8b":
            return gzip.decompress(data)
        if data[:4] == b"\x28\xb5\x2f\xfd":
            return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)).read()
        if data[:3] == b"BZh":
            return bz2.decompress(data)
        if data[:6] == b"\xfd7zXZ\x00":
            return lzma.decompress(data)
    except (OSError, EOFError, ValueError, zstandard.ZstdError, lzma.LZMAError) as error:
        raise DataError(f"{name}: its compressed content is damaged ({error})") from None
    return data


def detect_encoding(data: bytes, name: str) -> str:
    """The encoding of a text; `DataError` when the bytes are no text."""
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return encoding
    sample = data[:SAMPLE]
    if b"\x00" in sample:
        even, odd = sample[::2].count(0), sample[1::2].count(0)
        if max(even, odd) > 0.3 * len(sample) / 2 and min(even, odd) < 0.05 * len(sample):
            return "utf-16-be" if even > odd else "utf-16-le"
        at = data.index(b"\x00")
        raise DataError(
            f"{name} is no text table: byte {at} is zero; name the format (parquet, arrow) or "
            "export it as CSV"
        )
    if looks_binary(sample):
        raise DataError(f"{name} is no text table: it begins with control characters")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        window = data[max(0, error.start - SAMPLE // 2) : error.start + SAMPLE // 2]
        # Western texts have few letters beyond ASCII; too few to guess another code page from.
        letters = sum(chr(b).isalpha() for b in window) or 1
        if sum(b > 127 for b in window) < FEW * letters:
            return "cp1252"
        best = charset_normalizer.from_bytes(window).best()
        guess = best.encoding if best else "cp1252"
        # Western code pages differ in a handful of signs; cp1252 holds all that are printed.
        western = re.match(
            r"latin|iso8859|cp125[0247]|cp437|cp85|mac|hp_|cp1140|cp500|cp037", guess
        )
        return "cp1252" if western or guess in ("utf_8", "ascii") else guess
    return "utf-8"


def looks_binary(sample: bytes) -> bool:
    """Whether there are zero bytes, or control characters that no text has."""
    allowed = (9, 10, 12, 13, 26)
    control = sum(sample.count(bytes([c])) for c in range(1, 32) if c not in allowed)
    return b"\x00" in sample or control > 0.01 * len(sample)


def to_utf8(data: bytes, encoding: str, name: str) -> bytes:
    """The text in UTF-8, without a byte-order mark."""
    try:
        if codecs.lookup(encoding).name == "utf-8":
            return data[3:] if data.startswith(codecs.BOM_UTF8) else data
        # cp1252 leaves five bytes undefined, which Latin-1 reads as control characters.
        text = data.decode(encoding, "strict")
    except LookupError:
        raise DataError(f"csv.encoding = {encoding!r} is not known") from None
    except UnicodeDecodeError as error:
        if encoding != "cp1252":
            raise DataError(
                f"{name} is not {encoding}: byte {error.start} ({error.reason})"
            ) from None
        text = data.decode("latin-1")
    return text.lstrip("\ufeff").encode("utf-8")
