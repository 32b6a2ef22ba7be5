"""Files that nobody should be able to upload, by what is wrong with them: format and bytes."""

import bz2
import gzip
import io
import pickle
import stat
import struct
import zipfile
import zlib

import numpy as np
import pyarrow
import pyarrow.parquet

from tests.conformance.dataset_samples import (
    CODES,
    SAMPLES,
    inputs,
    npy,
    npz_of,
    png,
    safetensors_of,
    safetensors_raw,
    zip_of,
)

X = inputs()
F32 = X.astype(np.float32)
GREY = np.zeros((8, 8), np.uint8)
DEFLATED = zipfile.ZIP_DEFLATED
NOISE = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
CODE = "__import__('os').system('touch pwned')"


class Evil:
    """Unpickled, it would leave a file."""

    def __reduce__(self):
        return exec, ("open('pwned', 'w')",)


def npy_raw(header, data=b"", version=(1, 0), length=None):
    """An npy file with any text as its header."""
    text = header.encode() if isinstance(header, str) else header
    size = struct.pack("<H" if version == (1, 0) else "<I", length or len(text))
    return b"\x93NUMPY" + bytes(version) + size + text + data


def header(descr="'<f8'", shape="(40, 4)", order="False"):
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


IMAGES = b"\0\0\x08\x03" + b"".join(struct.pack(">I", n) for n in (40, 2, 2)) + bytes(range(160))
LABELS = b"\0\0\x08\x01" + struct.pack(">I", 40) + bytes(CODES.tolist())


def mnist_of(images, ending=""):
    names = f"train-images-idx3-ubyte{ending}", "train-labels-idx1-ubyte"
    return zip_of(dict(zip(names, (images, LABELS), strict=True)))


def npz_raw(x, name="x.npy", method=zipfile.ZIP_STORED):
    return zip_of({name: x, "y.npy": npy(CODES)}, method)


def entry(name, mode=0, **changes):
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    for key, value in changes.items():
        setattr(info, key, value)
    return info


def images_of(name, data=None, mode=0):
    """Ten good images, and one entry more."""
    good = {f"{'ab'[i % 2]}/{i}.png": png(GREY + i) for i in range(12)}
    return zip_of({**good, entry(name, mode): png(GREY) if data is None else data})


def flagged(data, offset, value):
    """A zip file with a field of every header of its entries overwritten (16 bits)."""
    changed = bytearray(data)
    for signature, at in ((b"PK\x03\x04", offset), (b"PK\x01\x02", offset + 2)):
        found = changed.find(signature)
        while found >= 0:
            changed[found + at : found + at + 2] = struct.pack("<H", value)
            found = changed.find(signature, found + 4)
    return bytes(changed)


def sized(data, size):
    """A zip file whose first entry lies about its unpacked size, in both places."""
    changed = bytearray(data)
    for signature, at in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        found = changed.find(signature)
        changed[found + at : found + at + 4] = struct.pack("<I", size)
    return bytes(changed)


def doubled():
    """A zip file with the same name twice."""
    data = zip_of({"x.npy": npy(X), "z.npy": npy(X), "y.npy": npy(CODES)})
    return data.replace(b"z.npy", b"x.npy")


def png_of(width, height):
    """An image file of a few bytes that says to be that large."""

    def chunk(kind, data):
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    size = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b"\0" * 9))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + pixels + chunk(b"IEND", b"")


def table(target, names="a,y"):
    return "\n".join([names, *(f"{i},{value}" for i, value in enumerate(target))]).encode()


def parquet_of(**columns):
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), out)
    return out.getvalue()


def tensor(dtype="F32", shape=(40, 4), offsets=(0, 640), data=None, **more):
    entry = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
    return safetensors_raw({"x": entry, **more}, F32.tobytes() if data is None else data)


CLASSES = ["u", "v"] * 10
GOOD_NPZ = npz_of(x=X, y=CODES)
ZEROS = np.zeros((655_360, 4))
TENSORS = safetensors_of(x=F32, y=CODES)
PARQUET = SAMPLES["parquet"]()
ROWS = list(range(20))

