"""Write the extension as a repository of its own, small enough for the ExtensionsIndex to clone.

    python slicer_module/make_package.py dist/SlicerSAMMed

The folder holds the module, CMake's files, licence, README with its pictures, and the tests, which
run from it: ``python -m pytest tests/slicer`` with slicer-core and, in SAMMED_PYTHON, a Python
that has sammed.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "slicer_module"
REPOSITORY = "https://github.com/sammed/sammed"

_LINK = re.compile(r"(\]\(|<img src=\")\.\./([^)\s\"]+)")

TESTS = ("tests/slicer", "tests/worker/slow_worker.py", "tests/__init__.py")
IGNORE = "__pycache__/\n*.pyc\n.pytest_cache/\n"


def tracked(path: str) -> list[Path]:
    """Files of the repository below a path, without what is built or not yet added."""
    told = subprocess.run(
        [
            "git",
            "-C",
            str(ROOT),
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
            path,
        ],
        capture_output=True,
        check=True,
    ).stdout.decode()
    return [ROOT / name for name in told.split("\0") if name and (ROOT / name).is_file()]


def copy(files: list[Path], base: Path, target: Path) -> None:
    """Copy files, each at its place relative to a folder."""
    for file in files:
        place = target / file.relative_to(base)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place)


def readme(target: Path) -> str:
    """The README for its new place: pictures come along, other links lead to the repository."""

    def lead(link: re.Match[str]) -> str:
        before, path = link.groups()
        if path.endswith(".png"):
            picture = ROOT / path
            (target / "Screenshots").mkdir(exist_ok=True)
            shutil.copyfile(picture, target / "Screenshots" / picture.name)
            return f"{before}Screenshots/{picture.name}"
        return f"{before}{REPOSITORY}/blob/main/{path}"

    return _LINK.sub(lead, (SOURCE / "README.md").read_text(encoding="utf-8"))


def write(target: Path) -> None:
    """Write the whole tree; the folder must not exist.

    Raises
    ------
    SystemExit
        If it does, or its name does not begin with ``Slicer`` as the ExtensionsIndex wants it.
    """
    if target.exists():
        raise SystemExit(f"{target} exists; remove it first")
    if not target.name.startswith("Slicer"):
        raise SystemExit(f"the repository's name must begin with Slicer, found {target.name}")
    target.mkdir(parents=True)
    own = {SOURCE / "README.md", SOURCE / "make_package.py", SOURCE / "ruff.toml"}
    copy([f for f in tracked("slicer_module") if f not in own], SOURCE, target)
    for path in TESTS:
        copy(tracked(path), ROOT, target)
    shutil.copyfile(ROOT / "LICENSE", target / "LICENSE")
    (target / "README.md").write_text(readme(target), encoding="utf-8")
    (target / ".gitignore").write_text(IGNORE, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    write(Path(sys.argv[1]).resolve())
    size = sum(f.stat().st_size for f in Path(sys.argv[1]).rglob("*") if f.is_file())
    sys.stdout.write(f"wrote {sys.argv[1]}: {size / 1e6:.1f} MB\n")
