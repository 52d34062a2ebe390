"""What a file is by its first bytes, and how long it says that it is.

Only to tell people what is wrong with a file: what can be read is decided by the libraries that read it.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

HEAD_BYTES = 4096
MOST_PNG_CHUNKS = 1000  # before the picture; a handful is usual
MOST_BOXES = 100_000  # a fragmented recording of hours has some ten thousand

# Where, which bytes, what they begin.
_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\xff\xd8\xff", "a JPEG image"),
    (0, b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (0, b"GIF8", "a GIF image"),
    (0, b"II*\0", "a TIFF image"),
    (0, b"MM\0*", "a TIFF image"),
    (8, b"WEBP", "a WebP image"),
    (6, b"\0\0\0\0", "a BMP image"),
    (4, b"ftyp", "an MP4 or MOV video"),
    (4, b"moov", "a MOV video"),
    (4, b"mdat", "a MOV video"),
    (4, b"wide", "a MOV video"),
    (0, b"\x1a\x45\xdf\xa3", "an MKV or WebM video"),
    (8, b"AVI ", "an AVI video"),
    (0, b"OggS", "an Ogg video"),
    (0, b"FLV\x01", "an FLV video"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a WMV video"),
    (0, b"\0\0\x01\xba", "an MPEG video"),
)
_AND_ALSO = {"a BMP image": (0, b"BM"), "a WebP image": (0, b"RIFF"), "an AVI video": (0, b"RIFF")}
_AVIF = (b"avif", b"avis")
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
_LISTS = re.compile(
    rb"#extm3u|ffconcat version|\[playlist\]|file\s+['\"]?\S|v=0\s+o=|(<\?xml[^>]*>\s*)?<(mpd|smil|asx)\b"
)
# Possessive: bytes of a stranger's choice must not make it try again and again.
_PAGE = re.compile(rb"(?:<!--(?:(?!-->).)*+-->\s*+)*+<(!doctype html|html|head|body)\b", re.DOTALL)
_TEXT = bytes({7, 8, 9, 10, 12, 13, 27, *range(0x20, 0x100)} - {0x7F})

_ISO_BOXES = {
    b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide", b"pnot", b"uuid", b"meta", b"mfra", b"sidx",
    b"ssix", b"prft", b"emsg", b"udta",
}  # fmt: skip
_EBML_HEADER, _EBML_SEGMENT = 0x1A45DFA3, 0x18538067


def begins_like(head: bytes) -> str | None:
    """The kind of video or image whose signature the first bytes are; None for any other file."""
    if is_heic(head) or is_avif(head):
        return "a HEIC image" if is_heic(head) else "an AVIF image"
    for offset, signature, kind in _SIGNATURES:
        start, also = _AND_ALSO.get(kind, (0, b""))
        if head.startswith(signature, offset) and head.startswith(also, start):
            return kind
    return None


def is_heic(head: bytes) -> bool:
    """HEIC and its relatives, which share the container of MP4."""
    return head[4:8] == b"ftyp" and head[8:12] in _HEIC


def is_avif(head: bytes) -> bool:
    """AVIF, which shares that container too."""
    return head[4:8] == b"ftyp" and head[8:12] in _AVIF


def is_webp(head: bytes) -> bool:
    """WebP, still or animated."""
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


def description(head: bytes) -> str:
    """What a file that is neither a video nor an image seems to be."""
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if _LISTS.match(start):
        return "a list that names other files or addresses, which are not followed"
    if _PAGE.match(start):
        return "an HTML page"
    if not head:
        return "empty"
    return "in no format that is read here" if start.translate(None, _TEXT) else "text"


def is_animated_png(path: Path) -> bool:
    """Whether a PNG says, before its first picture, that it moves. Colour profiles may stand in front of that."""
    with path.open("rb") as file:
        if file.read(8) != b"\x89PNG\r\n\x1a\n":
            return False
        for _ in range(MOST_PNG_CHUNKS):
            header = file.read(8)
            if len(header) < 8 or header[4:] == b"IDAT":
                return False
            if header[4:] == b"acTL":
                return True
            file.seek(int.from_bytes(header[:4], "big") + 4, 1)
    return False


def promised_bytes(path: Path) -> int:
    """How many bytes the file must have by its own structure (MP4, MOV, MKV, WebM, AVI); 0 where it doesn't say."""
    with path.open("rb") as file:
        head = file.read(16)
        for begins, promise in _PROMISES:
            if begins(head):
                return promise(file)
    return 0


def _iso_bytes(file: BinaryIO) -> int:
    at = 0
    for _ in range(MOST_BOXES):
        file.seek(at)
        header = file.read(16)
        size = int.from_bytes(header[:4], "big")
        if header[4:8] not in _ISO_BOXES:
            return at  # the end, or something appended
        if size == 1:
            size = int.from_bytes(header[8:16], "big")
        if size < 8:  # 0: to the end of the file
            return at
        at += size
    return 0


def _ebml_bytes(file: BinaryIO) -> int:
    file.seek(0)
    head = file.read(HEAD_BYTES)
    at = 0
    for wanted in (_EBML_HEADER, _EBML_SEGMENT):
        if int.from_bytes(head[at : at + 4], "big") != wanted or len(head) < at + 5:
            return 0
        length = 9 - head[at + 4].bit_length()
        size = int.from_bytes(head[at + 4 : at + 4 + length], "big") & ((1 << 7 * length) - 1)
        if size == (1 << 7 * length) - 1:  # live: unknown
            return 0
        at += 4 + length + size
    return at


def _riff_bytes(file: BinaryIO) -> int:
    file.seek(4)
    size = int.from_bytes(file.read(4), "little")
    return 8 + size if size < 0xFFFFFFFF else 0


_PROMISES: tuple[tuple[Callable[[bytes], bool], Callable[[BinaryIO], int]], ...] = (
    (lambda head: head[4:8] in _ISO_BOXES, _iso_bytes),
    (lambda head: head[:4] == b"\x1a\x45\xdf\xa3", _ebml_bytes),
    (lambda head: head[:4] == b"RIFF" and head[8:12] == b"AVI ", _riff_bytes),
)
