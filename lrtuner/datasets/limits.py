"""How large a file of examples may be, in each direction that costs something to read."""

from dataclasses import dataclass
from pathlib import Path

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """What is refused above.

    Attributes:
        array_bytes: of all examples as arrays; a setting of the operator.
        preload_bytes: of arrays that lie in memory; larger ones are streamed from disk. A setting
            of the operator.
        scratch: where files for larger ones are made; the system's folder for such if left out.
        columns: of a table, before and after texts become numbers.
        line_chars: of one line of a csv file.
        cell_chars: of one cell.
        categories: different texts of a column that is used as a feature.
        classes: different targets.
        entries: of a zip file.
        ratio: unpacked over packed size of a zip file's entry of more than a mebibyte.
        pixels: of one image before it is resized.
        header_bytes: of a safetensors header.
        array_header_bytes: of the header of one array in an npz file.
        vocabulary: different characters of a text.
    """

    array_bytes: int = 8192 * MEBIBYTE
    preload_bytes: int = 1024 * MEBIBYTE
    scratch: Path | None = None
    columns: int = 10_000
    line_chars: int = 4 * MEBIBYTE
    cell_chars: int = 10_000
    categories: int = 1_000
    classes: int = 10_000
    entries: int = 1_000_000
    ratio: int = 200
    pixels: int = 16 * MEBIBYTE
    header_bytes: int = MEBIBYTE
    array_header_bytes: int = 10_000
    vocabulary: int = 10_000
