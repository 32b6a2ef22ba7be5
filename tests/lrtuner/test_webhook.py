"""The webhook of a job: addresses that every reader takes for the same, and secrets."""

import base64

import pytest
from pydantic import ValidationError

from lrtuner.job import JobSpec
from lrtuner.webhook import WEBHOOK_EVENTS, Receiver, Webhook, secret_bytes
from service.openapi import SMALLEST_JOB

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OTHER = "whsec_" + base64.b64encode(bytes(24)).decode()


@pytest.mark.parametrize(
    "url",
    [
        "https://ci.example.org/hooks/1?token=a%20b",
        "http://ci.example.org:8080",
        "https://ci.example.org:443/",
        "HTTPS://CI.Example.org/x",
        "https://xn--bcher-kva.example/",
        "https://8.8.8.8/x",
        "https://[2606:4700::1111]:8443/x",
        "https://a_b.example/",
        "http://receiver:9000/",
        "https://ci.example.org/a@b",
    ],
)
def test_addresses(url):
    assert Receiver(url=url).url == url


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("", "at least 1 character"),
        ("https://ci.example.org/" + "x" * 2000, "at most 2000"),
        ("ci.example.org", "https://"),
        ("//ci.example.org", "https://"),
        ("ftp://ci.example.org", "https://"),
        ("file:///etc/passwd", "https://"),
        ("gopher://ci.example.org:6379/_FLUSHALL", "https://"),
        ("https://user@ci.example.org", "user"),
        ("https://8.8.8.8@127.0.0.1/", "user"),
        ("https://127.0.0.1%40ci.example.org/", "host name"),
        ("https://ci.example.org/#x", "fragment"),
        ("https://ci.example.org#@127.0.0.1/", "fragment"),
        ("https://ci.example.org\\@127.0.0.1/", "backslashes"),
        ("https://ci.example.org/\r\nHost: x", "printable"),
        ("https://ci.example.org/\t", "printable"),
        ("https://ci example.org/", "spaces"),
        ("https://bücher.example/", "xn--"),
        ("https://①②⑦.⓪.⓪.①/", "ASCII"),
        ("https://\uff11\uff12\uff17.0.0.1/", "ASCII"),
        ("https://127。0。0。1/", "ASCII"),
        ("https://localhost./", "dot"),
        ("https://ci.example.org./", "dot"),
        ("https://.example.org/", "host name"),
        ("https://a..b/", "host name"),
        ("https://-a.example/", "host name"),
        ("https:///path", "host name"),
        ("https://", "host name"),
        ("https://ci.example.org:/", "host name"),
        ("https://ci.example.org:22/", "port 22"),
        ("https://ci.example.org:25/", "port 25"),
        ("https://ci.example.org:0/", "port 0"),
        ("https://ci.example.org:65536/", "port"),
        ("https://ci.example.org:80:80/", "port"),
        ("https://2130706433/", "decimal"),
        ("https://0x7f000001/", "decimal"),
        ("https://0x7f.1/", "decimal"),
        ("https://0177.0.0.1/", "decimal"),
        ("https://127.1/", "decimal"),
        ("https://127.0.1/", "decimal"),
        ("https://127.0.0.0x1/", "decimal"),
        ("https://127.0.0.01/", "decimal"),
        ("https://1.2.3.4.5/", "decimal"),
        ("https://ci.example.0x7f/", "decimal"),
        ("https://[::1/", "host"),
        ("https://[127.0.0.1]/", "host"),
        ("https://[fe80::1%25eth0]/", "interface"),
        ("https://[::ffff:0x7f.0.0.1]/", "host"),
    ],
)
def test_addresses_that_are_refused(url, told):
    with pytest.raises(ValidationError) as caught:
        Receiver(url=url)
    [error] = caught.value.errors()
    assert error["loc"] == ("url",)
    assert told in error["msg"]


def test_secrets():
    assert secret_bytes(SECRET) == [bytes(range(32))]
    assert secret_bytes(f"{SECRET}  {OTHER}") == [bytes(range(32)), bytes(24)]
    for wrong in (
        "", " ", "secret", SECRET.removeprefix("whsec_"), "whsec_", "whsec_AAAA", SECRET + "!",
        "whsec_" + "A" * 200, "whsec_é", f"{SECRET} x", " ".join([SECRET] * 5),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="secret") as caught:
            secret_bytes(wrong)
        assert len(wrong) < 10 or wrong not in str(caught.value)


def test_a_secret_is_in_nothing_that_is_written_down():
    job = JobSpec.model_validate(
        SMALLEST_JOB | {"webhook": {"url": "https://ci.example.org", "secret": SECRET}}
    )
    assert job.webhook.secret == SECRET
    for text in (repr(job), str(job), job.model_dump_json(), str(job.model_dump())):
        assert SECRET[6:20] not in text
        assert "https://ci.example.org" in text
    again = JobSpec.model_validate(job.model_dump(mode="json", by_alias=True))
    assert (again.webhook.url, again.webhook.secret) == ("https://ci.example.org", None)


def test_events():
    assert Webhook(url="https://ci.example.org").events == list(WEBHOOK_EVENTS)
    for events in ([], ["job.queued"], ["job.failed", "job.failed"]):
        with pytest.raises(ValidationError):
            Webhook(url="https://ci.example.org", events=events)
