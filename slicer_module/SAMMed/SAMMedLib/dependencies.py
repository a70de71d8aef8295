"""Which Python runs the engine: one of its own beside Slicer's settings, or another of the user's.

Nothing here runs at import or at start-up, and nothing is ever installed into Slicer's own Python.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import slicer
from slicer.i18n import tr as _

from .environment import Environment
from .work import EngineError

OWN = ""
"""The choice of the engine's own environment; any other choice is the path of an interpreter."""

OLDEST = (3, 10)
"""The oldest Python that the engine runs in; Slicer 5.10 is the first that has a newer one."""

_FOREIGN = ("PYTHONHOME", "PYTHONPATH", "PYTHONNOUSERSITE", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
_WORKER = ["-m", "sammed.worker"]


def own_environment():
    """The engine's own environment: a folder beside Slicer's settings, one for each Python."""
    settings = getattr(slicer.app, "slicerUserSettingsFilePath", "") or os.path.join(
        os.path.expanduser("~"), ".config", "slicer.org", "Slicer.ini"
    )
    name = f"SAMMed-engine-{sys.version_info[0]}.{sys.version_info[1]}"
    return Environment(os.path.join(os.path.dirname(os.path.abspath(settings)), name))


def launcher(choice):
    """(command, environment) that starts the worker with the chosen Python.

    Raises
    ------
    EngineError
        If there is no such program, or the engine is not installed.
    """
    if choice == OWN:
        own = own_environment()
        if not own.is_installed:
            words = _("the engine is not installed: press Install in the section Engine")
            raise EngineError("no_sammed", words)
        return [own.python, "-I", *_WORKER], own.variables()
    python = shutil.which(os.path.expanduser(choice))
    if python is None:
        words = _("{path} is not a program; choose the Python in which sammed is installed")
        raise EngineError("start", words.format(path=choice))
    return [python, *_WORKER], foreign_environment()


def missing(choice):
    """Why there is no engine to run; empty if there is one. Takes a moment."""
    try:
        command, environment = launcher(choice)
    except EngineError as error:
        return str(error)
    tried = subprocess.run(
        [*command[: -len(_WORKER)], "-c", "import sammed.worker"],
        env=environment,
        capture_output=True,
        check=False,
    )
    return "" if tried.returncode == 0 else _("{path} has no sammed").format(path=command[0])


def foreign_environment():
    """The environment that Slicer was started with, free of Slicer's own Python."""
    startup = getattr(slicer.util, "startupEnvironment", None)
    try:
        environment = dict(startup()) if startup else dict(os.environ)
    except AttributeError:  # slicer.app of this Slicer does not know it
        environment = dict(os.environ)
    return {name: value for name, value in environment.items() if name not in _FOREIGN}


def base_python():
    """Slicer's own Python, from which the environment is made; ``uv`` finds a newer one itself.

    Raises
    ------
    EngineError
        If it is too old, and there is no ``uv``.
    """
    if sys.version_info[:2] < OLDEST and shutil.which("uv") is None:
        found = ".".join(map(str, sys.version_info[:2]))
        words = _(
            "this Slicer's Python is {found}, the engine needs {oldest} or newer: use Slicer 5.10 "
            "or newer, or choose another Python that has sammed"
        )
        raise EngineError("old", words.format(found=found, oldest=".".join(map(str, OLDEST))))
    return shutil.which("PythonSlicer") or sys.executable


def source_tree(module_file):
    """The folder of sammed's own source if this module is used from it, else empty."""
    folder = os.path.dirname(os.path.abspath(module_file))
    for _level in range(4):
        folder = os.path.dirname(folder)
        package = os.path.join(folder, "sammed", "worker")
        if os.path.isdir(package) and os.path.isfile(os.path.join(folder, "pyproject.toml")):
            return folder
    return ""


def requirements(requirements_file, module_file):
    """What pip is to install: the source tree the module is used from, else the file's lines."""
    tree = source_tree(module_file)
    if tree:
        return [tree]
    with open(requirements_file, encoding="utf-8") as file:
        lines = [line.partition("#")[0].strip() for line in file]
    return [line for line in lines if line]


def question(wanted, environment):
    """What the user is asked before anything is fetched."""
    kind, size = (_("an NVIDIA GPU"), "6 GB") if has_nvidia() else (_("the CPU"), "2 GB")
    return _(
        "This installs the engine: sammed and the packages that it needs, with PyTorch for {kind}. "
        "About {size} from the internet go into a folder of its own:\n\n{folder}\n\n"
        "Slicer's own packages stay as they are, and the engine can be removed again at any time. "
        "Installed is: {wanted}\n\nInstall now?"
    ).format(kind=kind, size=size, folder=environment.folder, wanted=" ".join(wanted))


def has_nvidia():
    """Whether this computer has a driver for an NVIDIA GPU."""
    return shutil.which("nvidia-smi") is not None
