"""nnInteractive's own session, given a network that was built and filled here.

nnU-Net's plans name the classes that a network is made of, and nnU-Net imports and calls whatever
they name. So the names are looked up first: only networks of its package of architectures, made of
PyTorch's modules, are built.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import logging
import pydoc
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sammed.errors import BackendUnavailableError, WeightsMismatchError
from sammed.models.checkpoints import check_tensors
from sammed.models.nninteractive.folder import Trained

log = logging.getLogger(__name__)

ARCHITECTURES = "dynamic_network_architectures."
"""Package of nnU-Net's networks and of what they are built of."""

CLASSES = 2
"""What nnInteractive's networks tell apart: the object and the rest."""


@dataclass(frozen=True, eq=False)
class Loaded:
    """A network ready to work, and what a session must know of it.

    Attributes
    ----------
    artifacts
        As ``initialize_from_loaded_artifacts`` of nnInteractive's session takes them; the network
        among them is on its device.
    kinds
        Which interactions the network takes: ``"bbox2d"``, ``"bbox3d"``, ``"points"``,
        ``"scribble"``, ``"lasso"``, ``"initial_label"``.
    refines
        Whether it makes more of a former mask by itself.
    thickness
        How thick strokes are to be drawn, in voxels along the three axes.
    """

    artifacts: Mapping[str, Any]
    kinds: frozenset[str]
    refines: bool
    thickness: tuple[int, int, int]

    def __repr__(self) -> str:
        return f"<Loaded: {', '.join(sorted(self.kinds))}>"


def load(trained: Trained, source: str, device: str) -> Loaded:
    """Build the network of a trained model and fill it with its weights.

    Parameters
    ----------
    trained
        What was read.
    source
        Where from, for messages.
    device
        ``"cpu"``, ``"cuda"``.

    Raises
    ------
    BackendUnavailableError
        If the package is not installed.
    WeightsMismatchError
        If the plans name something else than a network, or the weights do not fit it.
    """
    package = session_package()
    scratch = new_session(device)
    about, point, thickness, decay, padding = _interactions(scratch, trained, source)
    plans, configuration, inputs = _planned(package, trained, source)
    check_architecture(configuration, source)
    with torch.device("meta"), _hushed():
        network = package.nnInteractiveTrainer_stub.build_network_architecture(
            plans,
            configuration,
            inputs + scratch.num_interaction_channels,
            CLASSES,
            enable_deep_supervision=False,
        )
    _fill(network, trained, source)
    artifacts = {
        "capability_content": about,
        "point_interaction": package.PointInteraction_stub(point, True),
        "preferred_scribble_thickness": thickness,
        "interaction_decay": decay,
        "pad_mode_data": padding,
        "network": network.to(device).eval().requires_grad_(False),
        "plans_manager": plans,
        "configuration_manager": configuration,
        "dataset_json": dict(trained.dataset),
        "trainer_name": "nnInteractiveTrainer_stub",
        "label_manager": plans.get_label_manager(dict(trained.dataset)),
        "license": trained.license,
    }
    kinds = {name for name, taken in scratch.supported_interactions.items() if taken}
    if scratch.supports_initial_label:
        kinds.add("initial_label")
    z, y, x = (max(1, round(n)) for n in thickness)
    refines = bool(scratch.supports_zero_shot_label_refinement)
    return Loaded(artifacts, frozenset(kinds), refines, (z, y, x))


def session_package() -> Any:
    """The module of nnInteractive's session; what it prints goes to the log.

    Raises
    ------
    BackendUnavailableError
        If it is not installed.
    """
    try:
        with _hushed():
            package: Any = importlib.import_module("nnInteractive.inference.inference_session")
    except ImportError as error:
        raise BackendUnavailableError(
            f"model 'nninteractive' needs the package nninteractive, and {error.name or error} is "
            "not installed; install it with 'pip install \"sammed[nninteractive]\"'"
        ) from None
    package.print = _log  # its own, in place of the built-in one: standard output is the caller's
    return package


