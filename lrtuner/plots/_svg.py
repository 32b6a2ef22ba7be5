"""SVG as text: elements, how wide words are, the document around a picture, and its style.

Everything that is said comes in through `element` or `words`, which escape it.
"""

from collections.abc import Iterable
from html import escape

from lrtuner.words import clean

SIZE = 13.0
"""The size of ordinary text, in user units; a picture is a few hundred of them wide."""

_NARROW, _WIDE = frozenset("iljtfrI.,:;'|!()[]/ "), frozenset("mwMW@%+=~")

# Okabe and Ito's colours, which most kinds of colour blindness tell apart, darkened or lightened
# until they stand out from the ground. Dashes and shapes tell the series apart without any.
_LIGHT = ("#005f9e", "#b84a00", "#007a58", "#a83d7c", "#7a5c00", "#4d4d4d")
_DARK = ("#6cb8f0", "#ff9a57", "#3fcf9f", "#e79ac6", "#e6c229", "#c0c0c0")
_DASHES = ("none", "7 4", "2 3", "9 3 2 3", "4 2", "12 4")

STYLES = len(_DASHES)
"""How many series can be told apart."""

_RULES = """\
.lrt-plot{font-family:system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
.lrt-plot text{font-size:13px;fill:#1f2328;stroke:none}
.lrt-plot .title{font-size:16px;font-weight:600}
.lrt-plot .quiet{fill:#57606a}
.lrt-plot .halo{stroke:#fff;stroke-width:4px;stroke-linejoin:round;paint-order:stroke}
.lrt-plot .ground{fill:#fff}
.lrt-plot .band{fill:#57606a;fill-opacity:.09}
.lrt-plot .grid{stroke:#d8dee4;stroke-width:1}
.lrt-plot .axis{stroke:#57606a;stroke-width:1;fill:none}
.lrt-plot .mark{stroke:#1f2328;stroke-width:1.2;stroke-dasharray:1 3;stroke-linecap:round}
.lrt-plot .bar{stroke:#1f2328;stroke-width:1.5;fill:none}
.lrt-plot .dot{fill:#1f2328;stroke:#fff;stroke-width:1.5}
.lrt-plot .line{fill:none;stroke-width:2;stroke-linejoin:round}
.lrt-plot .point{fill:none;stroke-width:1.3}
.lrt-plot .area{fill:currentColor;fill-opacity:.18;stroke-width:0}
.lrt-plot .block{fill:currentColor;stroke-width:0}
.lrt-plot .faint{stroke:#57606a;stroke-opacity:.5;stroke-width:1}
"""
_DARK_RULES = """\
.lrt-plot text{fill:#e6edf3}
.lrt-plot .quiet{fill:#9ea7b3}
.lrt-plot .halo{stroke:#16191f}
.lrt-plot .ground{fill:#16191f}
.lrt-plot .band{fill:#9ea7b3;fill-opacity:.14}
.lrt-plot .grid{stroke:#2c333d}
.lrt-plot .axis{stroke:#9ea7b3}
.lrt-plot .mark,.lrt-plot .bar{stroke:#e6edf3}
.lrt-plot .dot{fill:#e6edf3;stroke:#16191f}
.lrt-plot .faint{stroke:#9ea7b3}
"""


def element(tag: str, *children: str, **attributes: str | float) -> str:
    """An element; `class_` and `text_anchor` become `class` and `text-anchor`."""
    told = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{_attribute(value)}"'
        for name, value in attributes.items()
    )
    return f"<{tag}{told}>{''.join(children)}</{tag}>" if children else f"<{tag}{told}/>"


def words(x: float, y: float, text: str, **attributes: str | float) -> str:
    """Text with its baseline at `y`."""
    return element("text", escaped(text), x=x, y=y, **attributes)


def escaped(text: str) -> str:
    """The text as XML takes it: on one line, without control characters, nothing of it markup."""
    return escape(clean(text))


def coordinate(value: float) -> str:
    """A coordinate, to a hundredth of a unit."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def width_of(text: str, size: float = SIZE) -> float:
    """About how wide the text is, rather too wide than too narrow: fonts differ."""
    return size * sum(map(_share, text))


def wrapped(text: str, width: float, size: float = SIZE) -> list[str]:
    """The text in lines of at most `width`; only a word that is longer is broken."""
    lines = [""]
    for word in clean(text).split():
        for piece in _pieces(word, width, size):
            longer = f"{lines[-1]} {piece}".strip()
            if width_of(longer, size) <= width or not lines[-1]:
                lines[-1] = longer
            else:
                lines.append(piece)
    return lines


def picture(
    parts: Iterable[str], *, width: float, height: float, title: str, description: str
) -> str:
    """The document: it scales to whatever it stands in."""
    ground = element("rect", class_="ground", width=width, height=height, rx=6)
    return (
        element(
            "svg",
            "\n" + element("title", escaped(title)),
            "\n" + element("desc", escaped(description)),
            "\n" + element("style", _style()),
            "".join(f"\n{part}" for part in (ground, *parts)),
            "\n",
            xmlns="http://www.w3.org/2000/svg",
            viewBox=f"0 0 {coordinate(width)} {coordinate(height)}",
            class_="lrt-plot",
            role="img",
        )
        + "\n"
    )


def _style() -> str:
    dashes = "".join(
        f".lrt-plot .line.s{i}{{stroke-dasharray:{dash}}}\n" for i, dash in enumerate(_DASHES)
    )
    dark = f"@media screen and (prefers-color-scheme:dark){{\n{_DARK_RULES}{_colours(_DARK)}}}\n"
    return f"\n{_RULES}{dashes}{_colours(_LIGHT)}{dark}"


def _colours(colours: tuple[str, ...]) -> str:
    return "".join(
        f".lrt-plot .s{i}{{stroke:{colour};color:{colour}}}\n" for i, colour in enumerate(colours)
    )


def _attribute(value: str | float) -> str:
    return escaped(value) if isinstance(value, str) else coordinate(value)


def _share(character: str) -> float:
    if ord(character) > 0x2E80:  # Chinese, Japanese and Korean are square
        return 1.0
    if character in _NARROW:
        return 0.38
    return 0.97 if character in _WIDE else 0.68 if character.isupper() else 0.62


def _pieces(word: str, width: float, size: float) -> list[str]:
    if width_of(word, size) <= width:
        return [word]
    count = max(int(width / size), 1)  # no character is wider than the size
    return [word[i : i + count] for i in range(0, len(word), count)]
