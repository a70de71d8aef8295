"""Time and memory to read a DICOM series, against SimpleITK's series reader.

Each reading runs in a process of its own, the two readers by turns; the fastest counts, imports do
not. Both read the whole folder: find the series, sort its slices, decode, rescale. Where other
programs compete for the machine, the ratio of CPU time says more than that of wall time.

    python benchmarks/dicom_read.py                    1,000 slices of 512x512, native
    python benchmarks/dicom_read.py --syntax j2k --slices 100 --json
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

SIDE = 512
SYNTAXES = {
    "native": "1.2.840.10008.1.2.1",
    "rle": "1.2.840.10008.1.2.5",
    "jpegls": "1.2.840.10008.1.2.4.80",
    "j2k": "1.2.840.10008.1.2.4.90",
}

SAMMED = """
from sammed.io.dicom.images.read import read
import pydicom, SimpleITK
before, start, cpu = peak(), time.perf_counter(), time.process_time()
volume = read(sys.argv[1])
seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
shape, size, total = volume.shape, volume.voxels.nbytes, int(volume.voxels.sum(dtype="int64"))
"""

SIMPLEITK = """
import SimpleITK as sitk
before, start, cpu = peak(), time.perf_counter(), time.process_time()
reader = sitk.ImageSeriesReader()
reader.SetFileNames(reader.GetGDCMSeriesFileNames(sys.argv[1]))
image = reader.Execute()
array = sitk.GetArrayViewFromImage(image)
seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
shape, size, total = array.shape, array.nbytes, int(array.sum(dtype="int64"))
"""

FRAME = """
import json, resource, sys, time
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
{body}
print(json.dumps(dict(seconds=seconds, cpu=cpu, shape=list(shape), bytes=size,
                      memory=peak() - before, total=total)))
"""


def make_series(folder: Path, slices: int, syntax: str) -> None:
    """CT-like slices: smooth tissue, noise, air around; ~80 elements in the header."""
    from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    body = (rows**2 / 0.5 + columns**2 / 0.8) < 1
    noise = rng.normal(0, 12, (SIDE, SIDE))
    series, study, frame = (generate_uid() for _ in range(3))
    for k in range(slices):
        values = np.where(body, 1064 + np.roll(noise, 31 * k, (0, 1)), 24 + noise / 6)
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        meta.MediaStorageSOPInstanceUID = generate_uid()
        ds = FileDataset("", Dataset(), file_meta=meta, preamble=b"\0" * 128)
        ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", generate_uid()
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, series, frame
        ds.Modality, ds.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
        ds.InstanceNumber, ds.SeriesNumber, ds.AcquisitionNumber = k + 1, 3, 1
        ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        ds.ImagePositionPatient = [-180, -180, f"{0.625 * k:.4f}"]
        ds.PixelSpacing, ds.SliceThickness = ["0.703125", "0.703125"], "0.625"
        ds.Rows = ds.Columns = SIDE
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
        ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = "1", "-1024", "HU"
        ds.WindowCenter, ds.WindowWidth = "40", "400"
        for n in range(50):
            ds.add_new(0x00090010 if n == 0 else 0x00091000 + n, "LO", f"private value {n}")
        ds.PixelData = values.astype("<u2").tobytes()
        ds["PixelData"].VR = "OW"
        if syntax != "native":
            ds.compress(SYNTAXES[syntax], generate_instance_uid=False)
        ds.save_as(folder / f"IM{(k * 7) % slices:05d}", enforce_file_format=True)


def measure(body: str, folder: Path) -> dict[str, float]:
    """One reading in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FRAME.format(body=body), str(folder)],
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout)


def compare(folder: Path, repeats: int) -> dict[str, object]:
    """Both readers by turns."""
    ours, theirs = [], []
    for _ in range(repeats):
        ours.append(measure(SAMMED, folder))
        theirs.append(measure(SIMPLEITK, folder))
    if ours[0]["total"] != theirs[0]["total"] or ours[0]["shape"] != theirs[0]["shape"]:
        raise SystemExit(f"the readers do not agree: {ours[0]} and {theirs[0]}")
    fast, other = (
        {key: min(run[key] for run in runs) for key in ("seconds", "cpu", "memory", "bytes")}
        for runs in (ours, theirs)
    )
    return {
        "shape": ours[0]["shape"],
        "sammed_seconds": round(fast["seconds"], 3),
        "simpleitk_seconds": round(other["seconds"], 3),
        "time_ratio": round(fast["seconds"] / other["seconds"], 3),
        "cpu_ratio": round(fast["cpu"] / other["cpu"], 3),
        "sammed_cpu_seconds": round(fast["cpu"], 3),
        "simpleitk_cpu_seconds": round(other["cpu"], 3),
        "sammed_memory_per_voxel_byte": round(fast["memory"] / fast["bytes"], 3),
        "simpleitk_memory_per_voxel_byte": round(other["memory"] / other["bytes"], 3),
        "sammed_bytes": fast["bytes"],
        "simpleitk_bytes": other["bytes"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slices", type=int, default=1000)
    parser.add_argument("--syntax", choices=SYNTAXES, default="native")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        make_series(Path(name), options.slices, options.syntax)
        found = {"syntax": options.syntax, **compare(Path(name), options.repeats)}
    if options.json:
        print(json.dumps(found, indent=2))
        return
    for key, value in found.items():
        print(f"{key:<32} {value}")


if __name__ == "__main__":
    main()
