"""Code that means harm: each is contained, told with its reason, and the next one runs at once.

None of it may harm the machine where a wall fails: what is endless elsewhere ends here by itself,
and only our own process is signalled, with a signal that it handles.
"""

import os
import signal
import socket
import threading
import time

import pytest

from tests.worker.sandbox.conftest import NO_NAMESPACES, needs
from worker.sandbox import watch
from worker.sandbox.errors import CodeError

SECRET = "postgresql://user:hunter2@db/lrtuner"


def told(sandbox):
    return sandbox.receive()["told"]


def ended(sandbox):
    """How it ended: the code and the message of the error."""
    with pytest.raises(CodeError) as caught:
        _take_all(sandbox)
    return caught.value.code, str(caught.value)


def _take_all(sandbox):
    while True:
        sandbox.receive()


@pytest.fixture(autouse=True)
def _the_next_one_runs(start):
    yield
    assert told(start("tell('at once')")) == "at once"


# secrets ------------------------------------------------------------------------------------------


def test_the_environment_holds_nothing_of_ours(start, skip, monkeypatch):
    monkeypatch.setenv("LRTUNER_DATABASE_URL", SECRET)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    monkeypatch.setenv("HTTPS_PROXY", "http://user:hunter2@proxy")
    found = told(start("import os; tell(dict(os.environ))", skip=skip))
    assert "hunter2" not in str(found)
    assert not [name for name in found if "LRTUNER" in name or "PROXY" in name]


def test_no_process_of_the_machine_can_be_read(start, skip):
    sandbox = start(
        """
        import glob, os
        found = []
        for path in (f"/proc/{ppid}/environ", f"/proc/{ppid}/mem", f"/proc/{ppid}/cwd",
                     f"/proc/{ppid}/root/etc", f"/proc/{ppid}/fd", "/proc/1/root/etc/shadow",
                     *glob.glob("/proc/[0-9]*/environ")):
            if path.split("/")[2] == str(os.getpid()):
                continue
            try:
                found.append((path, (os.listdir if os.path.isdir(path) else open)(path) and path))
            except OSError:
                pass
        tell([p for p, _ in found if int(p.split("/")[2]) == ppid or "root" in p])
        """,
        known={"ppid": os.getpid()},
        skip=skip,
    )
    needs(sandbox, "pid-namespace", "landlock")
    assert told(sandbox) == []


def test_the_parents_memory_cannot_be_read_or_traced(start, skip):
    sandbox = start(
        """
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        attach = libc.ptrace(0x4206, ppid, 0, 0)  # PTRACE_SEIZE: it would not stop us
        vector = (ctypes.c_size_t * 2)(ctypes.addressof(ctypes.create_string_buffer(8)), 8)
        read = libc.process_vm_readv(ppid, vector, 1, vector, 1, 0)
        child = libc.ptrace(0, 0, 0, 0)
        tell([attach, read, child])
        """,
        known={"ppid": os.getpid()},
        skip=skip,
    )
    needs(sandbox, "seccomp", "pid-namespace")
    assert told(sandbox) == [-1, -1, -1]


def test_files_are_not_there(start, skip, tmp_path):
    secret = tmp_path / "lrtuner.db"
    secret.write_text(SECRET)
    sandbox = start(
        """
        import os
        found = []
        for path in (secret, os.path.expanduser("~root"), "/home", "/etc/shadow", "/etc/passwd",
                     "/var/lib", repo + "/README.md", repo + "/.git"):
            try:
                found += [path] if (os.listdir(path) if os.path.isdir(path) else open(path)) else []
            except OSError:
                pass
        tell(found)
        """,
        known={"secret": str(secret), "repo": os.getcwd()},
        skip=skip,
    )
    needs(sandbox, "mount-namespace", "landlock")
    # below the home folder of root may be the interpreter, but nothing else is
    assert [path for path in told(sandbox) if path != "/root" or skip] == []


def test_a_hidden_folder_is_empty_wherever_it_lies(start, tmp_path):
    inside = tmp_path / "entry" / ".lrtuner"
    inside.mkdir()
    (inside / "lrtuner.db").write_text(SECRET)
    code = "import os; tell(os.listdir(folder))"
    sandbox = start(code, known={"folder": str(inside)}, hidden=[inside])
    needs(sandbox, "mount-namespace")
    assert told(sandbox) == []
    exposed = start(code, known={"folder": str(inside)}, hidden=[inside], skip=NO_NAMESPACES)
    assert "hidden-folders" in exposed.missing


