"""Make the sample: a synthetic abdominal CT with labels, and the prompts for the demo.

The shapes are analytic (ellipsoids bent by smooth noise, tubes), the intensities those of a
portal-venous CT with noise, texture and partial volume. Nothing is taken from a patient.

Run ``python sample_data/generate.py`` to write the files anew; the result is the same each time.
"""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

HERE = Path(__file__).parent
SHAPE = (64, 128, 152)  # z, y, x
SPACING = (4.0, 2.5, 2.5)
FINE = 2  # shapes are drawn this many times finer in plane, so that voxels mix tissues
SEED = 20

LABELS = {1: "liver", 2: "spleen", 3: "kidney_right", 4: "kidney_left", 5: "aorta"}


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], sigma_mm: float) -> np.ndarray:
    """Smooth noise of unit deviation on the fine grid."""
    coarse = max(1, round(sigma_mm / SPACING[1] * FINE / 2))
    small = [max(2, n // coarse + 2) for n in shape]
    sigma = [sigma_mm / SPACING[0] / coarse, *([sigma_mm / SPACING[1] * FINE / coarse] * 2)]
    noise = ndimage.gaussian_filter(rng.standard_normal(small), np.maximum(sigma, 0.6))
    zoom = [n / s for n, s in zip(shape, small, strict=True)]
    noise = ndimage.zoom(noise, zoom, order=1, grid_mode=True, mode="nearest")
    return noise / noise.std()


def scene(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Intensities in HU and labels on the fine grid; patient right is at small x."""
    nz, ny, nx = SHAPE[0], SHAPE[1] * FINE, SHAPE[2] * FINE
    z, y, x = np.meshgrid(
        (np.arange(nz) + 0.5) / nz * 2 - 1,
        (np.arange(ny) + 0.5) / ny * 2 - 1,
        (np.arange(nx) + 0.5) / nx * 2 - 1,
        indexing="ij",
    )
    bend = [0.035 * smooth_noise(rng, (nz, ny, nx), 45) for _ in range(3)]
    zb, yb, xb = z + bend[0], y + bend[1], x + bend[2]

    def ellipsoid(cz: float, cy: float, cx: float, rz: float, ry: float, rx: float) -> np.ndarray:
        return ((zb - cz) / rz) ** 2 + ((yb - cy) / ry) ** 2 + ((xb - cx) / rx) ** 2 < 1

    body = (y / 0.86) ** 2 + (x / 0.90) ** 2 < 1
    inner = (yb / 0.74) ** 2 + (xb / 0.79) ** 2 < 1
    hu = np.full((nz, ny, nx), -1000.0)
    hu[body] = -95 + 8 * smooth_noise(rng, (nz, ny, nx), 12)[body]
    hu[inner] = 48 + 6 * smooth_noise(rng, (nz, ny, nx), 9)[inner]
    cavity = (yb / 0.66) ** 2 + (xb / 0.71) ** 2 < 1
    hu[cavity] = -80 + 14 * smooth_noise(rng, (nz, ny, nx), 6)[cavity]
    spine = ((y - 0.52) / 0.17) ** 2 + (x / 0.14) ** 2 < 1
    hu[spine] = 210 + 45 * smooth_noise(rng, (nz, ny, nx), 4)[spine]
    for side in (-1, 1):
        psoas = ((yb - 0.50) / 0.15) ** 2 + ((xb - side * 0.27) / 0.12) ** 2 < 1
        hu[psoas & cavity] = 58
    bowel = smooth_noise(rng, (nz, ny, nx), 11) > 0.8
    bowel &= cavity & (zb < 0.1) & (yb < 0.25)
    hu[bowel] = 30 + 22 * smooth_noise(rng, (nz, ny, nx), 5)[bowel]

    labels = np.zeros((nz, ny, nx), np.uint8)
    liver = ellipsoid(0.34, -0.10, -0.36, 0.52, 0.52, 0.36)
    liver |= ellipsoid(0.44, -0.26, -0.06, 0.30, 0.30, 0.34)
    shapes = {
        1: liver & cavity,
        2: ellipsoid(0.42, 0.20, 0.50, 0.34, 0.34, 0.17) & cavity,
        3: ellipsoid(-0.34, 0.36, -0.40, 0.40, 0.20, 0.15) & cavity,
        4: ellipsoid(-0.26, 0.36, 0.42, 0.42, 0.20, 0.15) & cavity,
        5: ((yb - 0.27) / 0.085) ** 2 + ((xb - 0.05) / 0.072) ** 2 < 1,
    }
    mean = {1: 108.0, 2: 122.0, 3: 165.0, 4: 165.0, 5: 150.0}
    for value, shape in shapes.items():
        labels[shape & ~spine] = value
    for value in LABELS:
        inside = labels == value
        hu[inside] = mean[value] + 5 * smooth_noise(rng, (nz, ny, nx), 5)[inside]
    vessels = (labels == 1) & (np.abs(smooth_noise(rng, (nz, ny, nx), 13)) < 0.06)
    hu[vessels] = 150
    for cx in (-0.40, 0.42):
        pelvis = ellipsoid(-0.30, 0.36, cx * 0.93, 0.16, 0.07, 0.05)
        hu[pelvis & ((labels == 3) | (labels == 4))] = 20
    return hu, labels


def to_voxels(hu: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Average the fine grid into voxels; a voxel's label is the one that fills most of it."""
    nz, ny, nx = SHAPE
    blocks = (nz, ny, FINE, nx, FINE)
    mean = hu.reshape(blocks).mean(axis=(2, 4))
    share = [(labels == v).reshape(blocks).mean(axis=(2, 4)) for v in (0, *LABELS)]
    return mean, np.argmax(share, axis=0).astype(np.uint8)


def affine_ras() -> np.ndarray:
    """Index (i, j, k) to RAS: stored L, P, S as many scanners do, tilted by 8 degrees."""
    angle = np.deg2rad(8)
    tilt = np.array(
        [[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]]
    )
    affine = np.eye(4)
    affine[:3, :3] = tilt @ np.diag([-SPACING[2], -SPACING[1], SPACING[0]])
    affine[:3, 3] = [190, 160, -128]
    return affine


def prompts(labels: np.ndarray) -> dict[str, object]:
    """One box on one slice of each organ: the largest, as a user would draw it, a little loose."""
    objects = []
    for value, name in LABELS.items():
        mask = labels == value
        k = int(mask.sum(axis=(1, 2)).argmax())
        rows, cols = np.nonzero(mask[k])
        box = [cols.min() - 1, rows.min() - 1, cols.max() + 3, rows.max() + 2]
        entry = {"axis": "k", "index": k, "box": [int(v) for v in box]}
        objects.append({"name": name, "label": value, "boxes": [entry], "propagate": "auto"})
    return {"format": "sammed-prompts/1", "space": "voxel", "objects": objects}


def main() -> None:
    """Write the image, the labels, their names and the prompts beside this file."""
    rng = np.random.default_rng(SEED)
    hu, labels = to_voxels(*scene(rng))
    hu = ndimage.gaussian_filter(hu, (0.3, 0.6, 0.6))
    noise = ndimage.gaussian_filter(rng.standard_normal(SHAPE), (0, 0.7, 0.7))
    hu = np.clip(np.rint(hu + 14 * noise / noise.std()), -1024, 1500).astype(np.int16)
    for array, name in ((hu, "phantom_ct.nii.gz"), (labels, "phantom_labels.nii.gz")):
        image = nib.Nifti1Image(array.transpose(2, 1, 0), affine_ras())
        image.set_sform(affine_ras(), 1)
        image.set_qform(affine_ras(), 1)
        image.header.set_xyzt_units("mm")
        nib.save(image, HERE / name)
    names = json.dumps({str(v): name for v, name in LABELS.items()}, indent=1)
    (HERE / "phantom_labels.json").write_text(names + "\n")
    (HERE / "spleen.json").write_text(json.dumps({"2": LABELS[2]}) + "\n")
    (HERE / "phantom.prompts.json").write_text(json.dumps(prompts(labels), indent=1) + "\n")


if __name__ == "__main__":
    main()
