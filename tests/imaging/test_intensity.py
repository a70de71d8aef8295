from __future__ import annotations

import numpy as np
import pytest

from sammed.errors import WindowError
from sammed.imaging.intensity import (
    PRESETS,
    Window,
    ct_offset,
    foreground,
    resolve_window,
    sample,
    window_notes,
)
from sammed.imaging.volume import HeaderWindow, Volume
from sammed.views.slices import SliceStack
from tests.phantoms import OBLIQUE, in_all_orders

RNG = np.random.default_rng(3)
SHAPE = (9, 21, 33)
CT = np.rint(RNG.uniform(-1000, 1200, SHAPE)).astype(np.int16)
MR = np.where(RNG.random(SHAPE) < 0.4, 0, RNG.gamma(4, 100, SHAPE)).astype(np.float32)


def looks_like_ct(volume: Volume) -> bool:
    return ct_offset(volume) is not None


def a_volume(voxels: np.ndarray = CT, **attributes: object) -> Volume:
    return Volume.from_array(voxels, OBLIQUE, **attributes)


@pytest.mark.parametrize("name", list(PRESETS))
def test_presets(name):
    width, level = PRESETS[name]
    window = resolve_window(name.upper(), a_volume())
    assert (window.low, window.high) == (level - width / 2, level + width / 2)
    assert window.name == name


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("400/40", -160, 240),
        ("1500/-600", -1350, 150),
        ("0.5/0.25", 0, 0.5),
        (" 80/+40 ", 0, 80),
    ],
)
def test_width_and_level(text, low, high):
    window = resolve_window(text, a_volume())
    assert (window.low, window.high) == (low, high)


def test_percentiles_of_the_foreground():
    window = resolve_window("p1-99", a_volume(MR))
    low, high = np.percentile(MR[MR > 0].astype(np.float64), (1, 99))
    assert window.low == pytest.approx(low)
    assert window.high == pytest.approx(high)
    assert window.name == "p1-99"
    full = resolve_window("p0-100", a_volume(CT))
    assert (full.low, full.high) == (CT.min(), CT.max())


def test_the_window_of_the_file():
    volume = a_volume(windows=(HeaderWindow(40, 400, "SOFT"), HeaderWindow(-600, 1500, "LUNG")))
    assert resolve_window("dicom", volume) == Window(-160, 240, "dicom:SOFT")
    assert resolve_window("dicom:lung", volume) == Window(-1350, 150, "dicom:LUNG")
    with pytest.raises(WindowError, match="no window 'bone'; it has SOFT, LUNG"):
        resolve_window("dicom:bone", volume)
    with pytest.raises(WindowError, match="the file proposes no window"):
        resolve_window("dicom", a_volume())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sofft-tissue", "unknown window 'sofft-tissue'; expected auto, dicom, W/L .* soft-tissue"),
        ("", "unknown window ''"),
        ("400", "unknown window '400'"),
        ("nan/40", "unknown window 'nan/40'"),
        ("0/40", "window width 0 is not positive"),
        ("-400/40", "window width -400 is not positive"),
        ("p99-1", "percentiles p99-1 are not in order"),
        ("p-1-50", "percentiles p-1-50 are not in order"),
        ("p5-101", "not in order within 0..100"),
        ("p5-5", "not in order"),
    ],
)
def test_windows_that_cannot_be_read(text, message):
    with pytest.raises(WindowError, match=message) as error:
        resolve_window(text, a_volume())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("median", "name"), [(40, "soft-tissue"), (-399, "soft-tissue"), (-700, "lung"), (500, "bone")]
)
def test_auto_looks_at_the_prompted_region_of_a_ct(median, name):
    region = np.array([median - 1, median, median + 1], np.int16)
    window = resolve_window("auto", a_volume(modality="CT"), region)
    assert window.name == name
    assert (window.high - window.low, (window.high + window.low) / 2) == PRESETS[name]


def test_auto_without_a_region_or_with_another_modality():
    assert resolve_window("auto", a_volume(modality="CT")).name == "soft-tissue"
    assert resolve_window("auto", a_volume(modality="ct"), np.empty(0)).name == "soft-tissue"
    assert resolve_window("auto", a_volume(modality="MR")).name == "p0.5-99.5"
    assert resolve_window("auto", a_volume(MR)).name == "p0.5-99.5"


