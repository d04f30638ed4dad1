"""A pattern fits names, and what lies in what it fits, or is an error that names what there is."""

import pytest

from ppcoordconv.utils.errors import UserError
from ppcoordconv.utils.patterns import check_patterns, names_that_fit

NAMES = [
    "conv1.weight",
    "layer1.0.conv1.weight",
    "layer1.0.bn1.weight",
    "layer10.0.conv1.weight",
    "fc.weight",
    "fc.bias",
]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("fc", NAMES[4:]),
        ("fc.bias", NAMES[5:]),
        ("layer1", NAMES[1:3]),
        ("layer1.*", NAMES[1:3]),
        ("layer*", NAMES[1:4]),
        ("*.conv1", [NAMES[1], NAMES[3]]),
        ("*", NAMES),
    ],
)
def test_a_pattern_fits_a_name_and_what_lies_in_it(pattern, expected):
    assert names_that_fit("freeze", pattern, NAMES) == expected


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        (
            "conv1.weights",
            "^freeze has the pattern 'conv1.weights', which fits no name .*: did you mean 'conv1.weight'",
        ),
        ("head", "^freeze has the pattern 'head'.* It has conv1, layer1, layer10, fc, and what lies in these$"),
        ("conv", "fits no name"),
    ],
)
def test_one_that_fits_nothing(pattern, words):
    with pytest.raises(UserError, match=words):
        names_that_fit("freeze", pattern, NAMES)


@pytest.mark.parametrize("value", [[], "", 3, None, ["fc", 3], {"fc": 1}])
def test_what_is_no_pattern(value):
    with pytest.raises(UserError, match="^freeze takes a pattern for names, or a list of them, got"):
        check_patterns("freeze", value)
    assert check_patterns("freeze", "fc") == ["fc"]
