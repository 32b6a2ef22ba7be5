"""Which functions an operator's list has."""

import pytest
from pydantic import TypeAdapter, ValidationError

from lrtuner.sources.code import AllowedList, allowed


@pytest.mark.parametrize(
    ("target", "allowed_list", "expected"),
    [
        ("shop.train:build", "shop.train:build", True),
        ("shop.train:build", " other:f , shop.train:build ", True),
        ("shop.train:build", "shop.*", True),
        ("shop.train.deep:build", "shop.train.*", True),
        ("shop:build", "shop.*", True),
        ("shop.train:build", "", False),
        ("shop.train:build", " , ", False),
        ("shop.train:build", "shop.train:other", False),
        ("shop.train:build_all", "shop.train:build", False),
        ("shop.train:build", "train:build", False),
        ("shopping.train:build", "shop.*", False),
        ("shop:build", "shop.train.*", False),
        ("os:system", "shop.*", False),
        ("SHOP.train:build", "shop.*", False),
        ("a.shop.train:build", "shop.*", False),
    ],
)
def test_a_target_is_allowed_by_its_name_or_its_package(target, allowed_list, expected):
    assert allowed(target, allowed_list) is expected


@pytest.mark.parametrize(
    "text",
    ["*", "shop", "shop.train", "*:build", "shop.*:build", "shop*", "shop.train:*", "a:b c:d"],
)
def test_a_list_of_anything_else_is_refused(text):
    with pytest.raises(ValidationError, match=r"neither package.module:function nor package\.\*"):
        TypeAdapter(AllowedList).validate_python(f"good.*,{text}")
