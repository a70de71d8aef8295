"""nnInteractive through our door against its own session, on random weights."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip(
    "nnunetv2", reason="the package nninteractive is not installed (extra 'nninteractive')"
)
pytest.importorskip(
    "nnInteractive.inference.inference_session",
    reason="the package nninteractive is not installed (extra 'nninteractive')",
)

from nnInteractive.inference import inference_session as package

from sammed.engine.cleanup import Cleanup
from sammed.engine.settings import Settings
from sammed.errors import (
    Cancelled,
    InputError,
    ModelError,
    PromptError,
    SammedWarning,
    WeightsMismatchError,
)
from sammed.imaging import geometry
from sammed.imaging.boxes import Box2D, Box3D
from sammed.imaging.intensity import Window
from sammed.imaging.volume import Volume
from sammed.models import licences, memory, registry
from sammed.models.contract import check_model
from sammed.models.nninteractive.folder import read
from sammed.models.nninteractive.model import MOST_SESSIONS, SEED, NnInteractiveModel
from sammed.models.nninteractive.network import load
from sammed.models.nninteractive.saying import thick
from sammed.models.protocols import VolumeImage, VolumeMask
from sammed.prompts import BoxPrompt, LassoPrompt, MaskPrompt, PointPrompt, ScribblePrompt
from sammed.session import Session
from tests.models.nninteractive_folder import (
    ARCHITECTURE,
    CAPABLE,
    PATCH,
    tiny_network,
    write_folder,
)
from tests.phantoms import OBLIQUE, STRAIGHT, ellipsoid, image_of, in_all_orders

SHAPE = (41, 66, 83)
ORGAN = ellipsoid(SHAPE, (17.6, 28.3, 43.2), (10.2, 16.5, 23.8))
Box = list[list[int]]


def organ(affine: Any = STRAIGHT) -> Volume:
    return Volume.from_array(image_of(ORGAN, noise=40), affine, modality="CT")


class Patient:
    """Never wants to stop; counts how often the network was asked."""

    def __init__(self) -> None:
        self.checked = self.runs = 0

    def check(self) -> None:
        self.checked += 1

    def advance(self, done: int, total: int | None = None) -> None:
        self.runs += 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("nni") / "nnInteractive_v1.0", tiny_network())


def model_of(folder: Path, **options: Any) -> NnInteractiveModel:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SammedWarning)
        trained = read(folder / "fold_0" / "checkpoint_final.pth")
    return NnInteractiveModel(load(trained, str(folder), "cpu"), license="-", **options)


@pytest.fixture(scope="module")
def model(folder: Path) -> NnInteractiveModel:
    """One that does not zoom: each step is one run of the network."""
    return model_of(folder, autozoom=False)


@pytest.fixture
def own(folder: Path) -> Any:
    return own_session(folder, autozoom=False)


def own_session(folder: Path, autozoom: bool) -> Any:
    """Its own session, as its readme starts one, with its own loader, on the axes S, A, R."""
    session = package.nnInteractiveInferenceSession(
        device=torch.device("cpu"), torch_n_threads=1, do_autozoom=autozoom
    )
    session.initialize_from_trained_model_folder(str(folder))
    session.set_image(organ().voxels[None, :, ::-1, ::-1])
    session.set_target_buffer(torch.zeros(SHAPE, dtype=torch.uint8))
    return session


def seen_from_there(mask: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(mask[:, ::-1, ::-1]).astype(np.uint8)


def flipped(z: tuple[int, int], y: tuple[int, int], x: tuple[int, int]) -> Box:
    _, rows, cols = SHAPE
    return [list(z), [rows - y[1], rows - y[0]], [cols - x[1], cols - x[0]]]


LINE = np.array([(17, 28, x) for x in range(31, 53)])
THICK = np.zeros(SHAPE, bool)
THICK[17, 28:30, 31:54] = True  # two voxels, as inference_session_class.json says
PAINTED = ORGAN & (np.arange(SHAPE[2]) < 40)
SQUARE = np.zeros(SHAPE, bool)
SQUARE[8:27, 16:40, 40] = True

STEPS: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "box on z": (
        BoxPrompt(0, 17, Box2D(11, 23, 45, 63)),
        lambda s: s.add_bbox_interaction(flipped((17, 18), (11, 45), (23, 63)), True),
    ),
    "box on y": (
        BoxPrompt(1, 28, Box2D(7, 23, 28, 63)),
        lambda s: s.add_bbox_interaction(flipped((7, 28), (28, 29), (23, 63)), True),
    ),
    "box on x": (
        BoxPrompt(2, 43, Box2D(7, 11, 28, 45)),
        lambda s: s.add_bbox_interaction(flipped((7, 28), (11, 45), (43, 44)), True),
    ),
    "point": (
        PointPrompt((17, 28, 43)),
        lambda s: s.add_point_interaction((17, SHAPE[1] - 29, SHAPE[2] - 44), True),
    ),
    "negative point": (
        PointPrompt((6, 10, 14), positive=False),
        lambda s: s.add_point_interaction((6, SHAPE[1] - 11, SHAPE[2] - 15), False),
    ),
    "scribble": (
        ScribblePrompt(LINE),
        lambda s: s.add_scribble_interaction(seen_from_there(THICK), True),
    ),
    "negative scribble": (
        ScribblePrompt(LINE, positive=False),
        lambda s: s.add_scribble_interaction(seen_from_there(THICK), False),
    ),
    "lasso": (
        LassoPrompt(2, 40, ((8.0, 16.0), (8.0, 40.0), (27.0, 40.0), (27.0, 16.0))),
        lambda s: s.add_lasso_interaction(seen_from_there(SQUARE), True),
    ),
    "former mask": (
        MaskPrompt(PAINTED),
        lambda s: s.add_initial_seg_interaction(seen_from_there(PAINTED), run_prediction=False),
    ),
}

SEQUENCES = [
    ("box on z",),
    ("box on y", "box on x"),
    ("point", "negative point"),
    ("scribble", "negative scribble", "point"),
    ("lasso", "negative point"),
    ("former mask", "point", "scribble"),
    ("point", "box on z", "lasso", "negative point", "scribble"),
]


def whole(found: VolumeMask, shape: Sequence[int] = SHAPE) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[found.block.slices] = found.logits > 0
    return mask


def state_of(model: Any, volume: Volume | None = None) -> Any:
    return model.open(VolumeImage(volume or organ(), Window(-80, 100, "phantom")))


def ask(state: Any, *names: str, reporter: Any = None) -> np.ndarray:
    said = [STEPS[name][0] for name in names]
    return whole(state.answer(said, None, reporter=reporter or Patient()))


def tell(session: Any, name: str) -> None:
    """Say one thing to its own session; where it looks again it draws from NumPy's numbers."""
    np.random.seed(SEED)
    STEPS[name][1](session)


