"""Archives of code that nobody should be able to do anything with."""

import gzip
import io
import stat
import struct
import tarfile
import zipfile

from lrtuner.projects import Limits
from tests.conformance.dataset_samples import zip_of
from tests.service.hostile import entry, flagged, sized

GOOD = b"def build(context):\n    raise NotImplementedError\n"
MAIN = {"lrtune.py": GOOD}
DEFLATED = zipfile.ZIP_DEFLATED
MEBIBYTE = 1024 * 1024


def with_entry(name, data=b"pwned", mode=0):
    """A project with one entry more."""
    return zip_of({**MAIN, entry(name, mode): data})


def named(name):
    """A project with an entry of exactly this name, also where the library would correct it."""
    held = b"x" * len(name)
    return with_entry(held.decode()).replace(held, name.encode())


def main(source, **more):
    return zip_of({"lrtune.py": source, **more}, DEFLATED)


def twice(first, second):
    """Two entries of which the second is renamed after the archive was made."""
    held = b"y" * len(second.encode())
    data = zip_of({**MAIN, first: b"1", held.decode(): b"2"})
    if second.isascii():
        return data.replace(held, second.encode())
    return zip_of({**MAIN, first: b"1", second: b"2"})


def other_name_inside():
    """The directory says another name than the entry itself."""
    data = with_entry("aa/evil.py")
    where = data.index(b"aa/evil.py")
    return data[:where] + b"../evil.py" + data[where + 10 :]


def overlapping():
    """Two entries of the directory that lead to the same bytes, under the name of the first."""
    data = bytearray(zip_of({**MAIN, "a.py": b"x" * 50, "b.py": b"x" * 50}))
    a = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 4)
    b = data.index(b"PK\x01\x02", a + 4)
    data[b + 42 : b + 46] = data[a + 42 : a + 46]
    return bytes(data)


def end_changed(at, text):
    """A field of the record at the end of the archive overwritten."""
    data = bytearray(zip_of(MAIN))
    end = data.rindex(b"PK\x05\x06")
    data[end + at : end + at + len(text)] = text
    return bytes(data)


def tarball():
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as opened:
        opened.addfile(tarfile.TarInfo("lrtune.py"))
    return file.getvalue()


LIMITS = Limits()
PLAIN = zip_of(MAIN)
LARGE = zip_of({"lrtune.py": GOOD, "x.bin": bytes(range(256)) * 64}, DEFLATED)

#: Name, and what is sent.
ARCHIVES = {
    # names
    "out of the folder": named("../evil.py"),
    "out of the folder, later": named("a/b/../../../evil.py"),
    "the folder above": named(".."),
    "absolute": named("/tmp/evil.py"),
    "absolute, twice": named("//tmp/evil.py"),
    "drive": named("C:evil.py"),
    "drive and backslash": named("C:\\evil.py"),
    "backslashes": named("..\\evil.py"),
    "share": named("\\\\host\\share"),
    "stream of another file": named("lrtune.py:evil"),
    "NUL": named("evil.py\0.txt"),
    "line break": named("evil\n.py"),
    "escape sequence": named("evil\x1b[2J.py"),
    "written from right to left": with_entry("evil\u202eyp.exe"),
    "invisible": with_entry("evil\u200b.py"),
    "dot": named("./evil.py"),
    "empty part": named("a//evil.py"),
    "dot in between": named("a/./evil.py"),
    "only dots": named("..."),
    "space at the end": named("evil.py "),
    "dot at the end": named("evil.py."),
    "a part too long": named("a" * (LIMITS.name_bytes + 1)),
    "too long altogether": named("/".join(["a" * 50] * 21)),
    "too deep": named("a/" * 600 + "b"),
    "another name inside": other_name_inside(),
    # twice
    "twice": twice("evil.py", "evil.py"),
    "lrtune.py twice": twice("a.py", "lrtune.py"),
    "twice but for capitals": twice("evil.py", "Evil.py"),
    "twice but for capitals of a folder": twice("a/evil.py", "A/evil.py"),
    "twice in two forms": twice("\u00e9.py", "e\u0301.py"),
    "a file and a folder": twice("a", "a/evil.py"),
    "a folder and a file": twice("a/evil.py", "a"),
    "sharing bytes": overlapping(),
    # kinds
    "link": with_entry("evil", b"/etc/passwd", stat.S_IFLNK | 0o777),
    "link as lrtune.py": zip_of({entry("lrtune.py", stat.S_IFLNK | 0o777): b"/etc/passwd"}),
    "device": with_entry("evil", mode=stat.S_IFCHR | 0o666),
    "disk": with_entry("evil", mode=stat.S_IFBLK | 0o666),
    "pipe": with_entry("evil", mode=stat.S_IFIFO | 0o666),
    "socket": with_entry("evil", mode=stat.S_IFSOCK | 0o666),
    "encrypted": flagged(PLAIN, 6, 1),
    "packed with bzip2": zip_of(MAIN, zipfile.ZIP_BZIP2),
    "packed with lzma": zip_of(MAIN, zipfile.ZIP_LZMA),
    "packed in an unknown way": flagged(PLAIN, 8, 93),
    # sizes
    "bomb": main(GOOD, zeros=bytes(40 * MEBIBYTE)),
    "many small bombs": main(GOOD, **{f"z{i}": bytes(MEBIBYTE) for i in range(60)}),
    "too many entries": zip_of({**MAIN, **{f"{i}.py": b"" for i in range(LIMITS.entries)}}),
    "more than it says": sized(main(GOOD * 50), 10),
    "less than it says": sized(main(GOOD * 50), 10_000),
    "gigabytes, it says": sized(PLAIN, 2**32 - 2),
    # damage
    "no archive": b"def build(context): ...\n",
    "only an end": zip_of({}),
    "tar": tarball(),
    "gzip": gzip.compress(GOOD),
    "cut short": LARGE[:-40],
    "only its second half": LARGE[len(LARGE) // 2 :],
    "changed inside": PLAIN.replace(b"raise", b"erase"),
    "a directory elsewhere": end_changed(16, struct.pack("<I", 2**31)),
    "a directory of gigabytes": end_changed(12, struct.pack("<I", 2**32 - 2)),
    "noise": bytes(range(256)) * 400,
    # lrtune.py
    "no lrtune.py": zip_of({"train.py": GOOD}),
    "lrtune.py in a folder": zip_of({"project/lrtune.py": GOOD}),
    "lrtune.py as a folder": zip_of({"lrtune.py/": b"", "lrtune.py/a.py": GOOD}),
    "lrtune.py in capitals": zip_of({"LRTune.py": GOOD}),
    "no Python": main(b"def build(context):\n  return (\n"),
    "Python 2": main(b"print 'hello'\n"),
    "NUL in it": main(b"def build(context):\n    '\0'\n"),
    "not UTF-8": main("def build(context): 'caf\u00e9'\n".encode("latin-1")),
    "an encoding that is none": main(b"# coding: rot13\n" + GOOD),
    "nested deeply": main(b"(" * 100_000 + b")" * 100_000),
    "operators without end": main(b"x = " + b"-" * 500_000 + b"1\n"),
    "a number without end": main(b"x = " + b"9" * 900_000 + b"\n"),
    "lrtune.py too large": main(b"#" * (LIMITS.main_bytes + 1)),
    "empty": b"",
}

#: What a project may be called.
NAMES = ["../../evil.zip", "/etc/evil.zip", "C:evil.zip", "..", "a\0.zip", "x" * 300, ""]