def new_session(device: str, *, autozoom: bool = True) -> Any:
    """A session of nnInteractive's, without a network, that leaves PyTorch's threads alone."""
    return session_package().nnInteractiveInferenceSession(
        device=torch.device(device),
        use_torch_compile=False,
        verbose=False,
        torch_n_threads=torch.get_num_threads(),
        do_autozoom=autozoom,
        interactions_storage="blosc2",
        enable_undo=True,
    )


def check_architecture(configuration: Any, source: str) -> None:
    """Make sure that all that a plan wants imported and called is a network or a part of one.

    Parameters
    ----------
    configuration
        nnU-Net's configuration manager.
    source
        Where it comes from, for messages.

    Raises
    ------
    WeightsMismatchError
        If it is anything else.
    """
    try:
        network = configuration.network_arch_class_name
        arguments = configuration.network_arch_init_kwargs
        parts = {arguments[name] for name in configuration.network_arch_init_kwargs_req_import}
    except (KeyError, TypeError) as error:
        raise WeightsMismatchError(f"the plans of {source} name no network ({error})") from None
    wanted: list[tuple[Any, tuple[str, ...]]] = [(network, (ARCHITECTURES,))]
    wanted += [(part, (ARCHITECTURES, "torch.nn.")) for part in parts if part is not None]
    for name, packages in wanted:
        if not _is_module(name, packages):
            raise WeightsMismatchError(
                f"the plans of {source} name {name!r} as a part of the network; expected a class "
                f"of {' or '.join(p.rstrip('.') for p in packages)}: it was not called"
            )


def _is_module(name: object, packages: tuple[str, ...]) -> bool:
    if not isinstance(name, str) or not name.startswith(packages):
        return False
    found = pydoc.locate(name)
    return isinstance(found, type) and issubclass(found, nn.Module)


def _planned(package: Any, trained: Trained, source: str) -> tuple[Any, Any, int]:
    """nnU-Net's managers of the plans and of the configuration, and its images' channels."""
    try:
        with _hushed():
            plans = package.PlansManager(dict(trained.plans))
            configuration = plans.get_configuration(trained.configuration)
            inputs = package.determine_num_input_channels(
                plans, configuration, dict(trained.dataset)
            )
        patch = [int(n) for n in configuration.patch_size]
    except Exception as error:  # whatever nnU-Net makes of a file that is not its own
        raise WeightsMismatchError(
            f"the plans of {source} are none of nnU-Net's ({type(error).__name__}: {error})"
        ) from None
    if inputs != 1 or len(patch) != 3:
        raise WeightsMismatchError(
            f"the plans of {source} are for images of {inputs} channels and patches of "
            f"{len(patch)} axes; expected 1 and 3, as nnInteractive's"
        )
    return plans, configuration, int(inputs)


def _interactions(
    session: Any, trained: Trained, source: str
) -> tuple[dict[str, Any], float, list[float], float, str]:
    """What the session makes of the file on interactions; it reads it from a folder."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            for name, content in trained.interactions.items():
                (Path(folder) / name).write_text(json.dumps(content))
            found = session._load_capability_and_runtime_defaults(folder)
        session._apply_capability(found[0])
    except Exception as error:
        said = " ".join(str(error).split())
        names = ", ".join(trained.interactions)
        raise WeightsMismatchError(f"{names} of {source} cannot be used: {said}") from None
    if "points" not in session.supported_interactions or found[4] != "constant":
        raise WeightsMismatchError(f"{source} wants padding {found[4]!r}; expected 'constant'")
    about, point, thickness, decay, padding = found
    return about, point, list(thickness), decay, padding


def _fill(network: nn.Module, trained: Trained, source: str) -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in trained.tensors.items()}
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    check_tensors(shapes, expected, source)
    floats = {name: tensor.to(torch.float32) for name, tensor in trained.tensors.items()}
    network.load_state_dict(floats, assign=True)


def _log(*said: object, **_: object) -> None:
    log.debug(" ".join(map(str, said)))


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """What is printed and warned meanwhile by other packages goes to the log."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()) as printed:
        warnings.simplefilter("ignore")
        yield
    if printed.getvalue():
        log.debug(printed.getvalue().rstrip())