def result_of(session: Any) -> np.ndarray:
    return session.target_buffer.numpy()[:, ::-1, ::-1] > 0


@pytest.mark.parametrize("sequence", SEQUENCES, ids=lambda s: ", ".join(s))
def test_answers_are_the_session_s_own_step_by_step(
    model: NnInteractiveModel, own: Any, sequence: tuple[str, ...]
) -> None:
    state = state_of(model)
    before = np.zeros(SHAPE, bool)
    for n, name in enumerate(sequence, 1):
        tell(own, name)
        theirs = result_of(own)
        if sequence[:n] == ("former mask",):
            continue  # a mask by itself is another matter: see below
        assert 0 < np.count_nonzero(theirs) < theirs.size
        assert (theirs != before).any()  # every prompt counts
        np.testing.assert_array_equal(ask(state, *sequence[:n]), theirs)
        before = theirs
    np.testing.assert_array_equal(ask(state_of(model), *sequence), theirs)  # told all at once


def test_a_former_mask_by_itself_is_refined(model: NnInteractiveModel, own: Any) -> None:
    np.random.seed(SEED)
    own.add_initial_seg_interaction(seen_from_there(PAINTED), run_prediction=True)
    theirs = result_of(own)
    assert (theirs != PAINTED).any()
    state = state_of(model)
    np.testing.assert_array_equal(ask(state, "former mask"), theirs)
    corrected = ask(state, "former mask", "point")  # of the mask as it was painted
    np.testing.assert_array_equal(corrected, ask(state_of(model), "former mask", "point"))


