"""The formats read by the letter of their specifications, with numpy alone.

Independent of sammed and of the libraries that it reads with. Each function gives the voxels in
the file's order (k, j, i), one frame, and the map of (i, j, k) to LPS mm; or None where a header
does not say, or says what sammed refuses.
"""

from __future__ import annotations

import gzip
import re
import struct
import zlib
from pathlib import Path

import numpy as np

Found = tuple[np.ndarray, np.ndarray]
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""From RAS."""


def orthogonal(affine: np.ndarray) -> bool:
    """Whether three axes exist and meet at right angles, to 1e-3."""
    with np.errstate(all="ignore"):
        sizes = np.linalg.norm(affine[:3, :3], axis=0)
        if not np.isfinite(affine).all() or sizes.min() <= 0:
            return False
        if abs(np.linalg.det(affine[:3, :3])) < 1e-12:
            return False
        unit = affine[:3, :3] / sizes
        return bool(np.abs(unit.T @ unit - np.eye(3)).max() <= 1e-3)


# --- NIfTI

NIFTI_TYPES = {
    2: "u1",
    4: "i2",
    8: "i4",
    16: "f4",
    64: "f8",
    256: "i1",
    512: "u2",
    768: "u4",
    1024: "i8",
    1280: "u8",
}
MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 1e-3}


def nifti(path: Path, frame: int = 0) -> Found | None:
    """Header offsets are those of nifti1.h and nifti2.h."""
    data = path.read_bytes()
    data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    order = next(o for o in "<>" if struct.unpack(o + "i", data[:4])[0] in (348, 540))
    second = struct.unpack(order + "i", data[:4])[0] == 540

    def get(kind: str, first: int, two: int, two_kind: str | None = None):
        form, at = (two_kind or kind, two) if second else (kind, first)
        return struct.unpack(order + form, data[at : at + struct.calcsize(order + form)])

    dim = get("8h", 40, 16, "8q")
    if (
        not 1 <= dim[0] <= 7
        or min(dim[1 : dim[0] + 1]) < 1
        or any(n > 1 for n in dim[5:][: dim[0] - 4 if dim[0] > 4 else 0])
    ):
        return None
    i, j, k, _ = (*dim[1 : dim[0] + 1], 1, 1, 1)[:4]
    code = get("h", 70, 12)[0]
    if code not in NIFTI_TYPES:
        return None
    pixdim = np.array(get("8f", 76, 104, "8d"))
    offset = int(get("f", 108, 168, "q")[0])
    slope, inter = (float(get("f", at, two, "d")[0]) for at, two in ((112, 176), (116, 184)))
    count = i * j * k
    kind = np.dtype(order + NIFTI_TYPES[code])
    raw = np.frombuffer(data, kind, count, offset + frame * count * kind.itemsize)
    values = raw.reshape(k, j, i)
    if slope != 0 and np.isfinite(slope):
        values = values * slope + (inter if np.isfinite(inter) else 0.0)
    units = get("b", 123, 500, "i")[0] & 7
    ras = _nifti_affine(get, pixdim, (i, j, k), dim[0])
    if ras is None:
        return None
    mm = MM.get(units, 1.0)
    return values, LPS @ np.diag([mm, mm, mm, 1.0]) @ ras


def _nifti_affine(get, pixdim, shape, dims) -> np.ndarray | None:
    qcode, scode = get("h", 252, 344, "i")[0], get("h", 254, 348, "i")[0]
    sizes = np.where(pixdim[1:4] == 0, 1.0, np.abs(pixdim[1:4]))
    sform = np.eye(4)
    for row, (at, two) in enumerate(((280, 400), (296, 432), (312, 464))):
        sform[row] = get("4f", at, two, "4d")
    if scode > 0 and orthogonal(sform):
        return sform
    if qcode > 0:
        b, c, d = (get("f", at, two, "d")[0] for at, two in ((256, 352), (260, 360), (264, 368)))
        length = np.sqrt(b * b + c * c + d * d)
        if not length <= 1 + 1e-4:
            return None
        a = 1 - length**2
        if a < 1e-7:  # as nifti1_io.c has it
            b, c, d = (n / length for n in (b, c, d))
            a = 0.0
        a = np.sqrt(a)
        turn = np.array(
            [
                [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
                [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
                [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
            ]
        )
        form = np.eye(4)
        form[:3, :3] = turn * sizes * [1, 1, -1 if pixdim[0] == -1 else 1]
        form[:3, 3] = [
            get("f", at, two, "d")[0] for at, two in ((268, 376), (272, 384), (276, 392))
        ]
        return form if orthogonal(form) else None
    if scode > 0:
        return None
    sizes[dims:] = 1.0
    if not np.isfinite(sizes).all():
        return None
    form = np.diag([-sizes[0], sizes[1], sizes[2], 1.0])  # as Analyze: centred, x to the left
    form[:3, 3] = -form[:3, :3] @ ((np.array(shape) - 1) / 2)
    return form if orthogonal(form) else None


# --- NRRD

NRRD_TYPES = {
    **dict.fromkeys(("signed char", "int8", "int8_t"), "i1"),
    **dict.fromkeys(("uchar", "unsigned char", "uint8", "uint8_t"), "u1"),
    **dict.fromkeys(("short", "short int", "signed short", "int16", "int16_t"), "i2"),
    **dict.fromkeys(("ushort", "unsigned short", "uint16", "uint16_t"), "u2"),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t"), "i4"),
    **dict.fromkeys(("uint", "unsigned int", "uint32", "uint32_t"), "u4"),
    **dict.fromkeys(("longlong", "long long int", "int64", "int64_t"), "i8"),
    **dict.fromkeys(("ulonglong", "unsigned long long", "uint64", "uint64_t"), "u8"),
    "float": "f4",
    "double": "f8",
}
UNIT = {"": 1.0, "mm": 1.0, "um": 1e-3, "cm": 10.0, "m": 1000.0}
SIGNS = {"left-posterior-superior": (1, 1), "right-anterior-superior": (-1, -1)}
SIGNS |= {"left-anterior-superior": (1, -1), "lps": (1, 1), "ras": (-1, -1), "las": (1, -1)}
NO_DISTANCE = ("list", "vector", "time", "3-vector", "rgb-color", "scalar", "stub", "none")


def nrrd(path: Path, frame: int = 0) -> Found | None:
    data = path.read_bytes()
    text, _, rest = data.partition(b"\n\n")
    lines = text.decode().split("\n")
    assert lines[0].startswith("NRRD000")
    fields = {}
    names: list[str] | None = None
    for line in lines[1:]:
        if names is not None:
            names.append(line)
        elif not line.startswith("#") and ":=" not in line.partition(": ")[0]:
            key, _, value = line.partition(": ")
            fields[key.lower().replace(" ", "")] = value.strip()
            if value.startswith("LIST"):
                names = []
    sizes = [int(n) for n in fields["sizes"].split()]
    kind = np.dtype(NRRD_TYPES[fields["type"].lower()])
    kind = kind.newbyteorder(">" if fields.get("endian") == "big" else "<")
    body = _nrrd_body(path, fields, rest, names, int(np.prod(sizes)) * kind.itemsize)
    if fields["encoding"] == "ascii":
        flat = np.array([float(n) for n in body.split()]).astype(kind)
    else:
        flat = np.frombuffer(body, kind)
    array = flat.reshape(sizes[::-1])  # the first axis is the fastest
    kinds = fields.get("kinds", "").lower().split() or ["domain"] * len(sizes)
    spatial = [n for n, name in enumerate(kinds) if name not in NO_DISTANCE][:3]
    array, other = (
        np.moveaxis(array, [len(sizes) - 1 - n for n in spatial[::-1]], range(-len(spatial), 0)),
        len(sizes) - len(spatial),
    )
    if other:
        array = array.reshape(-1, *array.shape[other:])[frame]
    affine = _nrrd_affine(fields, spatial, sizes)
    return (
        None
        if affine is None or not orthogonal(affine)
        else (array[(None,) * (3 - array.ndim)], affine)
    )


def _nrrd_body(path, fields, rest, names, count) -> bytes:
    named = fields.get("datafile", "")
    if names is None and "%" in named:
        pattern, first, last, step, *_ = named.split()
        names = [pattern % n for n in range(int(first), int(last) + 1, int(step))]
    elif names is None and named:
        names = [named]
    parts = (
        [rest] if names is None else [(path.parent / n.strip()).read_bytes() for n in names if n]
    )
    bodies = []
    for part in parts:
        for _ in range(int(fields.get("lineskip", 0))):
            part = part.partition(b"\n")[2]
        if fields["encoding"] in ("gzip", "gz"):
            part = gzip.decompress(part)
        skip = int(fields.get("byteskip", 0))
        part = part[-count:] if skip == -1 else part[skip:]
        bodies.append(bytes.fromhex(part.decode()) if fields["encoding"] == "hex" else part)
    body = b"".join(bodies)
    return body if fields["encoding"] == "ascii" else body[:count]


def _numbers(text: str) -> list[float]:
    return [float(n) for n in re.findall(r"[-+.\w]+", text)]


def _nrrd_affine(fields, spatial, sizes) -> np.ndarray | None:
    n = len(spatial)
    affine = np.eye(4)
    if "spacedirections" in fields:
        vectors = re.findall(r"none|\([^)]*\)", fields["spacedirections"])
        vectors = [_numbers(v) for v in vectors if v != "none"]
        if len(vectors) != n:
            return None
        for axis, vector in enumerate(vectors):
            affine[: len(vector), axis] = vector
        if origin := _numbers(fields.get("spaceorigin", "")):
            affine[: len(origin), 3] = origin
        units = re.findall(r'"([^"]*)"', fields.get("spaceunits", ""))
    else:
        centers = fields.get("centerings", "").split() or ["cell"] * len(sizes)
        spacings, low, high = (
            dict(enumerate(_numbers(fields.get(key, ""))))
            for key in ("spacings", "axismins", "axismaxs")
        )
        for position, axis in enumerate(spatial):
            steps = sizes[axis] - (centers[axis] == "node")
            step = spacings.get(axis, np.nan)
            if np.isnan(step) and axis in low and axis in high:
                step = (high[axis] - low[axis]) / steps if steps else np.nan
            elif np.isnan(step):
                step = 1.0
            affine[position, position] = step
            if axis in low:
                affine[position, 3] = low[axis] + (0 if centers[axis] == "node" else step / 2)
        units = [
            u
            for a, u in enumerate(re.findall(r'"([^"]*)"', fields.get("units", "")))
            if a in spatial
        ]
    factors = [UNIT.get(unit, 1.0) for unit in units[:3]]
    signs = SIGNS.get(fields.get("space", "").lower(), (1, 1))
    return np.diag([*signs, 1.0, 1.0]) @ np.diag([*factors, *[1.0] * (4 - len(factors))]) @ affine


# --- MetaImage

META_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}


def meta(path: Path, frame: int = 0) -> Found | None:
    data = path.read_bytes()
    at = data.index(b"ElementDataFile")
    end = data.index(b"\n", at) + 1
    fields = dict(
        re.split(r"\s*[=:]\s*", line, maxsplit=1) for line in data[:at].decode().split("\n") if line
    )
    file = re.split(r"\s*=\s*", data[at:end].decode().strip())[1]
    sizes = [int(n) for n in fields["DimSize"].split()]
    n = len(sizes)
    channels = int(fields.get("ElementNumberOfChannels", 1))
    order = fields.get("ElementByteOrderMSB", fields.get("BinaryDataByteOrderMSB", "False"))
    kind = np.dtype(META_TYPES[fields["ElementType"]]).newbyteorder(">" if order == "True" else "<")
    body = data[end:]
    if file.startswith("LIST"):
        body = [(path.parent / name).read_bytes() for name in body.decode().split()]
    elif "%" in file:
        pattern, first, last, step = file.split()
        body = [
            (path.parent / (pattern % k)).read_bytes()
            for k in range(int(first), int(last) + 1, int(step))
        ]
    else:
        body = [body if file == "LOCAL" else (path.parent / file).read_bytes()]
    count = int(np.prod(sizes)) * channels * kind.itemsize
    if fields.get("CompressedData") == "True":
        body = [zlib.decompress(part) for part in body]
    elif (skip := int(fields.get("HeaderSize", 0))) == -1:
        body = [part[-count:] for part in body]
    else:
        body = [part[skip:] for part in body]
    if fields.get("BinaryData") == "False":
        flat = np.array([float(word) for part in body for word in part.split()]).astype(kind)
    else:
        flat = np.frombuffer(b"".join(body)[:count], kind)
    array = flat.reshape(*sizes[::-1], channels)[..., frame if channels > 1 else 0]
    if n == 4:
        array = array[frame]
    array = array[(None,) * (3 - array.ndim)]
    slope = float(fields.get("ElementToIntensityFunctionSlope", 1))
    inter = float(fields.get("ElementToIntensityFunctionOffset", 0))
    if (slope, inter) != (1.0, 0.0) and slope != 0:
        array = array * slope + inter
    spacing = next(
        (fields[key] for key in ("ElementSpacing", "ElementSize") if key in fields), "1 " * n
    )
    matrix = next(
        (fields[key] for key in ("TransformMatrix", "Rotation", "Orientation") if key in fields),
        None,
    )
    origin = next(
        (fields[key] for key in ("Offset", "Position", "Origin") if key in fields), "0 " * n
    )
    turn = np.eye(n) if matrix is None else np.array(_numbers(matrix)).reshape(n, n)
    affine = np.eye(4)
    m = min(n, 3)
    # one row of the file is one axis of the image
    affine[:m, :m] = (turn.T * _numbers(spacing))[:m, :m]
    affine[:m, 3] = _numbers(origin)[:m]
    mm = UNIT.get(fields.get("DistanceUnits", ""), 1.0)
    affine = np.diag([mm, mm, mm, 1.0]) @ affine
    return (array, affine) if orthogonal(affine) else None


# --- FreeSurfer's MGH


def mgh(path: Path, frame: int = 0) -> Found | None:
    data = path.read_bytes()
    data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    version, i, j, k, frames, code, _, good = struct.unpack(">7ih", data[:30])
    types = {0: "u1", 1: "i4", 3: "f4", 4: "i2", 10: "u2"}
    if version != 1 or min(i, j, k, frames) < 1 or code not in types:
        return None
    delta = np.array(struct.unpack(">3f", data[30:42]))
    axes = np.array(struct.unpack(">9f", data[42:78])).reshape(3, 3)
    centre = np.array(struct.unpack(">3f", data[78:90]))
    if good <= 0:
        delta, axes, centre = np.ones(3), np.array([[-1, 0, 0], [0, 0, -1], [0, 1, 0]]), np.zeros(3)
    kind = np.dtype(">" + types[code])
    count = i * j * k
    array = np.frombuffer(data, kind, count, 284 + frame * count * kind.itemsize).reshape(k, j, i)
    ras = np.eye(4)
    ras[:3, :3] = axes.T * delta
    ras[:3, 3] = centre - ras[:3, :3] @ (np.array([i, j, k]) / 2)
    return (array, LPS @ ras) if orthogonal(ras) else None
