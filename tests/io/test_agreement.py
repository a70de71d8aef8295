"""For any header that can be made here, sammed and a reading by the specification agree.

Both see the same voxels and put each of them in the same place, or sammed refuses in one line.
Where a header is sound, it is not refused.
"""

from __future__ import annotations

import gzip
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from sammed import io
from sammed.errors import SammedError
from sammed.imaging.volume import Volume

from . import by_hand, by_spec

QUICK, SLOW = 200, 10_000
CORNERS = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("agreement")


def expected_values(stored: np.ndarray) -> np.ndarray:
    """As sammed promises them: float32 where not small integers, NaN as the smallest value."""
    if stored.dtype.kind in "iu" and stored.dtype.itemsize < 8:
        return stored
    if stored.dtype.kind in "iu":
        fits = stored.min() >= -(2**31) and stored.max() < 2**31
        return stored.astype(np.int32 if fits else np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        values = stored.astype(np.float32)
    finite = np.isfinite(values)
    return np.where(finite, values, values[finite].min()) if finite.any() else values


def read(path: Path, frame: int | None) -> Volume | SammedError:
    """What sammed reads, or its one line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return io.read(path, frame=frame)
    except SammedError as error:
        event("refused")
        if len(str(error).splitlines()) != 1:
            raise
        return error


READ: list[str] = []
"""Names of all files that were read and compared."""


def is_usable(found: by_spec.Found | None) -> bool:
    """Whether there is a finite voxel, and voxels are not smaller than 0.1 µm."""
    if found is None or abs(np.linalg.det(found[1])) < 1e-12:
        return False
    return bool(np.isfinite(expected_values(found[0])).any())


def compare(path: Path, found: by_spec.Found | None, frame: int | None, must: bool = False) -> None:
    """sammed's reading against one by the specification."""
    volume = read(path, frame)
    if isinstance(volume, SammedError):
        assert not (must and found), f"a sound header was refused: {volume}"
        return
    event("read")
    READ.append(path.name)
    assert found is not None, "read, though the header does not say where its voxels are"
    stored, affine = found
    np.testing.assert_allclose(
        volume.grid.reorientation.invert(volume.voxels), expected_values(stored), rtol=2e-6
    )
    corners = CORNERS * (np.array(stored.shape[::-1]) - 1)
    there = corners @ affine[:3, :3].T + affine[:3, 3]
    mine = volume.grid.affine[:, [2, 1, 0, 3]]
    here = corners @ mine[:3, :3].T + mine[:3, 3]
    size = np.abs(affine).max() + np.abs(there).max()
    np.testing.assert_allclose(here, there, atol=1e-6 * size)


# --- what headers are made of

shapes = st.tuples(*[st.integers(1, 6)] * 3)
dtypes = st.sampled_from(list(by_hand.NRRD_TYPES))
sizes_mm = st.floats(0.05, 9).map(lambda n: float(np.float32(n)))
places = st.floats(-500, 500).map(lambda n: float(np.float32(n)))


def array_of(data, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    seed = data.draw(st.integers(0, 99))
    rng = np.random.default_rng(seed)
    if dtype[0] == "f":
        array = (rng.normal(size=shape) * 100).astype(dtype)
        if data.draw(st.integers(0, 4)) == 0:
            array.flat[0] = data.draw(st.sampled_from([np.nan, np.inf, -np.inf]))
        return array
    bounds = np.iinfo(dtype)
    return rng.integers(bounds.min, bounds.max, shape, dtype, endpoint=True)


@st.composite
def turns(draw) -> np.ndarray:
    """Directions of three axes, as columns: upright, oblique, mirrored, rarely sheared."""
    angles = draw(
        st.sampled_from([(0, 0, 0), (10, 20, -15), (91, -3, 44), (180, 0, 0), (45, 45, 0)])
    )
    turn = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    turn = turn[:, draw(st.permutations(range(3)))] * draw(
        st.tuples(*[st.sampled_from([1, -1])] * 3)
    )
    if draw(st.integers(0, 11)) == 0:
        turn = turn @ np.array(
            [[1, draw(st.sampled_from([1e-4, 0.01, 0.5])), 0], [0, 1, 0], [0, 0, 1]]
        )
    return turn


# --- NIfTI


def check_nifti(folder: Path, data) -> None:
    import nibabel

    draw = data.draw
    second, order = draw(st.booleans()), draw(st.sampled_from("<>"))
    shape, frames = draw(shapes), draw(st.sampled_from([1, 1, 1, 2, 3]))
    dtype = draw(st.sampled_from(list(by_spec.NIFTI_TYPES.values())))
    array = array_of(data, (frames, *shape[::-1]), dtype)
    header = (nibabel.Nifti2Header if second else nibabel.Nifti1Header)(endianness=order)
    dims = draw(st.sampled_from([3, 4, 5, 7])) if frames == 1 else 4
    if shape[2] == 1 and frames == 1 and draw(st.booleans()):
        dims = 2
    header["dim"] = [dims, *shape, frames, 1, 1, 1]
    header["datatype"] = {v: k for k, v in by_spec.NIFTI_TYPES.items()}[dtype]
    header["bitpix"] = 8 * array.dtype.itemsize
    turn, sizes = draw(turns()), [draw(sizes_mm) for _ in range(3)]
    affine = np.eye(4)
    affine[:3, :3] = turn * sizes
    affine[:3, 3] = [draw(places) for _ in range(3)]
    header["pixdim"] = [draw(st.sampled_from([1, -1, 0])), *sizes, 1, 1, 1, 1]
    header.set_sform(affine, code=draw(st.integers(0, 4)))
    proper = np.linalg.qr(turn)[0]
    proper[:, 2] *= np.sign(np.linalg.det(proper))
    quaternion = Rotation.from_matrix(proper).as_quat()
    quaternion *= 1 if quaternion[3] >= 0 else -1
    header["quatern_b"], header["quatern_c"], header["quatern_d"] = quaternion[:3]
    header["qoffset_x"], header["qoffset_y"], header["qoffset_z"] = affine[:3, 3]
    header["qform_code"] = draw(st.integers(0, 2))
    header["xyzt_units"] = draw(st.sampled_from([0, 2, 10, 3, 1, 2]))
    header["scl_slope"] = draw(st.sampled_from([1, 0, 2, -0.5, np.nan]))
    header["scl_inter"] = draw(st.sampled_from([0, 0, -1024, 3.5, np.nan]))
    sound = True
    if draw(st.integers(0, 3)) == 0:
        sound = False
        odd = st.sampled_from([np.nan, np.inf, 0.0, -1.0, 1e30, 1e-30])
        field = draw(st.sampled_from(["pixdim", "srow_x", "srow_z", "quatern_b", "qoffset_y"]))
        if header[field].ndim:
            header[field][draw(st.integers(1, 3))] = draw(odd)
        else:
            header[field] = draw(odd)
    gap = draw(st.sampled_from([0, 16, 48]))
    header["vox_offset"] = header.single_vox_offset + gap
    header["magic"] = header.single_magic
    body = array.astype(array.dtype.newbyteorder(order)).tobytes()
    raw = header.binaryblock + bytes(4 + gap) + body
    path = folder / "a.nii"
    path.write_bytes(gzip.compress(raw, 1) if draw(st.booleans()) else raw)
    frame = draw(st.integers(0, frames - 1)) if frames > 1 else None
    found = by_spec.nifti(path, frame or 0)
    compare(path, found, frame, must=sound and is_usable(found))


# --- NRRD


def check_nrrd(folder: Path, data) -> None:
    draw = data.draw
    dtype = draw(dtypes)
    components = draw(st.sampled_from([1, 1, 1, 2, 3, 5]))
    shape = draw(shapes)
    flat = draw(st.integers(0, 9)) == 0
    spatial = shape[1:] if flat else shape
    where = draw(st.integers(0, len(spatial))) if components > 1 else None  # of the file's axes
    sizes = list(spatial)
    if where is not None:
        sizes.insert(where, components)
    array = array_of(data, tuple(sizes[::-1]), dtype)
    order = draw(st.sampled_from("<>"))
    array = array.astype(array.dtype.newbyteorder(order))
    kind = "list" if where is not None else ""
    fields = {"sizes": " ".join(map(str, sizes)), "endian": "big" if order == ">" else "little"}
    if where is not None or draw(st.booleans()):
        kinds = ["domain"] * len(spatial)
        if kind:
            kinds.insert(where, kind)
        fields["kinds"] = " ".join(kinds)
    fields |= nrrd_space(data, len(spatial), where, len(sizes))
    names = [n for n, t in by_spec.NRRD_TYPES.items() if t == dtype]
    fields["type"] = draw(st.sampled_from(names))
    encoding = draw(st.sampled_from(["raw", "raw", "gzip", "gz", "hex", "ascii"]))
    body = array.tobytes()
    if encoding == "ascii":
        body = " ".join(repr(n) for n in array.ravel().tolist()).encode()
    elif encoding == "hex":
        body = body.hex().encode()
    fields["encoding"] = encoding
    pairs = draw(
        st.dictionaries(
            st.sampled_from(["note", "type", "a b", "Slicer.x"]),
            st.sampled_from(["", "x: y", "a := b", "x" * 1500, "encoding: gzip"]),
            max_size=2,
        )
    )
    for key in draw(st.sets(st.sampled_from(["content", "number", "sample units", "old min"]))):
        fields[key] = {"content": "ct: a := b " + "x" * 600}.get(key, "7")
    path = nrrd_files(folder, data, array, fields, pairs, body)
    frame = draw(st.integers(0, components - 1)) if components > 1 else None
    found = by_spec.nrrd(path, frame or 0)
    compare(path, found, frame, must=is_usable(found) and encoding != "ascii")


def nrrd_space(data, n: int, where: int | None, axes: int) -> dict[str, str | None]:
    """Fields that say where voxels are, in one of the ways that there are."""
    draw = data.draw
    none = {"space": None, "space directions": None, "space origin": None}
    unit = draw(st.sampled_from(["", "mm", "mm", "um", "m", "cm"]))

    def spread(values, missing):
        values = list(values)
        if where is not None:
            values.insert(where, missing)
        return " ".join(values)

    way = draw(st.sampled_from(["space", "space", "space", "spacings", "limits", "nothing"]))
    if way == "nothing":
        return none
    steps = [draw(sizes_mm) for _ in range(n)]
    if way == "space":
        turn = draw(turns()) if n == 3 else np.eye(n)
        vectors = [
            "(" + ",".join(repr(float(x)) for x in turn[:, a] * steps[a]) + ")" for a in range(n)
        ]
        space = (
            draw(st.sampled_from([*by_spec.SIGNS, "scanner-xyz", "3D-right-handed"]))
            if n == 3
            else None
        )
        result = {"space": space, "space directions": spread(vectors, "none")}
        if space is None:
            result["space dimension"] = str(n)
        result["space origin"] = "(" + ",".join(repr(draw(places)) for _ in range(n)) + ")"
        if draw(st.booleans()):
            result["space units"] = " ".join([f'"{unit}"'] * n)
        return result
    if way == "spacings":
        result = {**none, "spacings": spread(map(repr, steps), "nan")}
        if draw(st.booleans()):
            result["units"] = spread([f'"{unit}"'] * n, '""')
    else:
        low = [draw(places) for _ in range(n)]
        high = [
            a + b for a, b in zip(low, [draw(st.floats(0.5, 90)) for _ in range(n)], strict=True)
        ]
        result = {**none, "axis mins": spread(map(repr, low), "nan")}
        result["axis maxs"] = spread(map(repr, high), "nan")
    centering = draw(st.sampled_from([None, "cell", "node"]))
    if centering:
        result["centerings"] = spread([centering] * n, "???")
    return result


def nrrd_files(folder, data, array, fields, pairs, body: bytes) -> Path:
    """The file, or a header with its files."""
    draw = data.draw
    gz = fields["encoding"] in ("gzip", "gz")
    slices = array.shape[0]
    ways = ["attached", "attached", "detached"]
    if fields["encoding"] in ("raw", "gzip") and array.ndim > 1:
        ways += ["listed", "pattern"]
    way = draw(st.sampled_from(ways))
    if way in ("listed", "pattern"):
        names = [f"s{k}.bin" for k in range(slices)]
        for name, part in zip(names, array, strict=True):
            (folder / name).write_bytes(gzip.compress(part.tobytes(), 1) if gz else part.tobytes())
        if way == "pattern" and slices > 1:
            fields["data file"] = f"s%d.bin 0 {slices - 1} 1"
        else:
            fields["data file"] = "\n".join(["LIST", *names])
        end = draw(st.sampled_from(["", "\n"]))
        return by_hand.nrrd(folder / "a.nhdr", array, fields, pairs, end=end)
    skip = draw(st.sampled_from([None, None, 3, -1])) if fields["encoding"] == "raw" else None
    if skip is not None:
        fields["byte skip"] = str(skip)
        body = b"abc" + body
    if gz:
        body = gzip.compress(body, 1)
    if draw(st.integers(0, 5)) == 0:
        fields["line skip"] = "2"
        body = b"one\ntwo\n" + body
    if way == "attached":
        return by_hand.nrrd(
            folder / draw(st.sampled_from(["a.nrrd", "a.bin"])), array, fields, pairs, body
        )
    (folder / "voxels.bin").write_bytes(body)
    fields["data file"] = "voxels.bin"
    return by_hand.nrrd(
        folder / "a.nhdr", array, fields, pairs, end=draw(st.sampled_from(["", "\n"]))
    )


# --- MetaImage


def check_meta(folder: Path, data) -> None:
    draw = data.draw
    n = draw(st.sampled_from([3, 3, 3, 2, 4]))
    sizes = [draw(st.integers(1, 6)) for _ in range(n)]
    if n == 4:
        sizes[3] = draw(st.integers(2, 3))
    channels = draw(st.sampled_from([1, 1, 1, 2, 5])) if n < 4 else 1
    dtype = draw(dtypes)
    shape = (*sizes[::-1], channels) if channels > 1 else tuple(sizes[::-1])
    array = array_of(data, shape, dtype)
    order = draw(st.sampled_from("<>"))
    array = array.astype(array.dtype.newbyteorder(order))
    names = [name for name, t in by_spec.META_TYPES.items() if t == dtype]
    turn = draw(turns()) if n == 3 else np.eye(n)
    matrix = " ".join(repr(float(x)) for x in turn.T.ravel())
    fields: dict[str, str | None] = {
        "NDims": str(n),
        "DimSize": " ".join(map(str, sizes)),
        "ElementType": draw(st.sampled_from(names)),
        "BinaryDataByteOrderMSB": str(order == ">"),
        "CenterOfRotation": None,
        "TransformMatrix": None,
        "Offset": None,
        "ElementSpacing": None,
        draw(st.sampled_from(["TransformMatrix", "Rotation", "Orientation"])): matrix,
        draw(st.sampled_from(["Offset", "Position", "Origin"])): " ".join(
            repr(draw(places)) for _ in range(n)
        ),
        draw(st.sampled_from(["ElementSpacing", "ElementSpacing", "ElementSize"])): " ".join(
            repr(draw(sizes_mm)) for _ in range(n)
        ),
    }
    if channels > 1:
        fields["ElementNumberOfChannels"] = str(channels)
    for key, values in {
        "DistanceUnits": ["mm", "um", "cm", "m", "?"],
        "AnatomicalOrientation": ["RAI", "LPS", "???"],
        "CenterOfRotation": [" ".join(["10"] * n)],
        "Comment": ["x" * 100, "x" * 700, "a = b: c"],
        "Seq_Frame0000_Status": ["OK"],
        "ElementToIntensityFunctionSlope": ["2", "1", "-0.5"],
        "ElementToIntensityFunctionOffset": ["-1024", "0"],
    }.items():
        if draw(st.integers(0, 4)) == 0:
            fields[key] = draw(st.sampled_from(values))
    path = meta_files(folder, data, array, fields)
    frames = channels if channels > 1 else sizes[3] if n == 4 else 1
    frame = draw(st.integers(0, frames - 1)) if frames > 1 else None
    found = by_spec.meta(path, frame or 0)
    compare(path, found, frame, must=is_usable(found) and fields.get("BinaryData") is None)


def meta_files(folder, data, array, fields) -> Path:
    draw = data.draw
    body = array.tobytes()
    way = draw(st.sampled_from(["raw", "raw", "packed", "sized", "text"]))
    slices = array.shape[0]
    if way in ("packed", "sized"):
        fields["CompressedData"] = "True"
        body = zlib.compress(body)
        if way == "sized":
            fields["CompressedDataSize"] = str(len(body))
    elif way == "text" and not {"NaN"} & {str(n) for n in array.ravel()[:1]}:
        fields["BinaryData"] = "False"
        body = " ".join(repr(n) for n in array.ravel().tolist()).encode()
    place = draw(st.sampled_from(["LOCAL", "LOCAL", "file", "LIST", "pattern"]))
    if way in ("raw",) and place in ("LOCAL", "file") and draw(st.booleans()):
        skip = draw(st.sampled_from([-1, 5])) if place == "file" else -1
        fields["HeaderSize"] = str(skip)
        body = b"12345" + body
    if place in ("LIST", "pattern") and way == "raw" and array.ndim == 3 and slices > 1:
        for k in range(slices):
            (folder / f"m{k}.raw").write_bytes(array[k].tobytes())
        names = "\n".join(f"m{k}.raw" for k in range(slices))
        file = f"LIST\n{names}" if place == "LIST" else f"m%d.raw 0 {slices - 1} 1"
        return by_hand.meta(folder / "a.mhd", array, fields, file=file)
    if place == "file":
        (folder / "m.raw").write_bytes(body)
        return by_hand.meta(folder / "a.mhd", array, fields, file="m.raw")
    return by_hand.meta(folder / draw(st.sampled_from(["a.mha", "a.bin"])), array, fields, body)


# --- TIFF


def check_tiff(folder: Path, data) -> None:
    draw = data.draw
    dtype = draw(st.sampled_from([*by_hand.NRRD_TYPES, "f2"]))
    shape = draw(shapes)
    array = array_of(data, shape[::-1], dtype)
    white = draw(st.booleans())
    orientation = draw(st.sampled_from([1, 1, 1, 2, 3, 4, 5, 6, 7, 8]))
    pack, code = draw(st.sampled_from([(None, 1), (zlib.compress, 8), (zlib.compress, 32946)]))
    path = by_hand.tiff(
        folder / draw(st.sampled_from(["a.tif", "a.bin"])),
        list(array),
        white_is_zero=white,
        big_endian=draw(st.booleans()),
        pack=pack,
        compression=code,
        rows_per_strip=draw(st.integers(1, 6)),
        tags={274: orientation} if orientation > 1 else None,
    )
    if white and dtype[0] == "u":
        array = np.iinfo(dtype).max - array
    turned = {
        1: array,
        2: array[:, :, ::-1],
        3: array[:, ::-1, ::-1],
        4: array[:, ::-1],
        5: array.transpose(0, 2, 1),
        6: np.rot90(array, -1, (1, 2)),
        7: array[:, ::-1, ::-1].transpose(0, 2, 1),
        8: np.rot90(array, 1, (1, 2)),
    }[orientation]
    found = turned, np.eye(4)
    compare(path, found, None, must=is_usable(found))


# --- FreeSurfer


def check_mgh(folder: Path, data) -> None:
    draw = data.draw
    shape, frames = draw(shapes), draw(st.sampled_from([1, 1, 2]))
    array = array_of(
        data, (frames, *shape[::-1]), draw(st.sampled_from(["u1", "i2", "i4", "f4", "u2"]))
    )
    path = by_hand.mgh(
        folder / draw(st.sampled_from(["a.mgh", "a.mgz"])),
        array,
        delta=[draw(sizes_mm) for _ in range(3)],
        axes=draw(turns()).T,
        centre=[draw(places) for _ in range(3)],
        good=draw(st.sampled_from([1, 1, 1, 0, -1])),
        tail=bytes(draw(st.sampled_from([0, 20, 300]))),
    )
    if draw(st.integers(0, 4)) == 0:
        packed = path.suffix == ".mgz"
        raw = bytearray(gzip.decompress(path.read_bytes()) if packed else path.read_bytes())
        at = draw(st.integers(0, 89))
        raw[at] = draw(st.integers(0, 255))
        path.write_bytes(gzip.compress(bytes(raw)) if packed else bytes(raw))
        if struct.unpack(">4i", raw[4:20]) != (*shape, frames):
            read(path, None)  # extents that are not those of the voxels
            return
    frame = draw(st.integers(0, frames - 1)) if frames > 1 else None
    found = by_spec.mgh(path, frame or 0)
    compare(path, found, frame, must=is_usable(found))


CHECKS = {
    "nifti": check_nifti,
    "nrrd": check_nrrd,
    "metaimage": check_meta,
    "tiff": check_tiff,
    "mgh": check_mgh,
}


@pytest.mark.thorough
@pytest.mark.parametrize("reader", CHECKS)
def test_both_readings_agree(folder, reader):
    agree(folder, reader, QUICK)


@pytest.mark.slow
@pytest.mark.parametrize("reader", CHECKS)
def test_both_readings_agree_ten_thousand_times(folder, reader):
    agree(folder, reader, SLOW)


def agree(folder: Path, reader: str, times: int) -> None:
    tried, before = 0, len(READ)

    @settings(max_examples=times)
    @given(data=st.data())
    def run(data):
        nonlocal tried
        tried += 1
        CHECKS[reader](folder, data)

    run()
    assert len(READ) - before > tried / 2, "most were refused, so that little was compared"
