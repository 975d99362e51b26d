"""Planted identifiers, everything that leaves a hospital, and a search for the one in the other.

Every identifier begins with the same mark, so one search for the mark, in every form in which text may hide, finds any
of them, whole or cut off behind it. Numbers are searched one by one.
"""

from __future__ import annotations

import base64
import bz2
import csv
import gzip
import lzma
import re
import struct
import threading
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import grpc
from PIL import Image
from PIL.PngImagePlugin import PngInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

MARK: Final = "Krnx7QvZw"
_FIRST_NUMBER: Final = 739_182_640_000
_CHUNKS: Final = 12
_COLUMNS: Final = ("name", "birth_name", "street", "accession", "referrer", "ward", "note", "email")
_MOST_INFLATED: Final = 1 << 24


@dataclass
class Canaries:
    """Identifiers that were handed out."""

    texts: list[str] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)

    def text(self) -> str:
        """A new one, as a name."""
        self.texts.append(f"{MARK}{len(self.texts):06d}")
        return self.texts[-1]

    def number(self) -> int:
        """A new one, as an insurance number."""
        self.numbers.append(_FIRST_NUMBER + len(self.numbers))
        return self.numbers[-1]

    @property
    def count(self) -> int:
        return len(self.texts) + len(self.numbers)

    def plant(self, folder: Path) -> None:
        """Into a virtual hospital's data set: patients, names of files and folders, columns, texts in images."""
        table = folder / "table.csv"
        with table.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        patients = {row["patient"]: self.text() for row in rows}
        folders = {row["patient"]: self.text() for row in rows}
        for row in rows:
            old = folder / row["image"]
            place = folder / "images" / folders[row["patient"]] / f"{self.text()}.png"
            place.parent.mkdir(exist_ok=True)
            self._rewrite(old, place)
            row["image"] = str(place.relative_to(folder))
            row["patient"] = patients[row["patient"]]
            row.update({name: self.text() for name in _COLUMNS})
            row["insurance"] = str(self.number())
        with table.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)

    def _rewrite(self, old: Path, new: Path) -> None:
        about = PngInfo()
        for number in range(_CHUNKS):
            about.add_text(f"PatientName{number}", self.text(), zip=bool(number % 2))
        with Image.open(old) as image:
            image.load()
            image.save(new, pnginfo=about)
        old.unlink()


class Tap(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Writes down every byte that reaches a gateway: names of calls, headers, and bodies before anybody reads them."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self._lock = threading.Lock()

    @property
    def everything(self) -> bytes:
        with self._lock:
            return b"\n".join(self.bodies)

    async def intercept_service(self, continuation: Callable[..., Any], details: Any) -> Any:
        self._keep(str(details.method).encode())
        for name, value in details.invocation_metadata or ():
            self._keep(name.encode() + b"=" + (value if isinstance(value, bytes) else value.encode()))
        handler = await continuation(details)
        if handler is None:
            return None
        return handler._replace(stream_stream=self._read(handler.stream_stream))

    def _read(self, inner: Callable[..., Any]) -> Callable[..., Any]:
        async def kept(requests: Any, context: Any) -> None:
            await inner(requests, _Overheard(context, self._keep))

        return kept

    def _keep(self, content: bytes) -> None:
        assert isinstance(content, bytes), "the gateway reads bodies as bytes"
        with self._lock:
            self.bodies.append(content)


class _Overheard:
    """A call's context that tells what is read from it."""

    def __init__(self, context: Any, keep: Callable[[bytes], None]) -> None:
        self._context, self._keep = context, keep

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    async def read(self) -> Any:
        found = await self._context.read()
        if found is not grpc.aio.EOF:
            self._keep(found)
        return found


def forms(text: str) -> Iterator[tuple[str, bytes]]:
    """Every form in which a text is searched for."""
    plain = text.encode()
    for name in ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le"):
        yield name, text.encode(name)
    for name, changed in (("lower", text.lower()), ("upper", text.upper()), ("reversed", text[::-1])):
        yield name, changed.encode()
    yield "hex", plain.hex().encode()
    yield "HEX", plain.hex().upper().encode()
    for shift in range(3):
        yield f"base64+{shift}", _inner(base64.b64encode, plain, shift, 3, 4)
    for shift in range(5):
        yield f"base32+{shift}", _inner(base64.b32encode, plain, shift, 5, 8)
    yield "escaped", "".join(f"\\u{ord(letter):04x}" for letter in text).encode()
    yield "percent", "".join(f"%{ord(letter):02X}" for letter in text).encode()


def _inner(encode: Callable[[bytes], bytes], plain: bytes, shift: int, group: int, letters: int) -> bytes:
    """What an encoding makes of a text ``shift`` bytes into a group: those letters that depend on the text alone."""
    encoded = encode(bytes(shift) + plain + bytes(group)).rstrip(b"=")
    bits = 8 * group // letters
    first, last = -(-8 * shift // bits), 8 * (shift + len(plain)) // bits
    return encoded[first:last]


def search(content: bytes, canaries: Canaries) -> list[str]:
    """In which forms identifiers stand in a content, in itself or in what is compressed in it."""
    found = [name for name, form in forms(MARK) if form in content]
    for number in canaries.numbers:
        packed = {"decimal": str(number).encode()}
        packed |= {form: struct.pack(form, number) for form in ("<q", ">q", "<d", ">d")}
        found += [name for name, form in packed.items() if form in content]
    for name, inner in inflated(content):
        found += [f"{name}/{form}" for form, pattern in forms(MARK) if pattern in inner]
    return sorted(set(found))


def inflated(content: bytes) -> Iterator[tuple[str, bytes]]:
    """What comes out wherever something looks compressed."""
    for name, magic, make in (
        ("zlib", rb"\x78[\x01\x5e\x9c\xda]", zlib.decompressobj),
        ("gzip", rb"\x1f\x8b\x08", lambda: zlib.decompressobj(31)),
        ("bz2", rb"BZh[1-9]1AY", bz2.BZ2Decompressor),
        ("xz", rb"\xfd7zXZ", lzma.LZMADecompressor),
    ):
        for place in re.finditer(magic, content):
            try:
                yield name, make().decompress(content[place.start() :], _MOST_INFLATED)
            except (OSError, ValueError, EOFError, zlib.error, lzma.LZMAError):
                continue


def hidden(text: str) -> dict[str, bytes]:
    """Ways to hide a text that the search has to see through."""
    plain = b"before " + text.encode() + b" behind"
    return {
        "plain": plain,
        "utf-16": text.encode("utf-16"),
        "hex": plain.hex().encode(),
        "HEX": plain.hex().upper().encode(),
        "base64": base64.b64encode(plain),
        "base64 one byte later": base64.b64encode(b"1" + plain),
        "base64 two bytes later": base64.b64encode(b"22" + plain),
        "urlsafe": base64.urlsafe_b64encode(plain),
        "base32": base64.b32encode(b"4444" + plain),
        "lower": plain.lower(),
        "reversed": plain[::-1],
        "zlib": b"xx" + zlib.compress(plain),
        "gzip": b"xx" + gzip.compress(plain),
        "bz2": bz2.compress(plain),
        "xz": lzma.compress(plain),
    }


def files_with(folders: Iterable[Path], canaries: Canaries) -> list[str]:
    """Files below some folders whose name or content holds an identifier."""
    found = []
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            name = str(path.relative_to(folder))
            if MARK in name or (path.is_file() and search(path.read_bytes(), canaries)):
                found.append(name)
    return found
