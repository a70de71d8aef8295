"""Which Python runs the engine, and how sammed gets into Slicer's own when the user says so.

Nothing here runs at import or at start-up.
"""

from __future__ import annotations

import os
import shutil
import sys

import slicer

from .work import EngineError

SLICER = ""
"""The choice of Slicer's own Python; any other choice is the path of an interpreter."""

MINIMUM_TORCH = ">=2.4"

_FOREIGN = ("PYTHONHOME", "PYTHONPATH", "PYTHONNOUSERSITE", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


def launcher(choice):
    """(command, environment) that starts the worker with the chosen Python.

    Raises
    ------
    EngineError
        If there is no such program.
    """
    if choice == SLICER:
        python = shutil.which("PythonSlicer") or sys.executable
        return [python, "-m", "sammed.worker"], dict(os.environ)
    python = shutil.which(os.path.expanduser(choice))
    if python is None:
        raise EngineError(
            "start", f"{choice} is not a program; choose the Python in which sammed is installed"
        )
    return [python, "-m", "sammed.worker"], foreign_environment()


def foreign_environment():
    """The environment that Slicer was started with, free of Slicer's own Python."""
    startup = getattr(slicer.util, "startupEnvironment", None)
    try:
        environment = dict(startup()) if startup else dict(os.environ)
    except AttributeError:  # slicer.app of this Slicer does not know it
        environment = dict(os.environ)
    return {name: value for name, value in environment.items() if name not in _FOREIGN}


def source_tree(module_file):
    """The folder of sammed's own source if this module is used from it, else empty."""
    folder = os.path.dirname(os.path.abspath(module_file))
    for _ in range(4):
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


def torch_missing():
    """Whether Slicer's Python has no torch."""
    import importlib.util

    return importlib.util.find_spec("torch") is None


def install(wanted, confirm):
    """Install sammed into Slicer's own Python; the user is asked before anything is done.

    Parameters
    ----------
    wanted : list of str
        For pip.
    confirm
        Takes a question, tells whether the user agrees.

    Returns
    -------
    bool
        Whether it was installed; false if the user said no.

    Raises
    ------
    EngineError
        If it did not work.
    """
    question = (
        "This installs sammed and the packages that it needs (PyTorch, MONAI, nibabel, SimpleITK, "
        "pydicom and others; up to 3 GB, from the internet) into Slicer's own Python. "
        f"pip will be asked for: {' '.join(wanted)}\n\nInstall now?"
    )
    if not confirm(question):
        return False
    try:
        if torch_missing() and not _install_torch():
            return False
        _pip(wanted)
    except EngineError:
        raise
    except Exception as error:
        raise EngineError("install", f"the installation failed: {error}") from error
    return True


def _pip(wanted):
    packaging = getattr(slicer, "packaging", None)
    if packaging is not None and not any(os.path.sep in item for item in wanted):
        packaging.pip_ensure(wanted, prompt_install=False, requester="SAMMed")
    else:  # an older Slicer, or a folder, which pip_ensure cannot check
        slicer.util.pip_install(wanted)


def _install_torch():
    """PyTorch by Slicer's PyTorch extension, which knows the right build for this computer."""
    try:
        import PyTorchUtils
    except ImportError:
        raise EngineError(
            "install",
            "PyTorch is missing: install the extension 'PyTorch' in the Extensions Manager, "
            "restart Slicer, and press Install again; or choose another Python",
        ) from None
    logic = PyTorchUtils.PyTorchUtilsLogic()
    installed = logic.installTorch(askConfirmation=True, torchVersionRequirement=MINIMUM_TORCH)
    return installed is not None
