"""Look at a volume in a notebook, drag a box, get the mask: NiiVue's widget, by ipyniivue.

It shows the grid's own axes, straight, so that what is seen is voxels and what is dragged comes
back as voxels, whatever the file's orientation.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sammed.errors import BackendUnavailableError, InputError, LabelError, SammedError
from sammed.imaging.boxes import Box2D, Box3D
from sammed.imaging.geometry import Shape3
from sammed.imaging.intensity import Window, resolve_window
from sammed.imaging.volume import LabelVolume, Volume
from sammed.io.colours import default_colour
from sammed.io.memory import volume_of
from sammed.io.nifti.straight import other_end, straight_bytes
from sammed.prompts import BoxPrompt, Interaction

if TYPE_CHECKING:
    from ipyniivue import NiiVue

HEIGHT = 480
MOST_LABELS = 255
OPACITY = 0.5


class Segmenting(Protocol):
    """What is asked of a session; `sammed.Session` is one."""

    volume: Volume

    @property
    def objects(self) -> tuple[Any, ...]:
        """Prompts of all objects."""

    @property
    def runs(self) -> dict[str, Any]:
        """What became of them."""

    def add(self, name: str, *interactions: Interaction) -> None:
        """Say more of an object."""

    def undo(self) -> Box3D:
        """Take the last edit back."""

    def segment(self) -> Box3D:
        """Compute what is stale."""

    def result(self) -> LabelVolume:
        """The label map."""


def show(image: Any, labels: LabelVolume | None = None, *, height: int = HEIGHT) -> NiiVue:
    """A volume in three planes and 3D, labels on it, to be scrolled and turned in a notebook.

    Parameters
    ----------
    image
        A `Volume`, an image of nibabel or SimpleITK, ``(array, affine)``, or a file's path.
    labels
        A label map on its grid; a `LabelVolume` alone, which knows its image, may be ``image``.
    height
        Of the widget, in pixels.

    Returns
    -------
    ipyniivue.NiiVue
        The widget; as the last line of a cell it shows itself.

    Raises
    ------
    BackendUnavailableError
        If ipyniivue is not installed.
    InputError
        If the image is none, or the labels lie on another grid.

    Examples
    --------
    >>> import sammed
    >>> widget = sammed.show("sample_data/phantom_ct.nii.gz")
    >>> type(widget).__name__
    'NiiVue'
    """
    if isinstance(image, LabelVolume) and labels is None:
        if image.image is None:
            raise InputError(
                "the label map does not know its image; give both: show(image, labels)"
            )
        image, labels = image.image, image
    volume = _volume(image)
    if labels is not None and labels.shape != volume.shape:
        raise InputError(
            f"the labels have {labels.shape} voxels (z, y, x), the image {volume.shape}; "
            "they must lie on one grid"
        )
    widget = _widget(volume, resolve_window("auto", volume), height)
    if labels is not None:
        _put_labels(widget, labels)
    return widget


def show_session(session: Segmenting, name: str = "", *, height: int = HEIGHT) -> Any:
    """A session's volume, on which boxes are dragged with the right button.

    Parameters
    ----------
    session
        Its masks are shown as they come; ``session.result()`` has them.
    name
        Of the object that boxes are for; the field above the picture changes it.
    height
        Of the picture, in pixels.

    Returns
    -------
    ipywidgets.VBox
        A field for the name, a button for undo, the picture (``.picture``), a line of words.

    Raises
    ------
    BackendUnavailableError
        If ipyniivue is not installed.
    """
    return _Desk(session, name, height).box


def box_dragged(start: Shape3, end: Shape3, plane: int, shape: Shape3) -> BoxPrompt:
    """A drag on a plane of the shown file as a box on a slice.

    Parameters
    ----------
    start, end
        Voxels (i, j, k) of the shown file, both inside the box.
    plane
        0 axial, 1 coronal, 2 sagittal.
    shape
        Canonical (z, y, x) extents.

    Examples
    --------
    >>> box_dragged((0, 0, 1), (2, 1, 1), 0, (2, 3, 4))
    BoxPrompt(axis=0, index=1, box=Box2D(r0=1, c0=1, r1=3, c1=4))
    """
    ends = np.array([other_end(start, shape), other_end(end, shape)])
    low, high = ends.min(axis=0), ends.max(axis=0) + 1
    rows, columns = (axis for axis in range(3) if axis != plane)
    box = Box2D(int(low[rows]), int(low[columns]), int(high[rows]), int(high[columns]))
    return BoxPrompt(plane, int(ends[0][plane]), box)


class _Desk:
    """What `show_session` shows, and what happens there."""

    def __init__(self, session: Segmenting, name: str, height: int) -> None:
        self.session = session
        self.picture = _widget(session.volume, resolve_window("auto", session.volume), height)
        import ipywidgets

        self.name = ipywidgets.Text(name or "structure 1", description="structure")
        undo = ipywidgets.Button(description="Undo", tooltip="Take the last box back")
        self.words = ipywidgets.HTML("Drag a box round it with the right mouse button.")
        undo.on_click(lambda _: self._do(self.session.undo))
        self.picture.on_drag_release(self._dragged)
        bar = ipywidgets.HBox([self.name, undo, self.words])
        self.box = ipywidgets.VBox([bar, self.picture])
        self.box.picture, self.box.name, self.box.words = self.picture, self.name, self.words
        if session.runs:
            _put_labels(self.picture, session.result())

    def _dragged(self, drag: Any) -> None:
        told = drag if isinstance(drag, dict) else vars(drag)
        start, end = (_voxel(told[key]) for key in ("vox_start", "vox_end"))
        plane = int(told["ax_cor_sag"])
        if plane in (0, 1, 2):
            box = box_dragged(start, end, plane, self.session.volume.shape)
            self._do(lambda: self.session.add(self.name.value, box))

    def _do(self, change: Any) -> None:
        """Change what is said, compute, show; what is wrong is said above the picture."""
        try:
            self.words.value = "segmenting ..."
            change()
            self.session.segment()
            labels = self.session.result()
        except SammedError as error:
            self.words.value = html.escape(str(error))
            return
        _put_labels(self.picture, labels)
        found = ", ".join(f"{name} {ml:.1f} ml" for name, ml in labels.volumes_ml().items())
        errors = [run.error for run in self.session.runs.values() if run.error]
        self.words.value = html.escape("; ".join([*filter(None, [found]), *errors]))


def _voxel(numbers: Any) -> Shape3:
    i, j, k = (round(float(n)) for n in numbers[:3])
    return i, j, k


def _volume(image: Any) -> Volume:
    if isinstance(image, str) or hasattr(image, "__fspath__"):
        from sammed.io import read

        return read(image)
    return volume_of(image)


def _widget(volume: Volume, window: Window, height: int) -> NiiVue:
    try:
        from ipyniivue import DragMode, NiiVue, SliceType
        from ipyniivue import Volume as Shown
    except ImportError as error:
        raise BackendUnavailableError(
            "a notebook shows volumes with ipyniivue; install it: pip install 'sammed[notebook]'"
        ) from error
    widget = NiiVue(
        height=height,
        slice_type=SliceType.MULTIPLANAR,
        drag_mode=DragMode.CALLBACK_ONLY,
        back_color=(0.0, 0.0, 0.0, 1.0),
        is_radiological_convention=True,
    )
    seen = {} if volume.is_colour else {"cal_min": float(window.low), "cal_max": float(window.high)}
    data = straight_bytes(volume.voxels, volume.spacing)
    widget.load_volumes([Shown(name="image.nii", data=data, colorbar_visible=False, **seen)])
    return widget


def _put_labels(widget: NiiVue, labels: LabelVolume) -> None:
    """Show a label map over the image, instead of the one before."""
    from ipyniivue import LUT
    from ipyniivue import Volume as Shown

    image = widget.volumes[0]
    values = [int(v) for v in np.unique(labels.voxels) if v]
    if len(values) > MOST_LABELS:
        raise LabelError(f"{len(values)} labels; a notebook shows {MOST_LABELS} at most")
    if not values:
        widget.volumes = [image]
        return
    ranks = np.zeros(int(labels.voxels.max()) + 1, np.uint8)
    ranks[values] = np.arange(1, len(values) + 1)
    shown: NDArray[np.uint8] = ranks[labels.voxels]
    colours = [(0, 0, 0, 0)] + [
        (*labels.colours.get(value, default_colour(value)), 255) for value in values
    ]
    table = LUT(
        lut=[int(c) for colour in colours for c in colour],
        min=0.0,
        max=float(len(values)),
        labels=["", *(labels.names.get(value, f"label_{value}") for value in values)],
    )
    over = Shown(
        name="labels.nii",
        data=straight_bytes(shown, labels.spacing),
        opacity=OPACITY,
        colormap_label=table,
        colorbar_visible=False,
    )
    widget.volumes = [image, over]
