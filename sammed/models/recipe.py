"""What the engine does with a model's answers, as plain data that the model hands up.

Every number here was measured with certain weights, so it stands beside them: the built-in
network's in `sammed.models.compact.recipe`. What a model does not ask for (``None``) is left out.
The engine's modules say what each step does; here stand the numbers alone.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mean:
    """Candidates that are guesses at one object are averaged (`sammed.engine.candidates`).

    Attributes
    ----------
    power
        Of its predicted IoU, with which a candidate counts.
    """

    power: int


@dataclass(frozen=True)
class Planes:
    """A 3D box is traced in other planes than its own (`sammed.engine.plane_choice`).

    Attributes
    ----------
    least_slices
        A plane in which the object has fewer slices is not added.
    most_stretch
        Nor is one whose pixels are longer than wide by more than this.
    finest
        Slices of such a plane that are closer together than the shortest side of the 3D box over
        this are left out: every second, third, ... is looked at.
    """

    least_slices: int
    most_stretch: float
    finest: int


@dataclass(frozen=True)
class SecondLook:
    """Boxed slices are seen again in a mirror (`sammed.engine.second_look`).

    Attributes
    ----------
    margin
        Of other slices' masks, what lies in the box widened by this share counts.
    far
        Slices farther apart than this many times the shorter side of the box say nothing of each
        other's masks.
    closer
        Of a box with more px than a view, the second view is this share of the usual one.
    """

    margin: float
    far: float
    closer: float


@dataclass(frozen=True)
class Across:
    """Boxed slices side by side are seen from other planes (`sammed.engine.second_look`).

    Attributes
    ----------
    least_run
        Fewer boxed slices side by side are not looked at so.
    most_slices
        Nor are objects with more slices than this in the other plane.
    """

    least_run: int
    most_slices: int


@dataclass(frozen=True)
class BoxFit:
    """Masks are moved towards touching their box (`sammed.engine.box_fit`).

    Attributes
    ----------
    span
        A mask that is as long as this share of its box counts as long as the box.
    on_slice, in_block
        Shares of the way that the border is moved towards a box on a slice and towards a 3D box.
    lowest, highest
        Logits within which the border may be moved.
    """

    span: float
    on_slice: float
    in_block: float
    lowest: float
    highest: float


@dataclass(frozen=True)
class Border:
    """The border lies where the expected Dice is largest (`sammed.engine.fusion.balanced`).

    Attributes
    ----------
    bias, temperature
        Logits become probabilities as ``sigmoid((logit - bias) / temperature)``.
    lowest, highest
        Logits within which the border may be moved.
    """

    bias: float
    temperature: float
    lowest: float
    highest: float


@dataclass(frozen=True)
class Locate:
    """What a 3D box shows as a whole is asked for first (`sammed.engine.multiplanar`).

    Attributes
    ----------
    weight
        Of what was found so, beside a slice of the same sureness.
    agreed
        If the trace in the box's own plane has at least this Dice with it, no other is needed.
    border
        Where the border of what was found so lies; ``None``: at a probability of one half.
    again
        Share of what the model thinks of the object when it is shown what was found in the end
        (`sammed.engine.second_thought`).
    chained
        The same of what chains along one axis found, without a 3D box.
    convinced
        Where clicks change that by this much of a probability, its answer to them counts alone.
    """

    weight: float
    agreed: float = 1.0
    border: Border | None = None
    again: float = 0.0
    chained: float = 0.0
    convinced: float = 0.3


@dataclass(frozen=True)
class Refine:
    """Cross-sections of an object are asked for again (`sammed.engine.multiplanar.refine`).

    Attributes
    ----------
    least_overlap
        An answer that has less IoU with the volume's cross-section is not used.
    disputed
        Weight of such a cross-section beside answers in other planes.
    most
        So many are asked for across each axis, evenly spread; between them lies their mean.
    """

    least_overlap: float
    disputed: float
    most: int = 64


@dataclass(frozen=True)
class GrowthGuard:
    """Propagated masks are kept from growing (`sammed.engine.propagation`).

    Attributes
    ----------
    spike
        Rows and columns of a mask that hold fewer than this share of its fullest row's or
        column's pixels do not widen the box for the next slice.
    caution
        Logit above which a pixel belongs to a propagated mask; more than 0, since what leaks on
        one slice leaks more on the next...
    cautious_area
        ... of masks of at least so many pixels; less for smaller ones, which would vanish.
    """

    spike: float
    caution: float
    cautious_area: int


@dataclass(frozen=True)
class Quality:
    """How good a slice is said to be: what its own probabilities promise counts as well.

    Attributes
    ----------
    modesty
        The mean of several looks at a prompted slice is surer than it says: in what it promises,
        its logits count this many times.
    way
        Power with which counts what neighbours have in common on the way to a slice from a prompted
        one, multiplied.
    """

    modesty: float
    way: float


@dataclass(frozen=True)
class Fusion:
    """How slices and planes are joined (`sammed.engine.fusion.weigh_planes`).

    Attributes
    ----------
    loudest
        Logits beyond this count as this where answers are weighed: 4 is a probability of 98 %.
    untraced
        Weight of a slice that a plane's trace did not reach.
    sharpness
        Power of a slice's sureness that is its weight.
    """

    loudest: float = 4.0
    untraced: float = 1e-5
    sharpness: int = 4


@dataclass(frozen=True)
class Clicks:
    """What clicks change on an object that a 3D box gave (`sammed.engine.local_edits`).

    Attributes
    ----------
    push
        Logits that are added at a positive click and taken away at a negative one.
    fade, faded
        What is left of a change of logits as far across the slices as half of its width in the
        slice, and what is too little to be carried on.
    """

    push: float = 12.0
    fade: float = 0.6
    faded: float = 0.05


@dataclass(frozen=True)
class Walk:
    """How far strokes are heard beyond their slices (`sammed.engine.stroke_walk`).

    Attributes
    ----------
    stiffness
        How hard a step in brightness is to cross.
    trust
        How much what was found counts beside a voxel's neighbours.
    doubt
        Logits are divided by this before they count.
    """

    stiffness: float
    trust: float
    doubt: float


@dataclass(frozen=True)
class Recipe:
    """What happens to a prompt and to the answers that it gets; ``None`` leaves a step out."""

    mean: Mean | None = None
    planes: Planes | None = None
    second_look: SecondLook | None = None
    across: Across | None = None
    box_fit: BoxFit | None = None
    locate: Locate | None = None
    refine: Refine = Refine(least_overlap=0.5, disputed=0.05)
    border: Border | None = None
    growth_guard: GrowthGuard | None = None
    quality: Quality | None = None
    fusion: Fusion = Fusion()
    clicks: Clicks = Clicks()
    walk: Walk | None = None


PLAIN = Recipe(growth_guard=GrowthGuard(spike=0.15, caution=0.3, cautious_area=150))
"""For models whose logits say how sure they are, and of which nothing else was measured."""

BLUNT = Recipe()
"""For models whose logits say nothing of how sure they are: the baselines."""