# the network --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["tcp", "udp", "tcp6", "unix", "abstract", "raw", "netlink"])
def test_nobody_can_be_reached(start, skip, tmp_path, kind):
    address = tmp_path / "s"
    listening = {
        "tcp": (socket.AF_INET, ("127.0.0.1", 0)),
        "unix": (socket.AF_UNIX, str(address)),
        "abstract": (socket.AF_UNIX, f"\0lrtuner-{os.getpid()}"),
    }
    family, where = listening.get(kind, (socket.AF_INET, ("127.0.0.1", 0)))
    with socket.socket(family) as server:
        server.bind(where)
        server.listen()
        name = server.getsockname()
        sandbox = start(
            """
            import socket
            family, type = {
                "tcp": (socket.AF_INET, socket.SOCK_STREAM), "udp": (socket.AF_INET, 2),
                "tcp6": (socket.AF_INET6, 1), "unix": (socket.AF_UNIX, 1),
                "abstract": (socket.AF_UNIX, 1), "raw": (socket.AF_PACKET, socket.SOCK_RAW),
                "netlink": (socket.AF_NETLINK, socket.SOCK_RAW),
            }[kind]
            try:
                s = socket.socket(family, type)
                s.settimeout(0.2)
                if kind == "netlink":
                    s.bind((0, 0))
                elif kind == "udp":
                    s.sendto(b"x", tuple(name))
                else:
                    s.connect(name if isinstance(name, str) else tuple(name))
            except OSError as error:
                tell(type_ := "OSError")
            else:
                tell("connected")
            """,
            known={"kind": kind, "name": name.decode() if isinstance(name, bytes) else name},
            skip=skip,
        )
        needs(sandbox, "seccomp", "network-namespace")
        assert told(sandbox) == "OSError"


def test_names_cannot_be_resolved(start, skip):
    sandbox = start(
        """
        import socket
        try:
            tell(socket.getaddrinfo("example.org", 80) and "resolved")
        except OSError:
            tell("no")
        """,
        skip=skip,
    )
    assert told(sandbox) == "no"


# files --------------------------------------------------------------------------------------------


def test_nothing_can_be_written_outside_the_scratch_folder(start, skip, tmp_path):
    mine = tmp_path / "data"
    mine.mkdir()
    (mine / "kept").write_text("as it was")
    places = [str(mine), str(tmp_path), "/tmp", "/var/tmp", "/dev/shm", os.getcwd()]
    before = {place: set(os.listdir(place)) for place in places}
    sandbox = start(
        """
        import os, shutil
        written = []
        for place in places:
            for action in (
                lambda: open(f"{place}/from-inside", "w").write("x"),
                lambda: os.mkdir(f"{place}/folder-from-inside"),
                lambda: os.symlink("/etc", f"{place}/link-from-inside"),
            ):
                try:
                    action()
                    written.append(place)
                except OSError:
                    pass
        for action in (lambda: open(places[0] + "/kept", "w"),
                       lambda: os.unlink(places[0] + "/kept"),
                       lambda: os.truncate(places[0] + "/kept", 0),
                       lambda: os.chmod(places[0] + "/kept", 0o777),
                       lambda: os.chmod(places[0], 0o777),
                       lambda: os.utime(places[0] + "/kept", (0, 0)),
                       lambda: os.setxattr(places[0] + "/kept", "user.x", b"x"),
                       lambda: os.chown(places[0] + "/kept", os.getuid(), -1),
                       lambda: os.rename(places[0] + "/kept", "taken"),
                       lambda: os.rename(places[0] + "/kept", places[0] + "/moved")):
            try:
                action()
                written.append("kept")
            except OSError:
                pass
        open("mine", "w").write("x")
        tell([os.listdir("."), written])
        """,
        known={"places": places},
        readable=[mine],
        skip=skip,
    )
    needs(sandbox, "mount-namespace", "landlock")
    here, written = told(sandbox)
    assert "mine" in here
    # /tmp and /dev/shm are its own there, with empty folders on the way to what is shown
    own = {place for place in places if place.startswith(("/tmp", "/dev/shm"))} - {str(mine)}
    assert set(written) <= (set() if skip else own)
    assert (mine / "kept").read_text() == "as it was"
    for place, names in before.items():
        assert not [n for n in set(os.listdir(place)) - names if "from-inside" in n], place


