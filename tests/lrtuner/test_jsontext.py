import json
import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lrtuner.jsontext import digest, dumps

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abcxyz_"), inner),
)


@given(PLAIN, st.sampled_from([None, 2]))
def test_what_is_written_reads_back_bit_for_bit(value, indent):
    assert json.loads(dumps(value, indent=indent)) == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_is_the_same_number_to_json_and_yaml(value):
    text = dumps({"lr": value})
    assert json.loads(text)["lr"] == value
    assert yaml.safe_load(text.replace(":", ": "))["lr"] == value


def test_an_exponent_always_has_a_decimal_point():
    assert dumps([1e-05, 1e16, 1.5e-7, 0.1, 3.0]) == "[1.0e-05,1.0e+16,1.5e-07,0.1,3.0]"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(ValueError, match="JSON has no"):
        dumps({"a": [value]})


@pytest.mark.parametrize("value", [{1: 2}, object(), {"a": {3}}])
def test_other_types_are_refused(value):
    with pytest.raises((TypeError, ValueError)):
        dumps(value)


def test_the_digest_does_not_depend_on_the_order_of_keys():
    assert digest({"a": 1, "b": [{"c": 2, "d": 3}]}) == digest({"b": [{"d": 3, "c": 2}], "a": 1})
    assert digest({"a": 1}) != digest({"a": 1.0})


def test_lists_of_scalars_stay_on_one_line():
    assert dumps({"p": [[0, 0.5], [1, 2]], "e": {}}, indent=2) == (
        '{\n  "p": [\n    [0, 0.5],\n    [1, 2]\n  ],\n  "e": {}\n}'
    )
