"""A folder of recorded runs, read strictly.

runs.csv: `run, schedule, cooldown_fraction, end_factor, peak_lr, total_steps, warmup_steps,
    final_val_loss`, a line for each run. A loss that is empty, nan or inf: the run diverged.
curves.csv: `run, step, val_loss`, the validation loss along the way, by rising steps.

Further columns are left alone. Every other oddity is an error that names the file and the line.
"""

import csv
import io
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from benchmarks.replay.table import Recorded, RecordedShape, Table
from lrtuner.errors import InvalidInputError


def _loss(text: Any) -> Any:
    """What is no number, or infinite, has diverged."""
    if isinstance(text, str) and text.strip().lower() in ("", "nan", "inf", "-inf", "-nan"):
        return math.inf
    return text


Name = Annotated[str, Field(min_length=1)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Loss = Annotated[float, BeforeValidator(_loss), Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class _Line(BaseModel):
    """A line of a file, and which one it is."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    where: str
    run: Name


class RunLine(_Line):
    """A line of runs.csv."""

    schedule: Name
    cooldown_fraction: Share
    end_factor: Share
    peak_lr: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    total_steps: Count
    warmup_steps: Annotated[int, Field(ge=0)]
    final_val_loss: Loss

    @property
    def shape(self) -> tuple[str, float, float]:
        """What names its shape."""
        return self.schedule, self.cooldown_fraction, self.end_factor


class CurveLine(_Line):
    """A line of curves.csv."""

    step: Annotated[int, Field(ge=0)]
    val_loss: Loss


AnyLine = TypeVar("AnyLine", bound=_Line)


def read(folder: Path, target: int) -> Table:
    """The folder's runs of at most `target` updates.

    Raises:
        InvalidInputError: a file is missing or not as described above, a run is there twice, or
            none that did not diverge was recorded over the target horizon.
    """
    lines = list(_lines(folder / "runs.csv", RunLine))
    points = list(_lines(folder / "curves.csv", CurveLine))
    _check_runs(lines)
    horizons = sorted({line.total_steps for line in lines if math.isfinite(line.final_val_loss)})
    if target not in horizons:
        told = ", ".join(map(str, horizons)) or "none"
        raise InvalidInputError(f"runs.csv: no run of {target} steps; there are runs of {told}")
    _check_curves(lines, points, target)
    return _table([line for line in lines if line.total_steps <= target], points, target)


def _lines(file: Path, kind: type[AnyLine]) -> Iterator[AnyLine]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{file}: cannot be read: {error}") from None
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    columns = set(kind.model_fields) - {"where"}
    missing = columns - set(reader.fieldnames or ())
    if missing:
        raise InvalidInputError(f"{file.name}: there is no column {', '.join(sorted(missing))}")
    try:
        yield from (_line(row, kind, f"{file.name}, line {reader.line_num}") for row in reader)
    except csv.Error as error:
        raise InvalidInputError(f"{file.name}, line {reader.line_num}: {error}") from None


def _line(row: dict[Any, Any], kind: type[AnyLine], where: str) -> AnyLine:
    if None in row or None in row.values():
        raise InvalidInputError(f"{where}: it has not as many fields as there are columns")
    try:
        return kind.model_validate({**row, "where": where})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field, got = first["loc"][0], first["input"]
        raise InvalidInputError(f"{where}: {field}: {first['msg']}, got {got!r}") from None


def _check_runs(lines: Sequence[RunLine]) -> None:
    named: dict[str, RunLine] = {}
    same: dict[tuple[object, ...], RunLine] = {}
    for line in lines:
        if line.warmup_steps > line.total_steps:
            raise InvalidInputError(f"{line.where}: the warmup is longer than the run")
        other = named.setdefault(line.run, line)
        if other is not line:
            raise InvalidInputError(f"{line.where}: {line.run!r} is there already: {other.where}")
        other = same.setdefault((*line.shape, line.peak_lr, line.total_steps), line)
        if other is not line:
            told = "of the same schedule, cooldown, end, peak and length"
            raise InvalidInputError(f"{line.where}: {line.run!r} is {told} as {other.run!r}")


def _check_curves(lines: Sequence[RunLine], points: Sequence[CurveLine], target: int) -> None:
    lengths = {line.run: line.total_steps for line in lines}
    last: dict[str, int] = {}
    for point in points:
        if point.run not in lengths:
            raise InvalidInputError(f"{point.where}: runs.csv has no run {point.run!r}")
        if point.step <= last.get(point.run, -1):
            told = f"step {point.step} of {point.run!r} comes after step {last[point.run]}"
            raise InvalidInputError(f"{point.where}: {told}")
        if point.step > lengths[point.run]:
            told = f"step {point.step} of {point.run!r}, which has {lengths[point.run]}"
            raise InvalidInputError(f"{point.where}: {told}")
        last[point.run] = point.step
    for line in lines:
        needed = line.total_steps == target and math.isfinite(line.final_val_loss)
        if needed and line.run not in last:
            raise InvalidInputError(f"curves.csv: it has nothing of the run {line.run!r}")


def _table(lines: Sequence[RunLine], points: Sequence[CurveLine], target: int) -> Table:
    curves: dict[str, list[CurveLine]] = {}
    for point in points:
        curves.setdefault(point.run, []).append(point)
    by_shape: dict[tuple[str, float, float], list[RunLine]] = {}
    for line in lines:
        by_shape.setdefault(line.shape, []).append(line)
    shapes = {named: _shape(of_it) for named, of_it in by_shape.items()}
    runs = {
        (shapes[line.shape].key, line.peak_lr, line.total_steps): Recorded(
            line.run,
            line.final_val_loss,
            np.array([point.step for point in curves.get(line.run, ())], dtype=np.float64),
            np.array([point.val_loss for point in curves.get(line.run, ())], dtype=np.float64),
        )
        for line in lines
    }
    return Table(target, tuple(shapes.values()), runs)


def _shape(lines: Sequence[RunLine]) -> RecordedShape:
    recorded: dict[int, list[float]] = {}
    for line in sorted(lines, key=lambda line: line.peak_lr):
        recorded.setdefault(line.total_steps, []).append(line.peak_lr)
    warmups = {line.total_steps: line.warmup_steps for line in lines}
    return RecordedShape(*lines[0].shape, recorded, warmups)