def test_links_out_of_the_scratch_folder_lead_nowhere(start, skip, tmp_path):
    target = tmp_path / "target"
    target.mkdir()
    (target / "kept").write_text("as it was")
    sandbox = start(
        """
        import os
        os.symlink(target, "out")
        os.symlink("/", "root")
        os.mkdir("loop")
        os.symlink("../loop", "loop/loop")
        got = []
        for path in ("out/kept", "out/new", "root" + target + "/kept"):
            try:
                got.append(open(path, "w").write("x"))
            except OSError:
                pass
        try:
            got.append(os.link(target + "/kept", "hard"))
        except OSError:
            pass
        tell(got)
        """,
        known={"target": str(target)},
        skip=skip,
    )
    needs(sandbox, "mount-namespace", "landlock")
    assert told(sandbox) == []
    sandbox.close()  # removes the folder, and nothing behind the links
    assert (target / "kept").read_text() == "as it was"
    assert os.listdir(target) == ["kept"]


FILL = """
import os
written = 0
try:
    for number in range(30):
        with open(f"file-{number}", "wb") as file:
            written += file.write(b"x" * (1 << 20))
except OSError as error:
    tell([error.errno, written])
    raise
import time
time.sleep(20)
"""


def test_the_disk_cannot_be_filled(start):
    sandbox = start(FILL)
    needs(sandbox, "mount-namespace")
    number, written = told(sandbox)
    assert number == 28  # no space left
    assert written <= 8 << 20


def test_where_the_scratch_folder_is_on_disk_it_is_measured(start):
    sandbox = start(FILL, skip=NO_NAMESPACES, limits={"answer_seconds": 9})
    code, message = ended(sandbox)
    assert code == "code.disk_full"
    assert "8 MiB" in message
    assert "LRTUNER_CODE_SCRATCH_MB" in message


def test_one_file_cannot_be_larger_than_the_scratch_folder(start, skip):
    sandbox = start(
        """
        try:
            with open("big", "wb") as file:
                file.truncate(1 << 40)
            tell("made")
        except OSError as error:
            tell("refused")
        """,
        skip=skip,
    )
    assert told(sandbox) == "refused"


def test_very_many_files_are_refused(start):
    sandbox = start(
        """
        try:
            for number in range(200_000):
                open(f"{number}", "w").close()
        except OSError as error:
            tell([number, error.errno])
        """,
        limits={"answer_seconds": 20.0, "scratch_mb": 64},
    )
    needs(sandbox, "mount-namespace")
    number, error = told(sandbox)
    assert error == 28
    assert number < 100_000


# memory, time, processes --------------------------------------------------------------------------


def test_allocating_without_end_runs_into_a_memory_error(start, skip):
    sandbox = start(
        """
        kept = []
        try:
            for _ in range(64):
                kept.append(bytearray(8 << 20))
            tell(512)
        except MemoryError:
            held = len(kept) * 8
            kept.clear()
            tell(held)
        """,
        skip=skip,
    )
    assert told(sandbox) <= 96


SHARE = """
import mmap, time
kept = []
for _ in range(64):
    kept.append(mmap.mmap(-1, 8 << 20))
    kept[-1].write(b"x" * (8 << 20))
time.sleep(20)
"""

BREED = """
import os, time
for _ in range(6):
    if os.fork() == 0:
        kept = b"x" * (40 << 20)
        time.sleep(20)
time.sleep(20)
"""


@pytest.mark.parametrize("code", [SHARE, BREED], ids=["shared", "in-many-processes"])
def test_memory_that_no_rlimit_sees_ends_it(start, skip, code):
    found, message = ended(start(code, skip=skip))
    assert found == "code.out_of_memory"
    assert "96 MiB" in message


def test_what_processes_share_is_counted_once(start):
    sandbox = start(
        """
        import os, time
        kept = b"x" * (50 << 20)
        for _ in range(4):
            if os.fork() == 0:
                time.sleep(20)
        time.sleep(0.4)
        tell("alive")
        """
    )
    assert told(sandbox) == "alive"


