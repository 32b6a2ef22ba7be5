"""Settings of the API: those that it shares with the workers, and its own."""

from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from lrtuner.settings import SharedSettings
from lrtuner.store.quotas import Quotas
from lrtuner.webhook import secret_bytes
from service.addresses import NetworkList


def _signing_secret(value: SecretStr) -> SecretStr:
    secret_bytes(value.get_secret_value())
    return value


class Auth(StrEnum):
    """Who may use a service that has no API key yet; once there is one, every request needs one."""

    AUTO = "auto"
    REQUIRED = "required"
    OPEN = "open"


class Settings(SharedSettings):
    """What the API can be told; the README lists every one."""

    max_body_bytes: int = Field(
        default=1024 * 1024,
        ge=1024,
        le=1024**3,
        description="The largest request body accepted, in bytes; larger ones get a 413.",
    )
    max_upload_mb: int = Field(
        default=512,
        ge=1,
        le=1024**2,
        description="The largest dataset that can be uploaded, in MiB; larger ones get a 413.",
    )
    max_attempts: int = Field(
        default=3,
        ge=1,
        le=1000,
        description="After so many lost or broken off attempts a job fails. Handing a job back at "
        "shutdown is none.",
    )
    retention_days: float | None = Field(
        default=None,
        gt=0,
        le=100_000,
        description="After so many days the trials and range test of a finished job are removed; "
        "its recommendation never is. Default: all is kept.",
    )
    max_queued_per_key: int | None = Field(
        default=10_000,
        ge=1,
        le=1_000_000,
        description="Most jobs of one API key that wait at the same time; without keys, most of "
        "all. One more is a 429.",
    )
    max_running_per_key: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="Most jobs of one API key that run at the same time; the others wait. "
        "Default: any number.",
    )
    submits_per_minute_per_key: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="Most jobs that one API key can submit in any 60 seconds; one more is a 429. "
        "Default: any number.",
    )
    auth: Auth = Field(
        default=Auth.AUTO,
        description="Who may use the service while it has no API key: with `auto` whoever asks "
        "from this machine, if it listens on a loopback address only; with `required` nobody; "
        "with `open` everybody. Once there is a key, every request needs one.",
    )
    webhook_secret: Annotated[SecretStr, AfterValidator(_signing_secret)] | None = Field(
        default=None,
        repr=False,
        description="What signs messages to webhooks that bring no secret: `whsec_...`, or several "
        "separated by spaces while one replaces another. Not set: webhooks need their own.",
    )
    webhook_allow: NetworkList = Field(
        default="",
        description="Networks that webhooks may lead to although they are not public: "
        "`10.1.0.0/16,127.0.0.1/32`. Not set: none.",
    )
    webhook_retention_days: float = Field(
        default=30,
        gt=0,
        le=100_000,
        description="After so many days messages to webhooks are removed, if they are not still to "
        "be delivered.",
    )

    @property
    def quotas(self) -> Quotas:
        """What a key may do that has no quotas of its own."""
        return Quotas(
            max_queued=self.max_queued_per_key,
            max_running=self.max_running_per_key,
            submits_per_minute=self.submits_per_minute_per_key,
        )
