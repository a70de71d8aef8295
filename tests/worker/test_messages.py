import json

import pytest

from sammed.worker.messages import MAX_LINE, Fields, RequestError, parse


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"hello\n", "not JSON"),
        (b"\xff\xfe\n", "UTF-8"),
        (b"[1, 2]\n", "found list"),
        (b'{"do": "ping"}\n', "no 'id'"),
        (b'{"id": true, "do": "ping"}\n', "no 'id'"),
        (b'{"id": 1}\n', "no 'do'"),
        (b"[" * 100000 + b"\n", "not JSON"),
        (b"x" * (MAX_LINE + 1), "arrays belong into files"),
    ],
)
def test_malformed_lines_say_what_is_wrong(line, says):
    with pytest.raises(RequestError, match=says) as caught:
        parse(line)
    assert caught.value.code == "malformed"


def test_the_id_is_told_when_only_the_rest_is_wrong():
    with pytest.raises(RequestError) as caught:
        parse(b'{"id": "a7"}')
    assert caught.value.request_id == "a7"


@pytest.mark.parametrize(
    ("read", "value", "says"),
    [
        (lambda f: f.text("x"), 3, "must be a string; found 3"),
        (lambda f: f.flag("x"), 1, "must be true or false"),
        (lambda f: f.whole("x"), True, "must be a whole number"),
        (lambda f: f.texts("x"), ["a", 1], "a list of strings"),
        (lambda f: f.wholes("x", 3), [1, 2], r"3 whole numbers; found \[1, 2\]"),
        (lambda f: f.wholes("x", 2), [1, 2.5], "2 whole numbers"),
        (lambda f: f.matrix("x", 2, 2), [[1, 2], [3]], "2 lists of 2 numbers"),
        (lambda f: f.matrix("x", 1, 2), [[1, float("nan")]], "1 lists of 2 numbers"),
        (lambda f: f.part("x"), [], "must be an object"),
        (lambda f: f.parts("x"), [1], "a list of objects"),
        (lambda f: f.text("x"), None, "'x' is missing"),
    ],
)
def test_a_field_of_the_wrong_kind_is_named(read, value, says):
    with pytest.raises(RequestError, match=says):
        read(Fields({"x": value}, "put"))


def test_fields_that_are_right_come_through():
    request = parse(json.dumps({"id": 4, "do": "put", "n": [1, 2], "m": [[1, 2.5]]}).encode())
    assert (request.id, request.do) == (4, "put")
    assert request.fields.wholes("n", 2) == [1, 2]
    assert request.fields.matrix("m", 1, 2) == [[1.0, 2.5]]
    assert request.fields.text("absent", "default") == "default"