def test_auto_on_a_z_normalised_brain():
    """The background is one constant that is neither 0 nor the middle of the range."""
    voxels = RNG.standard_normal(SHAPE).astype(np.float32)
    voxels[:, :9] = -4.4
    window = resolve_window("auto", a_volume(voxels))
    low, high = np.percentile(voxels[voxels > -4.4].astype(np.float64), (0.5, 99.5))
    assert (window.low, window.high) == pytest.approx((low, high))
    assert window.low > -3.5


def test_background_is_left_out_only_where_a_value_repeats():
    values = np.arange(1000.0)
    np.testing.assert_array_equal(foreground(values), values)
    values[:20] = -7
    np.testing.assert_array_equal(foreground(values), values[20:])
    same = np.full(50, 3.0)
    np.testing.assert_array_equal(foreground(same), same)


def test_a_few_bright_voxels_still_show():
    voxels = np.zeros(SHAPE, np.float32)
    voxels[4, 10, 5:9] = 80
    window = resolve_window("auto", a_volume(voxels))
    assert window.low < window.high
    assert window.apply(np.array([80.0]))[0] > window.apply(np.array([0.0]))[0]


def test_one_bright_value_still_shows():
    voxels = np.full(SHAPE, 50, np.uint8)
    voxels[:, 4:9] = 51
    window = resolve_window("auto", a_volume(voxels))
    assert window.apply(np.array([51]))[0] > window.apply(np.array([50]))[0]


@pytest.mark.parametrize("voxels", [np.full(SHAPE, 7, np.int16), np.zeros(SHAPE, np.float32)])
def test_a_constant_image_is_refused(voxels):
    with pytest.raises(WindowError, match="the image is constant: every voxel is"):
        resolve_window("auto", a_volume(voxels))


def test_voxels_that_are_no_numbers_are_refused():
    voxels = MR.copy()
    voxels[2, 3, 4] = np.nan
    with pytest.raises(WindowError, match="NaN or infinite"):
        resolve_window("auto", a_volume(voxels))


@pytest.mark.parametrize("spec", ["auto", "400/40", "lung", "nonsense", "p1-99"])
def test_colour_has_one_fixed_window(spec):
    colour = RNG.integers(0, 256, (1, 7, 11, 3)).astype(np.uint8)
    window = resolve_window(spec, a_volume(colour))
    assert (window.low, window.high, window.name) == (0, 255, "colour")


def test_ct_by_modality_or_else_by_values():
    assert looks_like_ct(a_volume(CT))
    assert not looks_like_ct(a_volume(CT, modality="MR"))
    assert looks_like_ct(a_volume(MR, modality="CT"))
    assert not looks_like_ct(a_volume(MR))
    assert not looks_like_ct(a_volume(CT + np.float32(0.5)))
    assert not looks_like_ct(a_volume(np.clip(CT, -20, None)))


# -- a CT whose numbers are not plain HU -------------------------------------------------------


def body(shape=(24, 40, 40)) -> np.ndarray:
    """HU of a slab of air, fat, muscle and bone, with a lung in it; whole numbers."""
    rng = np.random.default_rng(5)
    z, y, x = (np.linspace(-1, 1, n) for n in shape)
    radius = np.sqrt(y[:, None] ** 2 + x[None] ** 2) + 0 * z[:, None, None]
    hu = np.full(shape, -1000.0)
    hu[radius < 0.9] = -100
    hu[radius < 0.75] = 45
    hu[radius < 0.2] = 500
    hu[4:12, 12:16, 14:26] = -850
    return np.rint(hu + rng.normal(0, 12, shape))


BODY = body()
AS_STORED = {
    "HU": (BODY.astype(np.int16), 0),
    "float": ((BODY + RNG.uniform(-0.4, 0.4, BODY.shape)).astype(np.float32), 0),
    "resampled": ((0.7 * BODY + 0.3 * np.roll(BODY, 1, 2)).astype(np.float32), 0),
    "raw": ((BODY + 1024).clip(0).astype(np.uint16), 1024),
    "raw float": ((BODY + 1024.3).clip(0).astype(np.float32), 1024),
}


@pytest.mark.parametrize("kind", list(AS_STORED))
@pytest.mark.parametrize(
    ("at", "name"), [(45, "soft-tissue"), (-850, "lung"), (500, "bone"), (None, "soft-tissue")]
)
def test_a_ct_is_known_by_its_histogram(kind, at, name):
    voxels, offset = AS_STORED[kind]
    volume = a_volume(voxels)
    region = None if at is None else np.array([at + offset], np.float32)
    window = resolve_window("auto", volume, region)
    width, level = PRESETS[name]
    assert (window.low, window.high) == (level - width / 2 + offset, level + width / 2 + offset)
    assert window.name == (f"{name}+1024" if offset else name)
    notes = window_notes("auto", volume, window)
    assert len(notes) == (1 if offset else 0)
    if offset:
        assert notes[0].startswith("by its histogram this is a CT with 1024 added")
        assert "--window p0.5-99.5" in notes[0]
    assert window_notes("lung", volume, window) == ()


