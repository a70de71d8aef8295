"""What people write as boxes and points, before any volume is known."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from sammed.errors import PromptError
from sammed.prompts.numeric import Box, Point, as_boxes, as_points

SPLEEN = Box(99, 56, 131, 97, k=44)
LIVER = Box(23, 25, 20, 97, 92, 62)


def test_boxes_are_values():
    assert Box(99, 56, 131, 97, k=44) == SPLEEN
    assert len({SPLEEN, Box(99.0, 56, np.int16(131), 97, k=np.uint8(44))}) == 1
    assert Box(99, 56, 131, 97, j=44) != SPLEEN
    assert SPLEEN.named("spleen") == Box(99, 56, 131, 97, k=44, name="spleen")
    assert Box.from_corners((23, 25, 20), np.array([97, 92, 62])) == LIVER
    assert pickle.loads(pickle.dumps(SPLEEN)) == SPLEEN
    assert (LIVER.axis, LIVER.numbers) == ("", (23, 25, 20, 97, 92, 62))
    with pytest.raises(AttributeError):
        SPLEEN.axis = "j"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("value", "code", "text"),
    [
        (SPLEEN, "Box(99, 56, 131, 97, k=44)", "99,56,131,97@k=44"),
        (LIVER.named("liver"), "Box(23, 25, 20, 97, 92, 62, name='liver')", None),
        (Box(1.5, 2, 3, 4, i=-7.25), "Box(1.5, 2, 3, 4, i=-7.25)", "1.5,2,3,4@i=-7.25"),
        (Point(1, 2, 3), "Point(1, 2, 3)", None),
        (
            Point(np.int8(1), 2.0, 3.5, False, "a"),
            "Point(1, 2, 3.5, positive=False, name='a')",
            None,
        ),
    ],
)
def test_they_say_how_they_are_written(value, code, text):
    assert repr(value) == code
    assert eval(code) == value
    if text:
        assert str(value) == text


@pytest.mark.parametrize(
    "given",
    [
        (99, 56, 131, 97),
        [99, 56, 131, 97],
        np.array([99, 56, 131, 97], np.uint8),
        np.array([99.0, 56.0, 131.0, 97.0]),
        (np.int64(99), np.float32(56), 131, 97.0),
        [(99, 56, 131, 97)],
        np.array([[99, 56, 131, 97]]),
    ],
)
def test_four_numbers_and_a_slice(given):
    for at in (44, np.int32(44), 44.0):
        assert as_boxes(given, slice=at) == [SPLEEN]
    (box,) = as_boxes(given, slice=44, axis="j")
    assert (box.axis, box.slice) == ("j", 44)


def test_boxes_of_every_kind_together():
    given = {
        "spleen": ((99, 56, 131, 97), 44),
        "liver": (23, 25, 20, 97, 92, 62),
        "kidney": [Box(1, 2, 3, 4, i=5), "1,2,3,4@5"],
        7: [((1, 2, 3, 4), 5), ((1, 2, 3, 4), 6)],
    }
    assert as_boxes(given) == [
        SPLEEN.named("spleen"),
        LIVER.named("liver"),
        Box(1, 2, 3, 4, i=5, name="kidney"),
        "kidney=1,2,3,4@5",
        Box(1, 2, 3, 4, k=5, name="7"),
        Box(1, 2, 3, 4, k=6, name="7"),
    ]
    assert as_boxes(np.array([LIVER.numbers, LIVER.numbers])) == [LIVER, LIVER]
    assert as_boxes("liver=1,2,3,4@5") == ["liver=1,2,3,4@5"]
    for nothing in ((), [], {}, np.zeros((0, 4))):
        assert as_boxes(nothing) == []


def test_points_of_every_kind():
    point, other = Point(110, 80, 44), Point(1, 2, 3, positive=False)
    for given in [(110, 80, 44), np.array([110, 80, 44]), point, [[110, 80, 44]]]:
        assert as_points(given) == [point]
    assert as_points([(110, 80, 44), other, "1,2,3,-"]) == [point, other, "1,2,3,-"]
    assert as_points(np.array([[110, 80, 44], [1, 2, 3]])) == [point, Point(1, 2, 3)]
    named = as_points({"a": [(110, 80, 44), other], "b": "1,2,3"})
    assert named == [
        Point(110, 80, 44, name="a"),
        Point(1, 2, 3, positive=False, name="a"),
        "b=1,2,3",
    ]
    assert as_points(()) == []


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Box(1, 2, 3, k=4), "a box has 4 or 6 numbers, not 3"),
        (lambda: Box((1, 2, 3, 4), k=4), "a box has 4 or 6 numbers, not 1"),
        (lambda: Box(1, 2, 3, 4), "a box of four numbers needs its slice: k=N"),
        (lambda: Box(1, 2, 3, 4, k=1, j=2), "a box lies on one slice, not on j and k"),
        (lambda: Box(1, 2, 3, 4, 5, 6, k=1), "a 3D box lies on no single slice; leave k out"),
        (lambda: Box(1, 2, np.nan, 4, k=1), "a box consists of finite numbers, not nan"),
        (lambda: Box(1, 2, 3, np.inf, k=1), "a box consists of finite numbers, not inf"),
        (lambda: Box(1, 2, "3", 4, k=1), "a box consists of finite numbers, not '3'"),
        (lambda: Box(1, 2, None, 4, k=1), "a box consists of finite numbers, not None"),
        (lambda: Box(1, 2, True, 4, k=1), "a box consists of finite numbers, not True"),
        (lambda: Box(1, 2, 3, 4, k="5"), "the slice of a box consists of finite numbers, not '5'"),
        (lambda: Box(3, 2, 1, 4, k=1), r"the box '3,2,1,4@k=1' is empty or inverted: from \(3, 2"),
        (lambda: Box(1, 2, 3, 4, 5, 3, name="x"), r"the box 'x=1,2,3,4,5,3' is empty or inverted"),
        (lambda: Point(1, 2, np.nan), "a point consists of finite numbers, not nan"),
        (lambda: as_boxes((1, 2, 3, 4)), "a box of four numbers needs its slice"),
        (lambda: as_boxes((1, 2, 3), slice=4), "a box has 4 or 6 numbers, not 3"),
        (lambda: as_boxes((1, 2, 3, 4), slice=4, axis="z"), "unknown axis 'z'; expected 'i', 'j'"),
        (lambda: as_boxes(SPLEEN, slice=4), "slice=4 says where a box of four numbers lies, but"),
        (lambda: as_boxes(7), "7 is no box; expected four numbers with slice=N, six numbers"),
        (lambda: as_boxes([1, 2, "3", 4], slice=4), "1 is no box"),
        (lambda: as_boxes(None), "None is no box"),
        (lambda: as_boxes(Point(1, 2, 3)), r"Point\(1, 2, 3\) is no box"),
        (lambda: as_boxes((1, 2, 3, float("nan")), slice=4), "finite numbers, not nan"),
        (lambda: as_points((1, 2)), r"a point has 3 numbers, not 2; expected three numbers"),
        (lambda: as_points(SPLEEN), r"Box\(99, 56, 131, 97, k=44\) is no point; expected three"),
        (lambda: as_points(3.5), "3.5 is no point"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(make, message):
    with pytest.raises(PromptError, match=message) as error:
        make()
    assert "\n" not in str(error.value)


def test_tensors_are_numbers_too():
    torch = pytest.importorskip("torch")
    assert as_boxes(torch.tensor([99, 56, 131, 97]), slice=torch.tensor(44)) == [SPLEEN]
