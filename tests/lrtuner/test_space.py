import pytest
from pydantic import ValidationError

from lrtuner.space import Choice, IntUniform, LogUniform, Uniform

RANGES = [
    Uniform(low=-1.0, high=2.0),
    LogUniform(low=1e-5, high=3.0),
    IntUniform(low=1, high=4),
]


@pytest.mark.parametrize("span", RANGES, ids=lambda span: span.kind)
def test_quantiles_go_from_end_to_end_and_never_fall(span):
    values = [span.at(i / 100) for i in range(101)]
    assert values[0] == pytest.approx(span.low)
    assert values[-1] == pytest.approx(span.high)
    assert values == sorted(values)
    assert all(span.low <= value <= span.high for value in values)


@pytest.mark.parametrize("span", RANGES, ids=lambda span: span.kind)
def test_a_range_upside_down_or_empty_is_refused(span):
    for low, high in ((span.high, span.low), (span.high, span.high)):
        with pytest.raises(ValidationError, match="must be below high"):
            type(span).model_validate({"low": abs(low), "high": min(high, abs(low))})


def test_a_logarithmic_range_starts_above_zero():
    with pytest.raises(ValidationError, match="greater than 0"):
        LogUniform(low=0.0, high=1.0)


def test_a_choice_gives_each_of_its_values_and_needs_one():
    span = Choice(values=(0.0, 0.5, 1.0))
    assert [span.at(u) for u in (0.0, 0.4, 1.0)] == [0.0, 0.5, 1.0]
    with pytest.raises(ValidationError):
        Choice(values=())
