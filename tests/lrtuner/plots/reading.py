"""Reading a picture as a person would: axes from their ticks, curves from where they are."""

import re
import xml.etree.ElementTree as ET

import numpy as np

from lrtuner.plots._svg import SIZE, width_of

SUFFIXES = {"k": 1e3, "M": 1e6, "G": 1e9}


class Picture:
    def __init__(self, svg):
        self.svg = svg
        self.root = ET.fromstring(svg)
        _, _, self.width, self.height = map(float, self.root.get("viewBox").split())

    def each(self, tag, class_=None):
        for found in self.root.iter(f"{{http://www.w3.org/2000/svg}}{tag}"):
            if class_ is None or class_ in found.get("class", "").split():
                yield found

    @property
    def texts(self):
        return [text.text for text in self.each("text")]

    def lines(self):
        """The curves by their style, in pixels: arrays of shape (count, 2)."""
        [inner] = list(self.each("svg"))[1:]
        paths = inner.iter("{http://www.w3.org/2000/svg}path")
        return {path.get("class").split()[1]: points(path) for path in paths}

    def values(self, style="s0"):
        """The curve in the axes' values: t and rates."""
        xs, ys = self.lines()[style].T
        return self.x_axis(xs), self.y_axis(ys)

    @property
    def x_axis(self):
        ticks = [(float(line.get("x1")), line) for line in self.each("line", "axis")]
        ticks = [x for x, line in ticks if line.get("x1") == line.get("x2") and below(line)]
        labels = [t for t in self.each("text") if t.get("text-anchor") == "middle"]
        told = {float(t.get("x")): t.text for t in labels if is_number(t.text)}
        return scale([(x, told[x]) for x in ticks if x in told])

    @property
    def y_axis(self):
        labels = [t for t in self.each("text") if t.get("text-anchor") == "end"]
        return scale([(float(t.get("y")) - 4.5, t.text) for t in labels])

    def boxes(self):
        """Where each horizontal text is: (left, top, right, bottom)."""
        for text in self.each("text"):
            if text.get("transform"):
                continue
            size = 16.0 if text.get("class") == "title" else SIZE
            x, y, width = float(text.get("x")), float(text.get("y")), width_of(text.text, size)
            left = x - {"middle": width / 2, "end": width}.get(text.get("text-anchor"), 0.0)
            yield text.text, (left, y - 0.75 * size, left + width, y + 0.2 * size)


def points(path):
    return np.array(
        [[float(n) for n in p.split(",")] for p in re.findall(r"[-\d.,]+", path.get("d"))]
    )


def below(line):
    return abs(float(line.get("y2")) - float(line.get("y1")) - 5) < 1e-6


def is_number(text):
    return re.fullmatch(r"-?[\d.]+(e-?\d+)?[kMG]?", text) is not None


def number(text):
    return float(text.rstrip("kMG")) * SUFFIXES.get(text[-1], 1.0)


def scale(ticks):
    """From pixels to values, along the line through the first and the last tick."""
    (p0, t0), (p1, t1) = ticks[0], ticks[-1]
    v0, v1 = number(t0), number(t1)
    return lambda pixels: v0 + (np.asarray(pixels) - p0) * (v1 - v0) / (p1 - p0)
