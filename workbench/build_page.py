"""Builds the page of the workbench: for wheels by hatch, for a checkout by ``make open``.

An installed wheel needs no Node: the page is in it. From a checkout Node 20 or newer and npm are
needed once; without them a wheel is refused with one line, and ``pip install -e .`` goes on
without a page, as ``sammed open`` then says.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SOURCE, PAGE = ROOT / "workbench", ROOT / "sammed" / "workbench" / "page"
LEAST_NODE = 20

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # run as a program
    BuildHookInterface = object


class PageError(Exception):
    """The page cannot be built here, in one line."""


class PageBuildHook(BuildHookInterface):  # type: ignore[misc, valid-type]
    """Puts the page into the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the page if its sources have changed; hatch calls this before it packs."""
        if version == "editable":  # installed from the checkout: `make open` builds when asked
            return
        if is_stale():
            try:
                build()
            except PageError as error:
                raise SystemExit(str(error)) from None
        build_data["artifacts"].append("/sammed/workbench/page/")


def is_stale() -> bool:
    """Whether the page is absent or older than what it is made from."""
    built = PAGE / "index.html"
    if not SOURCE.joinpath("package.json").exists():
        return not built.exists()
    if not built.exists():
        return True
    folders = [SOURCE / "src", SOURCE / "public"]
    files = [f for folder in folders for f in folder.rglob("*") if f.is_file()]
    files += [p for p in SOURCE.iterdir() if p.suffix in {".json", ".html", ".ts"}]
    return max(f.stat().st_mtime for f in files) > built.stat().st_mtime


def build() -> None:
    """Install what the page is built with, by its lock file, and build it.

    Raises
    ------
    PageError
        If Node or npm is missing or too old, or the build fails.
    """
    npm = check_node()
    if not (SOURCE / "package.json").exists():
        raise PageError(f"{SOURCE} is missing: the page of `sammed open` is built from it")
    stamp = SOURCE / "node_modules" / ".package-lock.json"
    lock = SOURCE / "package-lock.json"
    if not stamp.exists() or stamp.stat().st_mtime < lock.stat().st_mtime:
        _run([npm, "ci", "--no-audit", "--no-fund", "--loglevel=error"])
    _run([npm, "run", "--silent", "build"])


def check_node() -> str:
    """Path of npm, if Node is new enough.

    Raises
    ------
    PageError
        If not.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    what = f"the page of `sammed open` is built with Node {LEAST_NODE} or newer and npm"
    if node is None or npm is None:
        missing = "Node" if node is None else "npm"
        raise PageError(f"{what}; {missing} was not found: install it from https://nodejs.org")
    found = subprocess.run([node, "--version"], capture_output=True, text=True).stdout.strip()
    if not found.startswith("v") or int(found[1:].split(".")[0]) < LEAST_NODE:
        raise PageError(f"{what}; found Node {found or 'of unknown version'} at {node}")
    return npm


def _run(command: list[str]) -> None:
    done = subprocess.run(command, cwd=SOURCE, env={**os.environ, "CI": "1"})
    if done.returncode:
        raise PageError(f"`{' '.join(command)}` failed in {SOURCE}, see above")


def main() -> int:
    """Build the page if it is stale."""
    try:
        if is_stale():
            build()
    except PageError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
