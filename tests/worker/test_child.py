"""The process that trains: what it logs."""

import io
import json
import logging

from lrtuner import logs
from worker import child, order


def test_what_it_logs_says_of_which_job_and_attempt(monkeypatch, capsys):
    def fail(*_):
        logging.getLogger("some.library").warning("odd")
        raise RuntimeError("a fault of ours")

    told = {"job_id": "job_a", "attempt": 3, "memory_limit_mb": None}
    told["log"] = {"level": "info", "style": "json"}
    out = io.StringIO()
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(told) + "\n"))
    monkeypatch.setattr(child, "_private_stdout", lambda: out)
    monkeypatch.setattr(child, "_exit_at_eof", lambda: None)
    monkeypatch.setattr(order, "_train", fail)
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        assert child.main() == 0
    finally:
        root.handlers[:], root.level = before
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["message"], line["job_id"], line["attempt"]) for line in lines] == [
        ("odd", "job_a", 3),
        ("broke off", "job_a", 3),
    ]
    assert "RuntimeError: a fault of ours" in lines[1]["exception"]
    assert json.loads(out.getvalue())["error"]["code"] == "internal_error"
    assert not logs._about.get()