@pytest.mark.parametrize("modality", ["CT", "MR", "PT"])
@pytest.mark.parametrize("kind", list(AS_STORED))
def test_a_known_modality_is_not_doubted(kind, modality):
    volume = a_volume(AS_STORED[kind][0], modality=modality)
    window = resolve_window("auto", volume)
    assert window == resolve_window("400/40" if modality == "CT" else "p0.5-99.5", volume) or (
        (window.low, window.high, window.name) == (-160, 240, "soft-tissue")
    )
    assert window_notes("auto", volume, window) == ()


def test_whole_numbers_are_judged_as_ever():
    """Integer CT stays as it was voxel by voxel, whatever its histogram."""
    flat = np.rint(RNG.uniform(-60, 300, SHAPE)).astype(np.int16)
    for voxels in (BODY.astype(np.int16), BODY.astype(np.float32), CT, flat):
        window = resolve_window("auto", a_volume(voxels))
        expected = Window(-160, 240, "soft-tissue")
        assert window == expected
        np.testing.assert_array_equal(window.apply(voxels), expected.apply(voxels))
    few = BODY.astype(np.int16).clip(-40)  # no fat, no air: nothing says that it is one
    assert resolve_window("auto", a_volume(few)).name == "p0.5-99.5"


@pytest.mark.parametrize("scale", [0.2, 0.5, 1, 1.5, 3, 5])
@pytest.mark.parametrize("shift", [0, -300])
def test_an_mr_is_no_ct_wherever_its_values_lie(scale, shift):
    for voxels in (MR * scale, np.rint(MR * scale), RNG.normal(1064, 60, SHAPE) * scale / 2):
        assert not looks_like_ct(a_volume((voxels + shift + 0.25).astype(np.float32)))


def test_values_that_may_be_hu_get_a_hint():
    cropped = (BODY[:, 14:26, 14:26] - 60.5).clip(-250, 300).astype(np.float32)  # no air in it
    volume = a_volume(cropped)
    assert ct_offset(volume) is None
    window = resolve_window("auto", volume)
    (hint,) = window_notes("auto", volume, window)
    assert "if they are Hounsfield units, --window soft-tissue" in hint
    assert window_notes("p0.5-99.5", volume, window) == ()
    assert window_notes("auto", a_volume(MR), resolve_window("auto", a_volume(MR))) == ()


def test_the_mapping_is_linear_and_clipped():
    window = Window(-160, 240, "soft-tissue")
    values = np.array([-2000, -160, 40, 240, 3000], np.int16)
    mapped = window.apply(values)
    assert mapped.dtype == np.float32
    np.testing.assert_allclose(mapped, [0, 0, 0.5, 1, 1], atol=1e-6)
    np.testing.assert_array_equal(values, [-2000, -160, 40, 240, 3000])
    assert str(window) == "soft-tissue [-160, 240]"


def test_small_integers_do_not_overflow():
    np.testing.assert_allclose(
        Window(-100, 355, "x").apply(np.array([0, 255], np.uint8)), [100 / 455, 355 / 455]
    )


def test_equal_values_look_equal_on_every_slice_and_nothing_is_written_back():
    voxels = CT.copy()
    voxels[:, 0, 0] = 123
    voxels[3] -= 500  # a dark slice must stay dark
    voxels[3, 0, 0] = 123
    voxels.flags.writeable = False
    volume = a_volume(voxels)
    window = resolve_window("auto", volume)
    expected = window.apply(np.array([123]))[0]
    for plane in ("axial", "coronal", "sagittal"):
        stack = SliceStack(volume, plane, window)
        seen = np.stack([stack.image(i)[0] for i in range(len(stack))], axis=stack.axis)
        np.testing.assert_array_equal(seen[voxels == 123], expected)
        np.testing.assert_array_equal(seen, window.apply(voxels))


def test_one_window_for_all_48_files():
    windows = {resolve_window("auto", v) for v in in_all_orders(MR)}
    assert len(windows) == 1


def test_the_sample_of_a_large_volume_is_regular_and_large_enough():
    voxels = np.zeros((40, 300, 410), np.int8)
    voxels[::2] = 1
    values = sample(voxels)
    assert 5e5 < values.size < 2e6
    assert sample(np.zeros((1, 5, 7))).size == 35
