"""What errors say for people."""

import json

import pytest

from smoot_explore.errors import reason_and_place


def width():
    return {}["width"]


def read():
    return json.loads("{")


@pytest.mark.parametrize(
    ("function", "text"), [(width, "KeyError: 'width'"), (read, "JSONDecodeError: Expecting")]
)
def test_an_error_in_somebodys_own_code_is_told_with_its_kind_and_its_line(function, text):
    with pytest.raises((KeyError, ValueError)) as raised:
        function()
    told, line = reason_and_place(raised.value), function.__code__.co_firstlineno + 1
    assert told.startswith(text)
    assert told.endswith(f" ({__file__}, line {line})")


def test_an_error_without_a_line_of_ones_own_says_what_it_says():
    assert reason_and_place(ValueError("try fewer images")) == "try fewer images"
