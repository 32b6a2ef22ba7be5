"""One small, sound file of every format, of 40 examples in three classes where it has classes."""

import io
import json
import zipfile

import numpy as np
import pyarrow
import pyarrow.parquet
from PIL import Image

NUM_EXAMPLES = 40
LABELS = [("blue", "green", "red")[i % 3] for i in range(NUM_EXAMPLES)]
CODES = np.array([i % 3 for i in range(NUM_EXAMPLES)])


def inputs():
    return np.random.default_rng(0).normal(size=(NUM_EXAMPLES, 4))


def npz():
    return npz_of(x=inputs(), y=CODES)


def csv():
    rows = [
        ",".join([*(f"{value:.4f}" for value in row), label])
        for row, label in zip(inputs(), LABELS, strict=True)
    ]
    return "\n".join(["a,b,c,d,colour", *rows, ""]).encode()


def safetensors():
    return safetensors_of(inputs=inputs().astype(np.float32), targets=CODES)


def parquet():
    table = dict(zip("abcd", inputs().T, strict=True))
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({**table, "colour": LABELS}), out)
    return out.getvalue()


def images():
    pixels = np.random.default_rng(0).integers(0, 255, (NUM_EXAMPLES, 8, 8), dtype=np.uint8)
    return zip_of({f"{LABELS[i]}/{i}.png": png(pixels[i]) for i in range(NUM_EXAMPLES)})


def text():
    return ("The quick brown fox jumps over the lazy dog. 0123456789\n" * 60).encode()


def idx():
    pixels = np.random.default_rng(0).integers(0, 256, (NUM_EXAMPLES, 6, 5), dtype=np.uint8)
    return zip_of({"MNIST/raw/" + name: data for name, data in idx_files(pixels, CODES).items()})


def idx_files(pixels, labels, split="train"):
    """The two files of a split, written from the published layout."""
    sizes = b"".join(size.to_bytes(4, "big") for size in pixels.shape)
    count = len(labels).to_bytes(4, "big")
    return {
        f"{split}-images-idx3-ubyte": b"\x00\x00\x08\x03" + sizes + pixels.tobytes(),
        f"{split}-labels-idx1-ubyte": b"\x00\x00\x08\x01" + count + bytes(labels.tolist()),
    }


def cifar():
    pixels = np.random.default_rng(0).integers(0, 256, (NUM_EXAMPLES, 3, 32, 32), dtype=np.uint8)
    halves = {f"data_batch_{i + 1}.bin": slice(20 * i, 20 * i + 20) for i in range(2)}
    return zip_of({name: cifar_records(pixels[s], CODES[s]) for name, s in halves.items()})


def cifar_records(pixels, *labels):
    """Labels, then red, green and blue of one image after another."""
    rows = zip(pixels, *labels, strict=True)
    return b"".join(bytes(map(int, codes)) + image.tobytes() for image, *codes in rows)


SAMPLES = {
    "npz": npz,
    "csv": csv,
    "safetensors": safetensors,
    "parquet": parquet,
    "images": images,
    "text": text,
    "idx": idx,
    "cifar": cifar,
}


def npz_of(**arrays):
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def zip_of(entries, method=zipfile.ZIP_STORED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in entries.items():
            info = zipfile.ZipInfo(name) if isinstance(name, str) else name
            info.compress_type = method
            archive.writestr(info, data)
    return out.getvalue()


def npy(array, **options):
    out = io.BytesIO()
    np.lib.format.write_array(out, array, **options)
    return out.getvalue()


def png(pixels, format="PNG"):
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format)
    return out.getvalue()


def safetensors_of(**arrays):
    names = {"float32": "F32", "float64": "F64", "int64": "I64", "uint8": "U8"}
    header, at, data = {}, 0, b""
    for name, array in arrays.items():
        offsets = [at, at + array.nbytes]
        header[name] = {
            "dtype": names[str(array.dtype)],
            "shape": list(array.shape),
            "data_offsets": offsets,
        }
        at += array.nbytes
        data += array.tobytes()
    return safetensors_raw(header, data)


def safetensors_raw(header, data, length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data