FORKS = """
import os, time
for _ in range(200):
    try:
        if os.fork() == 0:
            time.sleep(20)
            os._exit(0)
    except OSError:
        time.sleep(0.1)
time.sleep(20)
"""

EXPONENTIAL = """
import os, time
for _ in range(8):
    try:
        os.fork()
    except OSError:
        pass
time.sleep(20)
"""

THREADS = """
import threading, time
for _ in range(200):
    try:
        threading.Thread(target=time.sleep, args=(20,)).start()
    except RuntimeError:
        time.sleep(0.1)
time.sleep(20)
"""


@pytest.mark.parametrize("code", [FORKS, EXPONENTIAL, THREADS], ids=["forks", "all", "threads"])
def test_forking_without_end(start, skip, code):
    sandbox = start(code, skip=skip, limits={"answer_seconds": 20.0, "memory_mb": 1024})
    found, message = ended(sandbox)
    assert found == "code.too_many_processes"
    assert "12 processes" in message


@pytest.mark.parametrize("code", ["import time; time.sleep(20)", "while True: pass"])
def test_an_answer_that_does_not_come(start, skip, code):
    began = time.monotonic()
    found, message = ended(start(code, skip=skip, limits={"answer_seconds": 0.3}))
    assert found == "code.timed_out"
    assert "0.3 s" in message
    assert time.monotonic() - began < 5


def test_signals_do_not_save_it(start, skip):
    code = """
    import signal, time
    for number in range(1, 65):
        try:
            signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError):
            pass
    while True:
        time.sleep(1)
    """
    assert ended(start(code, skip=skip, limits={"answer_seconds": 0.3}))[0] == "code.timed_out"


# ends and escapes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "how"),
    [
        ("import os; os._exit(7)", "status 7"),
        ("import os; os._exit(0)", "status 0"),
        ("import sys; sys.exit('goodbye')", "goodbye"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
        ("import ctypes; ctypes.string_at(0)", "SIGSEGV"),
        ("import os; os.abort()", "SIGABRT"),
        ("raise ValueError('no such thing')", "ValueError: no such thing"),
    ],
)
def test_hard_ends_are_told(start, skip, code, how):
    found, message = ended(start(code, skip=skip))
    assert found == "code.crashed"
    assert how in message


SIGNAL = """
import os
done = []
for number in (0, signal):
    try:
        os.kill(ppid, number)
        done.append(number)
    except OSError:
        pass
tell(done)
"""


def test_the_parent_cannot_be_signalled(start, skip, heard):
    sandbox = start(SIGNAL, known={"ppid": os.getpid(), "signal": signal.SIGUSR1}, skip=skip)
    needs(sandbox, "pid-namespace", "seccomp", "landlock")
    assert told(sandbox) == []
    assert not heard


@pytest.fixture
def heard():
    """The signals that reached us; one that would end nobody."""
    signals: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: signals.append(number))
    yield signals
    signal.signal(signal.SIGUSR1, before)


def test_without_landlock_seccomp_keeps_signals_in(start, heard):
    known = {"ppid": os.getpid(), "signal": signal.SIGUSR1}
    sandbox = start(SIGNAL, known=known, skip=(*NO_NAMESPACES, "landlock"))
    needs(sandbox, "seccomp")
    assert told(sandbox) == []
    assert not heard


def test_daemons_end_with_it(start, skip):
    sandbox = start(
        """
        import os, time
        for _ in range(2):
            if os.fork() == 0:
                try:
                    os.setsid()
                except OSError:
                    pass
                if os.fork() != 0:
                    os._exit(0)
                os.closerange(0, 3)
                time.sleep(20)
        os.wait()
        tell("left")
        """,
        skip=skip,
    )
    assert told(sandbox) == "left"
    pid = sandbox.pid
    assert len(watch.session(pid)) >= 2
    sandbox.close()
    assert not watch.session(pid)


def test_what_is_left_behind_holds_nothing_open(start, skip):
    """The code has ended, and a child of it still holds the pipe."""
    code = """
    import os, time
    if os.fork() == 0:
        time.sleep(20)
    os._exit(3)
    """
    began = time.monotonic()
    found, message = ended(start(code, skip=skip, limits={"answer_seconds": 20.0}))
    assert (found, "status 3" in message) == ("code.crashed", True)
    assert time.monotonic() - began < 5