FILES = {
    # numpy
    "npz: objects, pickled": ("npz", npz_raw(npy(np.array([Evil()] * 40), allow_pickle=True))),
    "npz: objects of the right size": (
        "npz",
        npz_raw(npy_raw(header(descr="'|O'"), X.tobytes())),
    ),
    "npz: a pickle": ("npz", pickle.dumps(Evil())),
    "npz: an entry that is a pickle": ("npz", npz_raw(pickle.dumps(Evil()))),
    "npz: structures": ("npz", npz_raw(npy(np.zeros(40, [("a", "f4"), ("b", "f4")])))),
    "npz: texts": ("npz", npz_raw(npy(np.array(["a"] * 40)))),
    "npz: complex": ("npz", npz_of(x=X * 1j, y=CODES)),
    "npz: dates": ("npz", npz_of(x=CODES.astype("M8[s]"), y=CODES)),
    "npz: code as dtype": ("npz", npz_raw(npy_raw(header(descr=repr(CODE)), X.tobytes()))),
    "npz: code as header": ("npz", npz_raw(npy_raw(CODE, X.tobytes()))),
    "npz: code in the header": ("npz", npz_raw(npy_raw(header(descr=CODE), X.tobytes()))),
    "npz: endless header": ("npz", npz_raw(npy_raw(header() + " " * 2**20, version=(2, 0)))),
    "npz: nested header": ("npz", npz_raw(npy_raw("(" * 9000))),
    "npz: header beyond the end": ("npz", npz_raw(npy_raw(header(), length=60_000))),
    "npz: version 9": ("npz", npz_raw(npy_raw(header(), X.tobytes(), version=(9, 0)))),
    "npz: negative shape": ("npz", npz_raw(npy_raw(header(shape="(-40, 4)"), X.tobytes()))),
    "npz: two negative lengths": ("npz", npz_raw(npy_raw(header(shape="(-40, -4)"), X.tobytes()))),
    "npz: shape that overflows": ("npz", npz_raw(npy_raw(header(shape=f"({2**61}, 8)")))),
    "npz: shape of nothing": ("npz", npz_raw(npy_raw(header(shape=f"(0, {2**62})")))),
    "npz: shape of texts": ("npz", npz_raw(npy_raw(header(shape="('4', 4)"), X.tobytes()))),
    "npz: no dimension": ("npz", npz_of(x=np.float64(1), y=CODES)),
    "npz: more promised than there is": ("npz", npz_raw(npy(X)[:-8])),
    "npz: more than promised": ("npz", npz_raw(npy(X) + b"\0" * 8)),
    "npz: cut short": ("npz", GOOD_NPZ[: len(GOOD_NPZ) // 2]),
    "npz: bomb": (
        "npz",
        zip_of({"x.npy": npy(ZEROS), "y.npy": npy(np.resize(CODES, len(ZEROS)))}, DEFLATED),
    ),
    "npz: bomb that lies about its size": (
        "npz",
        sized(zip_of({"x.npy": npy(ZEROS), "y.npy": npy(CODES)}, DEFLATED), 1408),
    ),
    "npz: size of 4 GiB": ("npz", sized(GOOD_NPZ, 2**32 - 2)),
    "npz: encrypted": ("npz", flagged(GOOD_NPZ, 6, 1)),
    "npz: bzip2": ("npz", npz_raw(npy(X), method=zipfile.ZIP_BZIP2)),
    "npz: unknown packing": ("npz", flagged(GOOD_NPZ, 8, 99)),
    "npz: a name twice": ("npz", doubled()),
    "npz: many arrays": ("npz", npz_of(**{f"x{i}": X for i in range(50)})),
    "npz: an archive inside": ("npz", zip_of({"inner.npz": GOOD_NPZ})),
    "npz: out of the folder": ("npz", npz_raw(npy(X), "../x.npy")),
    "npz: absolute path": ("npz", npz_raw(npy(X), "/tmp/x.npy")),
    "npz: drive": ("npz", npz_raw(npy(X), "C:\\x.npy")),
    "npz: link": ("npz", npz_raw(npy(X), entry("x.npy", stat.S_IFLNK | 0o777))),
    "npz: device": ("npz", npz_raw(npy(X), entry("x.npy", stat.S_IFCHR | 0o666))),
    "npz: NaN targets": ("npz", npz_of(x=X, y=np.full(40, np.nan))),
    "npz: infinite inputs": ("npz", npz_of(x=X * np.inf, y=CODES)),
    "npz: beyond float32": ("npz", npz_of(x=X * 1e300, y=CODES)),
    "npz: one class": ("npz", npz_of(x=X, y=CODES * 0)),
    "npz: other lengths": ("npz", npz_of(x=X, y=CODES[:30])),
    "npz: unknown names": ("npz", npz_of(foo=X, bar=CODES)),
    "npz: two inputs": ("npz", npz_of(x=X, inputs=X, y=CODES)),
    "npz: no targets": ("npz", npz_of(x=X)),
    "npz: three examples": ("npz", npz_of(x=X[:3], y=CODES[:3])),
    # csv
    "csv: enormous cell": ("csv", table(["x" * 3_000_000, *CLASSES])),
    "csv: quote that never ends": ("csv", table(CLASSES) + b'\n20,"' + b"x\n" * 100_000),
    "csv: a million columns": ("csv", b"a," * 1_000_000 + b"a\n" + b"1\n" * 20),
    "csv: endless line": ("csv", b"x" * 9_000_000),
    "csv: NUL": ("csv", table([*CLASSES, "u\0"])),
    "csv: Latin-1": ("csv", "a,y\n1,\xe9\n".encode("latin-1") * 20),
    "csv: UTF-16": ("csv", table(CLASSES).decode().encode("utf-16")),
    "csv: ragged": ("csv", table([*CLASSES, "u,v"])),
    "csv: short row": ("csv", table(CLASSES) + b"\n20"),
    "csv: only a header": ("csv", b"a,y\n"),
    "csv: no header": ("csv", b"1,2\n" * 20),
    "csv: blank lines": ("csv", b"\n" * 1000),
    "csv: one column": ("csv", b"y\n" + b"1\n2\n" * 20),
    "csv: columns of one name": ("csv", table(CLASSES, "a,a")),
    "csv: column without a name": ("csv", table(CLASSES, "a,")),
    "csv: escape sequences": ("csv", table(CLASSES, "a,\x1b[2J")),
    "csv: NaN targets": ("csv", table([*ROWS, "nan"])),
    "csv: infinite targets": ("csv", table([*ROWS, "1e999"])),
    "csv: empty cell": ("csv", table([*CLASSES, ""])),
    "csv: one class": ("csv", table(["u"] * 20)),
    "csv: every target another text": ("csv", table([f"t{i}" for i in range(10_500)])),
    "csv: stray quote": ("csv", table([*CLASSES, '"u"v'])),
    "csv: packed": ("csv", gzip.compress(table(CLASSES))),
    "csv: number beyond float32": ("csv", b"a,y\n1e300,u\n1,v\n" + b"2,u\n" * 20),
    # safetensors
    "safetensors: header of 2^63 bytes": ("safetensors", safetensors_raw(b"{}", b"", 2**63)),
    "safetensors: header beyond the end": ("safetensors", safetensors_raw(b"{}", b"", 3)),
    "safetensors: endless header": ("safetensors", safetensors_raw(b" " * 2**20 + b"{}", b"")),
    "safetensors: no JSON": ("safetensors", safetensors_raw(b"{'x': 1}", b"")),
    "safetensors: nested JSON": ("safetensors", safetensors_raw(b"[" * 200_000, b"")),
    "safetensors: a list": ("safetensors", safetensors_raw(b"[]", b"")),
    "safetensors: an entry that is a number": ("safetensors", safetensors_raw({"x": 1}, b"")),
    "safetensors: unknown type": ("safetensors", tensor(dtype="PICKLE")),
    "safetensors: type that is a list": ("safetensors", tensor(dtype=["F32"])),
    "safetensors: negative shape": ("safetensors", tensor(shape=(-40, -4))),
    "safetensors: shape that overflows": ("safetensors", tensor(shape=(2**62, 4))),
    "safetensors: truth value as length": ("safetensors", tensor(shape=(True, 160))),
    "safetensors: offsets beyond the end": ("safetensors", tensor(offsets=(0, 10**9))),
    "safetensors: offsets from the end": ("safetensors", tensor(offsets=(640, 0))),
    "safetensors: overlap": (
        "safetensors",
        tensor(y={"dtype": "F32", "shape": [40, 4], "data_offsets": [320, 960]}),
    ),
    "safetensors: more data than described": ("safetensors", TENSORS + b"\0"),
    "safetensors: cut short": ("safetensors", TENSORS[:-9]),
    "safetensors: NaN": ("safetensors", safetensors_of(x=F32 * np.float32("nan"), y=CODES)),
    # parquet
    "parquet: cut short": ("parquet", PARQUET[:-20]),
    "parquet: footer that lies": ("parquet", PARQUET[:-8] + b"\xff\xff\xff\x7fPAR1"),
    "parquet: only magic": ("parquet", b"PAR1" + b"\0" * 100 + b"PAR1"),
    "parquet: noise as footer": (
        "parquet",
        b"PAR1" + b"\x15\xff\x7f\xff" * 300 + struct.pack("<I", 1200) + b"PAR1",
    ),
    "parquet: nested": ("parquet", parquet_of(a=[[1]] * 20, y=CLASSES)),
    "parquet: missing values": ("parquet", parquet_of(a=[None, *ROWS[1:]], y=CLASSES)),
    "parquet: NaN targets": ("parquet", parquet_of(a=ROWS, y=[float("nan")] * 20)),
    "parquet: bytes": ("parquet", parquet_of(a=[b"\0"] * 20, y=CLASSES)),
    "parquet: NUL in a text": ("parquet", parquet_of(a=["a\0"] * 20, y=CLASSES)),
    "parquet: one class": ("parquet", parquet_of(a=ROWS, y=["u"] * 20)),
    # images
    "images: out of the folder": ("images", images_of("a/../../b.png")),
    "images: absolute path": ("images", images_of("/a/b.png")),
    "images: backslashes": ("images", images_of("a\\..\\b.png")),
    "images: line break": ("images", images_of("a/b\n.png")),
    "images: link": ("images", images_of("a/b.png", mode=stat.S_IFLNK | 0o777)),
    "images: no image": ("images", images_of("a/b.png", b"<svg onload=alert(1)>")),
    "images: another ending": ("images", images_of("a/b.svg", b"<svg/>")),
    "images: a gif by another name": ("images", images_of("a/b.png", png(GREY, "GIF"))),
    "images: cut short": ("images", images_of("a/b.png", png(NOISE)[:900])),
    "images: bomb of pixels": ("images", images_of("a/b.png", png_of(60_000, 60_000))),
    "images: too many pixels": ("images", images_of("a/b.png", png(np.zeros((4200, 4200), "u1")))),
    "images: pixels that are not there": ("images", images_of("a/b.png", png_of(3000, 3000))),
    "images: no pixels": ("images", images_of("a/b.png", png_of(0, 8))),
    "images: an archive inside": ("images", images_of("a/b.zip", GOOD_NPZ)),
    "images: bomb of zeros": (
        "images",
        zip_of({"a/b.png": bytes(20_000_000)}, DEFLATED),
    ),
    "images: beside the folders": ("images", images_of("b.png")),
    "images: too deep": ("images", images_of("a/b/c/d/e.png")),
    "images: one class": ("images", zip_of({f"a/{i}.png": png(GREY + i) for i in range(12)})),
    "images: only folders": ("images", zip_of({"a/": b"", "b/": b""})),
    "images: no archive": ("images", png(GREY)),
    "images: end of an archive": ("images", zip_of({})),
    # text
    "text: NUL": ("text", b"abc\0" * 1000),
    "text: Latin-1": ("text", b"caf\xe9 " * 1000),
    "text: half a character": ("text", b"caf\xc3\xa9 " * 1000 + b"\xc3"),
    "text: one character": ("text", b"a" * 5000),
    "text: too short": ("text", b"abc" * 20),
    "text: surrogates": ("text", b"ab\xed\xa0\x80" * 1000),
    "text: packed": ("text", bz2.compress(b"abc" * 1000)),
    # folders of files, zipped
    "idx: more than there is": ("idx", mnist_of(b"\0\0\x08\x03" + b"\xff" * 12)),
    "idx: floats": ("idx", mnist_of(b"\0\0\x0d\x03" + b"\0\0\0\x01" * 3 + b"\0" * 4)),
    "idx: four dimensions": ("idx", mnist_of(b"\0\0\x08\x04" + b"\0\0\0\x01" * 4 + b"\0")),
    "idx: half a header": ("idx", mnist_of(b"\0\0\x08\x03\0\0")),
    "idx: cut short": ("idx", mnist_of(IMAGES[:-1])),
    "idx: too long": ("idx", mnist_of(IMAGES + b"x")),
    "idx: labels alone": ("idx", zip_of({"train-labels-idx1-ubyte": LABELS})),
    "idx: bomb of zeros": ("idx", mnist_of(gzip.compress(IMAGES + bytes(50_000_000)), ".gz")),
    "idx: packed by name only": ("idx", mnist_of(IMAGES, ".gz")),
    "idx: out of the folder": (
        "idx",
        zip_of({"../train-images-idx3-ubyte": IMAGES, "train-labels-idx1-ubyte": LABELS}),
    ),
    "cifar: pickled": ("cifar", zip_of({"data_batch_1": pickle.dumps(Evil())})),
    "cifar: pickled, by the other name": (
        "cifar",
        zip_of({"data_batch_1.bin": pickle.dumps(Evil())}),
    ),
    "cifar: half a record": ("cifar", zip_of({"train.bin": bytes(3074 * 20 + 5)})),
    "cifar: one class": ("cifar", zip_of({"data_batch_1.bin": bytes(3073 * 20)})),
    "cifar: link": ("cifar", zip_of({entry("train.bin", stat.S_IFLNK | 0o777): b"/etc/passwd"})),
    # all
    **{f"{format}: empty": (format, b"") for format in SAMPLES},
    "a pickle by that name": ("pickle", pickle.dumps(Evil())),
    "a path as format": ("../npz", GOOD_NPZ),
}

NAMES = [
    "../../etc/passwd.csv",
    "/etc/cron.d/x.csv",
    "..\\..\\x.csv",
    "C:x.csv",
    "..",
    ". .",
    "a\0.csv",
    "a\r\nSet-Cookie: x.csv",
    "\u202excel.csv",
    "x" * 300 + ".csv",
    "",
]
