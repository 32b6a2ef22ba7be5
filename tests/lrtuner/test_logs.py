"""What a collector of logs reads."""

import json
import logging
import threading
from datetime import datetime

import pytest

from lrtuner import logs


@pytest.fixture(autouse=True)
def root():
    """Put the root logger back as it was."""
    logger = logging.getLogger()
    before = logger.handlers[:], logger.level
    yield logger
    logger.handlers[:], logger.level = before


def lines(capsys):
    return capsys.readouterr().err.splitlines()


def test_a_line_of_json_has_what_it_is_about_as_fields(capsys):
    logs.configure("info", "json")
    with logs.about(job_id="job_a", attempt=2), logs.about(request_id="req_1"):
        logging.getLogger("lrtuner.worker").info("done: %s", 'a "quoted"\nline')
    [line] = lines(capsys)
    found = json.loads(line)
    assert datetime.fromisoformat(found.pop("time")).tzinfo is not None
    assert found == {
        "level": "INFO",
        "logger": "lrtuner.worker",
        "message": 'done: a "quoted"\nline',
        "job_id": "job_a",
        "attempt": 2,
        "request_id": "req_1",
    }


def test_an_exception_is_one_line_of_json_too(capsys):
    logs.configure("info", "json")
    try:
        int("no")
    except ValueError:
        logging.getLogger("x").exception("broke off")
    [line] = lines(capsys)
    assert "ValueError: invalid literal" in json.loads(line)["exception"]


def test_a_line_of_text_says_what_it_is_about_before_the_message(capsys):
    logs.configure("info", "text")
    with logs.about(job_id="job_a", attempt=1):
        logging.getLogger("x").info("begins")
    logging.getLogger("x").info("waits")
    first, second = lines(capsys)
    assert first.endswith("INFO x [job_id=job_a] [attempt=1] begins")
    assert second.endswith("INFO x waits")


def test_what_a_line_is_about_cannot_replace_what_it_says(capsys):
    logs.configure("info", "json")
    with logs.about(levelname="FAKE", msg="fake"):
        logging.getLogger("x").info("true")
    found = json.loads(lines(capsys)[0])
    assert (found["level"], found["message"]) == ("INFO", "true")


def test_threads_say_what_they_themselves_are_about(capsys):
    logs.configure("info", "json")

    def elsewhere():
        logging.getLogger("x").info("elsewhere")

    with logs.about(job_id="job_a"):
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    assert "job_id" not in json.loads(lines(capsys)[0])


@pytest.mark.parametrize("style", ["text", "json"])
def test_only_from_the_level_on(capsys, style):
    logs.configure("warning", style)
    logging.getLogger("x").info("quiet")
    logging.getLogger("alembic").info("quiet")
    logging.getLogger("x").warning("loud")
    assert len(lines(capsys)) == 1
