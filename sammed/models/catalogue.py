"""The models sammed knows by name, and the official files of those that need weights."""

from __future__ import annotations

from dataclasses import dataclass

from sammed.errors import InputError


@dataclass(frozen=True)
class WeightsFile:
    """An official weights file.

    Attributes
    ----------
    file_name
        As published, and as kept in the weights folder.
    size
        Bytes.
    url
        Where it is published.
    sha256
        Hex digest of the whole file.
    md5
        Another hex digest by which a genuine copy is recognised; empty if none is needed.
    architecture
        Which of segment-anything's encoders it fits.
    """

    file_name: str
    size: int
    url: str
    sha256: str
    md5: str = ""
    architecture: str = "vit_b"


@dataclass(frozen=True)
class KnownModel:
    """A model by its registry name.

    Attributes
    ----------
    name
        The registry name.
    description
        One line.
    license
        Licence of the weights.
    weights
        The official file, ``None`` if the model needs none or ships with the package.
    """

    name: str
    description: str
    license: str
    weights: WeightsFile | None = None


_META = "https://dl.fbaipublicfiles.com/segment_anything/"

# The digests are not published beside the files. Those of Meta's files are the ones that micro-sam
# and Slicer's extensions for SAM pin, identically; the hex in the file names is the start of the
# MD5. MedSAM lies on Zenodo, which gives an MD5, and on a Google drive; the SHA-256 is the one
# that several projects found for the latter. A copy that matches either is genuine.
_KNOWN = (
    KnownModel(
        "compact",
        "built-in network for CT and MR, trained on synthetic images only; fast on a CPU",
        "Apache-2.0",
    ),
    KnownModel(
        "vit_b",
        "segment-anything ViT-B (Kirillov et al. 2023), 91 M parameters",
        "Apache-2.0",
        WeightsFile(
            "sam_vit_b_01ec64.pth",
            375042383,
            _META + "sam_vit_b_01ec64.pth",
            sha256="ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
            architecture="vit_b",
        ),
    ),
    KnownModel(
        "vit_l",
        "segment-anything ViT-L (Kirillov et al. 2023), 308 M parameters",
        "Apache-2.0",
        WeightsFile(
            "sam_vit_l_0b3195.pth",
            1249524607,
            _META + "sam_vit_l_0b3195.pth",
            sha256="3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
            architecture="vit_l",
        ),
    ),
    KnownModel(
        "vit_h",
        "segment-anything ViT-H (Kirillov et al. 2023), 636 M parameters",
        "Apache-2.0",
        WeightsFile(
            "sam_vit_h_4b8939.pth",
            2564550879,
            _META + "sam_vit_h_4b8939.pth",
            sha256="a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
            architecture="vit_h",
        ),
    ),
    KnownModel(
        "medsam",
        "MedSAM (Ma et al. 2024): ViT-B fine-tuned on medical images, prompted by boxes",
        "CC-BY-4.0",
        WeightsFile(
            "medsam_vit_b.pth",
            375049145,
            "https://zenodo.org/records/10689643/files/medsam_vit_b.pth?download=1",
            sha256="34b34b78c1d18cb8c6bf84cf9c00e135d6d6c965699f3c0e31ef1bc9dcb5be74",
            md5="3bb6db55bd0c9ca30b61248bca72f8d6",
            architecture="vit_b",
        ),
    ),
    KnownModel("box", "baseline: the filled box", "Apache-2.0"),
    KnownModel("ellipse", "baseline: the ellipse inscribed in the box", "Apache-2.0"),
    KnownModel("two_class", "baseline: two intensity classes in the box", "Apache-2.0"),
)

KNOWN: dict[str, KnownModel] = {model.name: model for model in _KNOWN}

BASELINES = ("box", "ellipse", "two_class")

ALIASES = {
    "sam_vit_b": "vit_b",
    "sam_vit_l": "vit_l",
    "sam_vit_h": "vit_h",
    "medsam_vit_b": "medsam",
}


def resolve(name: str) -> KnownModel:
    """The model of a registry name or alias.

    Raises
    ------
    InputError
        If nothing is known by that name.
    """
    known = KNOWN.get(ALIASES.get(name, name))
    if known is None:
        raise InputError(
            f"unknown model {name!r}; expected one of {', '.join(KNOWN)}, "
            "or the path of a .pth or .safetensors file"
        )
    return known
