"""Decoders of compressed frames: which transfer syntaxes are handled, and by whom.

Grey frames go to SimpleITK (GDCM), which is always there, knows every syntax including HTJ2K, and
lets other threads run meanwhile; RLE and 8-bit JPEG, where it is slow, go to pydicom itself and
Pillow. Colour goes to pydicom's plug-ins, which turn YBR into RGB. What the first choice cannot
decode is tried by all others that are installed.
"""

from __future__ import annotations

import logging
import threading
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammed.errors import UnreadableFileError
from sammed.io.dicom.file import DicomFile
from sammed.io.dicom.pixels.codestream import check_size
from sammed.io.dicom.pixels.module import JPEG, RLE, PixelModule, syntax_name
from sammed.io.stderr import stderr_into

ITK = "SimpleITK"
_JPEG_BASELINE = f"{JPEG}50"
_LOSSY_12_BIT = tuple(f"{JPEG}{n}" for n in (51, 53, 55))
_LOSSLESS_JPEG = tuple(f"{JPEG}{n}" for n in (57, 70))
_PLUGINS = ("pillow", "pyjpegls", "pylibjpeg")

_MODULE = (
    *("SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "Rows", "Columns"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
)

logger = logging.getLogger(__name__)


def decode(
    file: DicomFile, module: PixelModule, frame: bytes, scratch: Path
) -> NDArray[np.generic]:
    """Decode one compressed frame.

    Parameters
    ----------
    file, module
        Whose frame it is, and how its pixels are stored.
    frame
        Compressed bytes.
    scratch
        A folder for temporary files.

    Returns
    -------
    (rows, columns) or (rows, columns, samples)
        Stored values; YBR is converted to RGB.

    Raises
    ------
    UnreadableFileError
        If no decoder can make sense of it.
    """
    check_size(file, module, frame)
    dataset = _dataset(file, frame)
    failure: Exception | None = None
    for name in decoders(file.syntax, module):
        try:
            raw = _by(name, dataset, file.syntax, module, scratch)
        except Exception as error:  # decoders raise anything on corrupt data; try the next one
            failure = failure or error
            logger.debug("%s failed on %s: %s", name, file.name, error)
            continue
        if raw is not None:
            return raw
    reason = last_line(failure) if failure else "no decoder for such pixels is installed"
    raise UnreadableFileError(
        f"the pixels of {file.name} ({syntax_name(file.syntax)}) cannot be decoded: {reason}; "
        "copy or export it again"
    ) from failure


def last_line(error: BaseException) -> str:
    """What a library's message comes down to, on one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:160]


def decoders(syntax: str, module: PixelModule) -> tuple[str, ...]:
    """Names of the decoders for such pixels, first choice first; not all need be installed."""
    if syntax == RLE:
        return ("pydicom",)
    if module.samples == 3:
        return (ITK,) if syntax in _LOSSLESS_JPEG else _PLUGINS
    if syntax == _JPEG_BASELINE and module.stored == 8:
        return "pillow", ITK
    return (ITK, *_PLUGINS)


def _by(
    name: str, dataset: Any, syntax: str, module: PixelModule, scratch: Path
) -> NDArray[np.generic] | None:
    """By one decoder; None if it is not installed or not meant for such pixels."""
    if name == ITK:
        return _by_itk(dataset, syntax, scratch)
    from pydicom.pixels.decoders.base import get_decoder

    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        return None
    if name not in decoder.available_plugins or (name == "pillow" and module.stored > 8):
        return None
    raw, _ = decoder.as_array(dataset, index=0, decoding_plugin=name)
    return np.asarray(raw)


def _by_itk(dataset: Any, syntax: str, scratch: Path) -> NDArray[np.generic]:
    """By SimpleITK, which reads files only; without rescale it gives the stored values."""
    import SimpleITK as sitk  # noqa: N813

    path = scratch / f"{threading.get_ident()}.dcm"
    dataset.save_as(path, enforce_file_format=True)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO("GDCMImageIO")
    try:
        # libjpeg prints a line for each time that it tries 8 bits on 12-bit data
        with stderr_into([]) if syntax in _LOSSY_12_BIT else nullcontext():
            image = reader.Execute()
        return np.asarray(sitk.GetArrayFromImage(image)[0])
    finally:
        path.unlink(missing_ok=True)


def _dataset(file: DicomFile, frame: bytes) -> Any:
    """A dataset with one compressed frame and what describes it, and nothing else."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import UID, SecondaryCaptureImageStorage

    dataset = Dataset()
    for keyword in _MODULE:
        if keyword in file.header:
            dataset[keyword] = file.header[keyword]
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = "1.2.3"
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].is_undefined_length = True
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = UID(file.syntax)
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta = meta
    return dataset