def test_gigabytes_of_output_are_bounded(start, skip):
    sandbox = start(
        """
        import os
        while True:
            os.write(1, b"y" * 65536)
            os.write(2, b"z" * 65536)
        """,
        skip=skip,
        limits={"answer_seconds": 0.6},
    )
    found, message = ended(sandbox)
    assert found == "code.timed_out"
    assert "yyyyy" in message or "zzzzz" in message
    assert len(sandbox.output) <= 4096
    assert len(message) <= 500


def test_limits_cannot_be_raised(start, skip):
    sandbox = start(
        """
        import ctypes, os, resource
        got = []
        for which in (resource.RLIMIT_DATA, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE):
            try:
                resource.setrlimit(which, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
                got.append(which)
            except (OSError, ValueError):
                pass
        try:
            resource.prlimit(ppid, resource.RLIMIT_CORE, (0, 0))
            got.append("parent")
        except OSError:
            pass
        for attempt in (lambda: os.setuid(0), lambda: os.chroot("."), lambda: os.nice(-5)):
            try:
                attempt()
                got.append(os.getuid())
            except OSError:
                pass
        if ctypes.CDLL(None).unshare(0x10000000) == 0:
            got.append("namespace")
        tell(got)
        """,
        known={"ppid": os.getpid()},
        skip=skip,
    )
    needs(sandbox, "seccomp")
    # root that stays root, without any capability, may call itself root
    allowed = [0] if "unprivileged-user" in sandbox.missing and os.geteuid() == 0 else []
    assert told(sandbox) == allowed


# the pipe -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bytes_", "why"),
    [
        ("b'\\x00\\x00\\x00\\x05hello'", "not JSON"),
        ("b'\\x00\\x00\\x00\\x02[]'", "not a JSON object"),
        ("b'\\x00\\x00\\x00\\x0b{\"a\": NaN} '", "NaN"),
        ("b'\\x00\\x00\\x00\\x0b{\"a\":1e999}'", "too large"),
        ("b'\\x00\\x00\\x00\\x03\\xff\\xfe\\xfd'", "not JSON"),
        ("b'\\xff\\xff\\xff\\xff' + b'x' * 1000", "at most"),
        ("b'\\x00\\x01\\x86\\xa0' + b'[' * 100000", "not JSON"),
        ("b'\\x80\\x04\\x95\\x00' * 100", "at most"),  # a pickle
    ],
    ids=["text", "list", "nan", "infinity", "bytes", "length", "deep", "pickle"],
)
def test_messages_that_are_none(start, bytes_, why):
    code = f"pipe._end.sendall({bytes_})\nimport time\ntime.sleep(20)"
    found, message = ended(start(code))
    assert found == "code.protocol"
    assert why in message


def test_a_message_that_never_ends(start):
    code = "pipe._end.sendall(b'\\x01\\x00\\x00\\x00')\nwhile True: pipe._end.sendall(b' ')"
    found, _ = ended(start(code, limits={"answer_seconds": 0.3}))
    assert found == "code.timed_out"


def test_a_message_that_breaks_off(start):
    found, _ = ended(start("pipe._end.sendall(b'\\x00\\x00\\x00\\x09{')"))
    assert found == "code.crashed"


def test_a_pipe_that_is_closed(start):
    code = "import os, time\npipe._end.close()\nos.closerange(3, 100)\ntime.sleep(20)"
    found, message = ended(start(code))
    assert found == "code.crashed"
    assert "pipe" in message


def test_a_question_that_is_not_taken(start):
    sandbox = start("import time; time.sleep(20)", limits={"answer_seconds": 0.3})
    with pytest.raises(CodeError, match="no answer") as caught:
        sandbox.send({"large": "x" * 10_000_000})
    assert caught.value.code == "code.timed_out"


def test_what_comes_unasked_waits_and_costs_nothing(start):
    """Nobody reads: the kernel's buffer fills, and who sends has to wait."""
    sandbox = start("while True: pipe.send({'told': 'x' * 1000})")
    assert threading.active_count() < 50
    assert told(sandbox).startswith("x")