def test_a_mask_comes_first_whenever_it_was_painted(model: NnInteractiveModel) -> None:
    first, last = state_of(model), state_of(model)
    np.testing.assert_array_equal(
        ask(first, "former mask", "point"), ask(last, "point", "former mask")
    )


def test_the_auto_zoom_is_the_session_s_own(tmp_path: Path) -> None:
    """Beyond the first patch: zoomed out, then looked at again closely in several patches."""
    folder = write_folder(tmp_path / "rare", tiny_network(2, rare=0.4))
    own, state, seen = own_session(folder, autozoom=True), state_of(model_of(folder)), Patient()
    tell(own, "point")
    np.testing.assert_array_equal(ask(state, "point", reporter=seen), result_of(own))
    assert 3 < seen.runs < 30
    near = ask(state_of(model_of(folder, autozoom=False)), "point")
    assert (near != result_of(own)).any()


def test_undo_is_the_session_s_own(model: NnInteractiveModel, own: Any) -> None:
    names = ("point", "box on z", "negative point")
    for name in names:
        tell(own, name)
    assert own.undo()
    state, again = state_of(model), Patient()
    ask(state, *names)
    np.testing.assert_array_equal(ask(state, *names[:2], reporter=again), result_of(own))
    assert again.runs == 0
    tell(own, "scribble")
    np.testing.assert_array_equal(ask(state, *names[:2], "scribble"), result_of(own))
    np.testing.assert_array_equal(ask(state, "point"), ask(state_of(model), "point"))


def test_only_what_is_new_is_asked(model: NnInteractiveModel) -> None:
    state, first, second, third = state_of(model), Patient(), Patient(), Patient()
    ask(state, "point", reporter=first)
    ask(state, "box on y", reporter=Patient())  # another object
    ask(state, "point", "negative point", reporter=second)
    ask(state, "point", "negative point", reporter=third)
    fresh = Patient()
    ask(state_of(model), "point", "negative point", reporter=fresh)
    assert third.runs == 0
    assert first.runs > 0
    assert first.runs + second.runs == fresh.runs


def test_more_objects_than_sessions_are_told_again(model: NnInteractiveModel) -> None:
    state = state_of(model)
    objects = [PointPrompt((17, 28, x)) for x in range(30, 31 + MOST_SESSIONS)]
    seen = [whole(state.answer([one], None, reporter=Patient())) for one in objects]
    assert len(state.talks) == MOST_SESSIONS
    images = {id(talk.session.preprocessed_image) for talk in state.talks}
    assert len(images) == 1
    again = [whole(state.answer([one], None, reporter=Patient())) for one in objects]
    np.testing.assert_array_equal(seen, again)


def test_who_stops_it_leaves_it_as_it_was(model: NnInteractiveModel) -> None:
    class Hasty(Patient):
        def check(self) -> None:
            super().check()
            if self.checked == 2:  # when the network is about to be asked
                raise Cancelled("enough")

    state = state_of(model)
    ask(state, "box on z")
    with pytest.raises(Cancelled):
        ask(state, "box on z", "point", reporter=Hasty())
    np.testing.assert_array_equal(ask(state, "box on z"), ask(state_of(model), "box on z"))
    np.testing.assert_array_equal(
        ask(state, "box on z", "point"), ask(state_of(model), "box on z", "point")
    )


def test_nothing_is_printed(
    model: NnInteractiveModel, capfd: pytest.CaptureFixture[str], folder: Path
) -> None:
    """Standard output belongs to whoever asked: the worker's protocol is on it."""
    ask(state_of(model_of(folder, autozoom=False)), "box on z", "point")
    assert capfd.readouterr().out == ""


