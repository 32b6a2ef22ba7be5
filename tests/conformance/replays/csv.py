"""Rates out of the table; it ends with the horizon."""

import csv
import io


def replay(text, schedule, steps):
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [int(row["step"]) for row in rows] == list(range(len(rows)))
    return [float(row["lr"]) for row in rows]
