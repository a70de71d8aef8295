"""Files written by hand, field by field, as the formats' specifications have them."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

SPACE = {
    "space": "left-posterior-superior",
    "space directions": "(0.7,0,0) (0,0.8,0) (0,0,2.5)",
    "space origin": "(1,2,3)",
}
AFFINE = np.array([[0.7, 0, 0, 1], [0, 0.8, 0, 2], [0, 0, 2.5, 3], [0, 0, 0, 1]])
"""Index (i, j, k) to LPS mm of both headers' defaults."""

NRRD_TYPES = {
    "i1": "signed char",
    "u1": "uchar",
    "i2": "short",
    "u2": "unsigned short",
    "i4": "int",
    "u4": "unsigned int",
    "i8": "long long int",
    "u8": "uint64",
    "f4": "float",
    "f8": "double",
}
META_TYPES = {
    "i1": "MET_CHAR",
    "u1": "MET_UCHAR",
    "i2": "MET_SHORT",
    "u2": "MET_USHORT",
    "i4": "MET_INT",
    "u4": "MET_UINT",
    "i8": "MET_LONG_LONG",
    "u8": "MET_ULONG_LONG",
    "f4": "MET_FLOAT",
    "f8": "MET_DOUBLE",
}


def code(array: np.ndarray) -> str:
    return f"{array.dtype.kind}{array.dtype.itemsize}"


def nrrd(
    path: Path,
    array: np.ndarray,
    fields: Mapping[str, str | None] | None = None,
    pairs: Mapping[str, str] | None = None,
    data: bytes | None = None,
    end: str = "\n\n",
) -> Path:
    """A NRRD; the array is (k, j, i) or (k, j, i, component), other axes as `fields` say.

    A field of None is left out; ``data file`` comes last, so that a list of files may follow.
    """
    header: dict[str, str | None] = {
        "type": NRRD_TYPES[code(array)],
        "dimension": str(array.ndim),
        **SPACE,
        "sizes": " ".join(map(str, array.shape[::-1])),
        "endian": "big" if array.dtype.byteorder == ">" else "little",
        "encoding": "raw",
        **(fields or {}),
    }
    last = header.pop("data file", None)
    if "space dimension" in header:  # has to come before what it is the dimension of
        header = {"space dimension": header.pop("space dimension"), **header}
    lines = ["NRRD0005", "# made by hand"]
    lines += [f"{key}: {value}" for key, value in header.items() if value is not None]
    lines += [f"{key}:={value}" for key, value in (pairs or {}).items()]
    if last is not None:
        lines.append(f"data file: {last}")
        data = b""
    body = array.tobytes() if data is None else data
    path.write_bytes(("\n".join(lines) + end).encode() + body)
    return path


def meta(
    path: Path,
    array: np.ndarray,
    fields: Mapping[str, str | None] | None = None,
    data: bytes | None = None,
    file: str = "LOCAL",
) -> Path:
    """A MetaImage; the array is (k, j, i). A field of None is left out."""
    header: dict[str, str | None] = {
        "ObjectType": "Image",
        "NDims": str(array.ndim),
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": str(array.dtype.byteorder == ">"),
        "CompressedData": "False",
        "TransformMatrix": "1 0 0 0 1 0 0 0 1",
        "Offset": "1 2 3",
        "CenterOfRotation": "0 0 0",
        "ElementSpacing": "0.7 0.8 2.5",
        "DimSize": " ".join(map(str, array.shape[::-1])),
        "ElementType": META_TYPES[code(array)],
        **(fields or {}),
    }
    lines = [f"{key} = {value}" for key, value in header.items() if value is not None]
    lines.append(f"ElementDataFile = {file}")
    body = array.tobytes() if data is None else data
    path.write_bytes(("\n".join(lines) + "\n").encode() + (body if file == "LOCAL" else b""))
    return path


def tiff(
    path: Path,
    pages: Sequence[np.ndarray],
    *,
    white_is_zero: bool = False,
    big_endian: bool = False,
    pack: object = None,
    compression: int = 1,
    rows_per_strip: int | None = None,
    tags: Mapping[int, int] | None = None,
) -> Path:
    """A grey TIFF, page after page, in strips."""
    order = ">" if big_endian else "<"
    out = bytearray((b"MM" if big_endian else b"II") + struct.pack(order + "HI", 42, 0))
    link = 4
    for page in pages:
        rows, columns = page.shape
        per_strip = rows_per_strip or rows
        stored = page.astype(page.dtype.newbyteorder(order))
        strips = [stored[r : r + per_strip].tobytes() for r in range(0, rows, per_strip)]
        strips = [pack(strip) if callable(pack) else strip for strip in strips]
        places = []
        for strip in strips:
            places.append(len(out))
            out += strip + b"\0" * (len(strip) % 2)
        entries = {
            256: (4, [columns]),
            257: (4, [rows]),
            258: (3, [8 * page.dtype.itemsize]),
            259: (3, [compression]),
            262: (3, [0 if white_is_zero else 1]),
            273: (4, places),
            277: (3, [1]),
            278: (4, [per_strip]),
            279: (4, [len(strip) for strip in strips]),
            339: (3, [{"u": 1, "i": 2, "f": 3}[page.dtype.kind]]),
            **{tag: (3, [value]) for tag, value in (tags or {}).items()},
        }
        lists = {}
        for tag, (kind, values) in entries.items():
            packed = b"".join(struct.pack(order + ("I" if kind == 4 else "H"), v) for v in values)
            if len(packed) > 4:
                lists[tag] = len(out)
                out += packed
        out[link : link + 4] = struct.pack(order + "I", len(out))
        out += struct.pack(order + "H", len(entries))
        for tag in sorted(entries):
            kind, values = entries[tag]
            packed = b"".join(struct.pack(order + ("I" if kind == 4 else "H"), v) for v in values)
            where = struct.pack(order + "I", lists[tag]) if tag in lists else packed.ljust(4, b"\0")
            out += struct.pack(order + "HHI", tag, kind, len(values)) + where
        link = len(out)
        out += b"\0\0\0\0"
    path.write_bytes(bytes(out))
    return path


def mgh(
    path: Path,
    frames: np.ndarray,
    *,
    delta: Sequence[float] = (0.7, 0.8, 2.5),
    axes: np.ndarray | None = None,
    centre: Sequence[float] = (1, 2, 3),
    good: int = 1,
    code: int | None = None,
    tail: bytes = b"",
) -> Path:
    """A FreeSurfer volume; the array is (frame, k, j, i), `axes` has one row an axis, in RAS."""
    codes = {"u1": 0, "i4": 1, "f4": 3, "i2": 4, "u2": 10}
    kind = f"{frames.dtype.kind}{frames.dtype.itemsize}"
    header = struct.pack(">i", 1) + struct.pack(">4i", *frames.shape[:0:-1], frames.shape[0])
    header += struct.pack(">iih", codes[kind] if code is None else code, 0, good)
    header += struct.pack(">3f", *delta)
    header += np.asarray(np.eye(3) if axes is None else axes).astype(">f4").tobytes()
    header += struct.pack(">3f", *centre)
    data = header.ljust(284, b"\0") + frames.astype(f">{kind}").tobytes() + tail
    packed = path.suffix in (".mgz", ".gz")
    path.write_bytes(gzip.compress(data) if packed else data)
    return path