# -- where things lie ---------------------------------------------------------------------------


class Echo(torch.nn.Module):
    """Says that the object is what one of its channels shows."""

    def __init__(self, channel: int) -> None:
        super().__init__()
        self.channel = channel

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shown = x[:, self.channel : self.channel + 1].float()
        return torch.cat([torch.full_like(shown, 1e-3), shown], 1)


def echo(model: NnInteractiveModel, channel: int, side: int = 96) -> NnInteractiveModel:
    """The model with a network that shows a channel, on a patch that holds the volume."""
    configuration = model.loaded.artifacts["configuration_manager"]
    wide = type(configuration)({**configuration.configuration, "patch_size": [side] * 3})
    artifacts = {**model.loaded.artifacts, "configuration_manager": wide, "network": Echo(channel)}
    return NnInteractiveModel(replace(model.loaded, artifacts=artifacts))


INSIDE, OUTSIDE = {"box": 2, "point": 4, "line": 6}, {"box": 3, "point": 5, "line": 7}


def filled(z: slice, y: slice, x: slice, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[z, y, x] = True
    return mask


@pytest.mark.parametrize("affine", [STRAIGHT, OBLIQUE], ids=["straight", "oblique"])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("positive", [True, False])
def test_prompts_lie_where_they_were_given(
    model: NnInteractiveModel, affine: Any, axis: int, positive: bool
) -> None:
    channels = INSIDE if positive else OUTSIDE
    volume = organ(affine)
    ranges = [(3, 9), (12, 17), (25, 38)]
    index = [5, 15, 31][axis]
    ranges[axis] = (index, index + 1)
    wanted = filled(*(slice(*span) for span in ranges))
    (r0, r1), (c0, c1) = (span for a, span in enumerate(ranges) if a != axis)

    def shown(channel: int, said: Any) -> np.ndarray:
        return whole(
            state_of(echo(model, channel), volume).answer([said], None, reporter=Patient())
        )

    if positive:
        box = BoxPrompt(axis, index, Box2D(r0, c0, r1, c1))
        np.testing.assert_array_equal(shown(channels["box"], box), wanted)
    corners = ((r0, c0), (r0, c1), (r1, c1), (r1, c0))
    outline = tuple((float(r), float(c)) for r, c in corners)
    lasso = LassoPrompt(axis, index, outline, positive)
    np.testing.assert_array_equal(shown(channels["box"], lasso), wanted)

    line = np.argwhere(wanted)
    stroke = ScribblePrompt(line, positive)
    grown = [(low, high + (a != axis)) for a, (low, high) in enumerate(ranges)]
    np.testing.assert_array_equal(
        shown(channels["line"], stroke), filled(*(slice(*span) for span in grown))
    )
    at = tuple(low for low, _ in ranges)
    ball = shown(channels["point"], PointPrompt(at, positive))
    assert np.argwhere(ball).mean(0).tolist() == list(at)
    assert [np.ptp(np.argwhere(ball)[:, a]) for a in range(3)] == [4, 4, 4]  # radius 2


def test_a_mask_lies_where_it_was_painted(model: NnInteractiveModel) -> None:
    state = state_of(echo(model, 1))
    said = [MaskPrompt(PAINTED), PointPrompt((17, 28, 43))]
    np.testing.assert_array_equal(whole(state.answer(said, None, reporter=Patient())), PAINTED)


def test_what_is_bright_lies_at_its_place_in_all_48_orders(model: NnInteractiveModel) -> None:
    shape = (7, 9, 13)
    body = ellipsoid(shape, (2.6, 5.3, 8.2), (2.2, 3.5, 4.1))
    voxels = np.where(body, 900, -1000).astype(np.int16)
    for volume in in_all_orders(voxels):
        state = state_of(echo(model, 0, side=32), volume)
        at = tuple(int(n) for n in np.argwhere(volume.voxels > 0)[0])
        found = whole(state.answer([PointPrompt(at)], None, reporter=Patient()), volume.shape)
        np.testing.assert_array_equal(found, volume.voxels > 0)


def test_the_network_sees_scans_towards_s_a_r_in_their_own_values(
    model: NnInteractiveModel,
) -> None:
    """As nnU-Net's NibabelIOWithReorient gave them to it: normalised by itself, not windowed."""
    shape = (5, 7, 11)
    places = geometry.apply_affine(OBLIQUE, np.moveaxis(np.indices(shape), 0, -1).astype(float))
    for towards, axis, sign in (("S", 0, 1), ("A", 1, -1), ("R", 2, -1)):
        coordinate = sign * places[..., 2 - axis]
        for volume in in_all_orders(coordinate):
            state = state_of(model, volume)
            image = state._session().preprocessed_image[0].numpy()
            steps = np.diff(image, axis=axis)
            assert (steps > 0).all(), towards
            values = volume.voxels.astype(np.float32)
            np.testing.assert_allclose(image.std(), 1, atol=0.01)
            np.testing.assert_allclose(
                np.ptp(image), np.ptp(values) / values.std(ddof=1), rtol=1e-4
            )


def test_strokes_are_drawn_as_thick_as_the_network_knows_them() -> None:
    dot, where = thick(np.array([(3, 6, 8)]), (5, 7, 9), (2, 2, 2))
    assert where == Box3D(3, 6, 8, 4, 7, 9)  # at the volume's corner, on its slice
    assert dot.all()
    column, where = thick(np.array([(1, 2, 3), (2, 2, 3), (3, 2, 3)]), (9, 9, 9), (3, 3, 3))
    assert where == Box3D(0, 2, 2, 5, 3, 5)
    assert column.all()
    several, where = thick(np.array([(1, 2, 3), (2, 3, 4)]), (9, 9, 9), (1, 1, 1))
    assert where == Box3D(1, 2, 3, 3, 4, 5)
    assert np.argwhere(several).tolist() == [[0, 0, 0], [1, 1, 1]]


# -- in a session -------------------------------------------------------------------------------


def test_a_session_of_several_objects(model: NnInteractiveModel) -> None:
    session = Session(organ(), model, Settings(cleanup=Cleanup(components="all")))
    session.add("organ", STEPS["box on z"][0])
    session.add("other", STEPS["point"][0])
    session.segment()
    organs, others = (session.object_mask(name).copy() for name in ("organ", "other"))
    state = state_of(model)
    np.testing.assert_array_equal(organs, ask(state, "box on z"))
    np.testing.assert_array_equal(others, ask(state, "point"))
    session.add("organ", STEPS["negative point"][0])
    assert session.stale == ["organ"]
    session.segment()
    edited = ask(state, "box on z", "negative point")
    np.testing.assert_array_equal(session.object_mask("organ"), edited)
    np.testing.assert_array_equal(session.object_mask("other"), others)
    session.undo()
    np.testing.assert_array_equal(session.object_mask("organ"), organs)


def test_it_is_built_from_a_folder_and_from_the_file_that_was_made(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAMMED_HOME", str(tmp_path))
    monkeypatch.setenv(memory.IGNORE_VARIABLE, "1")
    licences.confirm("nninteractive", "CC-BY-NC-SA-4.0")
    from sammed.models import catalogue, downloads

    checkpoint = folder / "fold_0" / "checkpoint_final.pth"
    with pytest.warns(SammedWarning, match="is not the checkpoint of nnInteractive v1.0"):
        one = registry.build(str(checkpoint))
    with pytest.warns(SammedWarning):
        made = downloads.take_from(catalogue.resolve("nninteractive"), folder.parent)
    other = registry.build("nninteractive")
    third = registry.build(str(made), autozoom=False)
    check_model(other)
    for built in (one, other, third):
        assert built.spec.name == "nninteractive"
        assert built.spec.license == "CC-BY-NC-SA-4.0"
        assert built.spec.ordered
    assert third.spec.variant
    first, second = (build.loaded.artifacts["network"].state_dict() for build in (one, other))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


# -- bad input ----------------------------------------------------------------------------------


def test_prompts_that_a_network_does_not_take_are_refused(tmp_path: Path) -> None:
    about = ("inference_info.json", CAPABLE)
    folder = write_folder(tmp_path / "v2", tiny_network(), about=about)
    model = model_of(folder, autozoom=False)
    assert model.spec.prompts == {"box", "box3d", "points", "scribble"}
    assert model.loaded.thickness == (1, 2, 3)
    block = Box3D(7, 11, 23, 28, 45, 63)
    session = Session(organ(), echo(model, INSIDE["box"]))
    session.add("organ", block)
    session.segment()
    wanted = filled(*block.slices)
    np.testing.assert_array_equal(session.object_mask("organ"), wanted)
    with pytest.raises(PromptError, match="'nninteractive' does not know lassos; give 'x'"):
        session.add("x", STEPS["lasso"][0])
    with pytest.raises(PromptError, match=r"no prompts of the kind 'mask'.*expected box or"):
        ask(state_of(model), "former mask")


def test_a_3d_box_is_refused_by_v1(model: NnInteractiveModel) -> None:
    with pytest.raises(PromptError, match="does not know 3D boxes; give 'organ' boxes on slices"):
        Session(organ(), model).add("organ", Box3D(7, 11, 23, 28, 45, 63))


def test_a_volume_without_an_image_is_refused(model: NnInteractiveModel) -> None:
    empty = Volume.from_array(np.zeros(SHAPE, np.int16), STRAIGHT)
    with pytest.raises(InputError, match="all its voxels have one value"):
        state_of(model, empty)


def test_no_memory_is_said_before_it_starts(
    model: NnInteractiveModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(memory.IGNORE_VARIABLE, raising=False)
    monkeypatch.setattr(memory, "free_memory", lambda: 1000)
    with pytest.raises(ModelError, match="no memory for model 'nninteractive': it takes about"):
        state_of(model)


def test_memory_that_ends_on_the_way_is_one_line(model: NnInteractiveModel) -> None:
    class Hungry(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to ...")

    hungry = NnInteractiveModel(
        replace(model.loaded, artifacts={**model.loaded.artifacts, "network": Hungry()})
    )
    with pytest.raises(ModelError, match="no memory for model 'nninteractive' on this volume"):
        ask(state_of(hungry), "point")


@pytest.mark.parametrize(
    ("where", "name"),
    [
        ("network_class_name", "os.system"),
        ("network_class_name", "torch.nn.modules.module.warnings.sys.exit"),
        ("conv_op", "subprocess.Popen"),
        ("conv_op", "torch.nn.functional.importlib.import_module"),
        ("nonlin", "dynamic_network_architectures.no_such_thing"),
    ],
)
def test_plans_that_would_call_something_else_are_refused(
    tmp_path: Path, where: str, name: str
) -> None:
    """nnU-Net imports and calls whatever its plans name."""
    arguments = dict(ARCHITECTURE["arch_kwargs"])
    plan = {**ARCHITECTURE, "arch_kwargs": arguments}
    (plan if where == "network_class_name" else arguments)[where] = name
    folder = write_folder(tmp_path / "bad", tiny_network(), architecture=plan)
    with pytest.raises(WeightsMismatchError, match=f"name '{name}' as a part of the network"):
        model_of(folder)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "other", tiny_network(inputs=7))
    with pytest.raises(WeightsMismatchError, match=r"does not fit the model: .* of another shape"):
        model_of(folder)


def test_a_file_on_interactions_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    about = ("inference_info.json", {**CAPABLE, "inference_class_min_version": "99.0"})
    folder = write_folder(tmp_path / "new", tiny_network(), about=about)
    with pytest.raises(WeightsMismatchError, match=r"cannot be used: Checkpoint requires .*99.0"):
        model_of(folder)


def test_the_patch_is_the_plans(model: NnInteractiveModel) -> None:
    assert tuple(model.loaded.artifacts["configuration_manager"].patch_size) == PATCH
