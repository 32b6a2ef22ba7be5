"""Write `diabetes.csv`: the table as scikit-learn ships it, in the units it was measured in."""

from pathlib import Path

from sklearn.datasets import load_diabetes

NAMES = (
    "age",
    "sex",
    "bmi",
    "pressure",
    "tc",
    "ldl",
    "hdl",
    "tch",
    "ltg",
    "glucose",
    "progression",
)


def table() -> str:
    """442 patients, ten measurements each, and how far the disease had gone a year later."""
    features, progression = load_diabetes(return_X_y=True, scaled=False)
    rows = ([*row, target] for row, target in zip(features, progression, strict=True))
    lines = (",".join(f"{value:g}" for value in row) for row in rows)
    return "\n".join([",".join(NAMES), *lines, ""])


if __name__ == "__main__":
    Path(__file__).with_name("diabetes.csv").write_text(table(), encoding="utf-8")
