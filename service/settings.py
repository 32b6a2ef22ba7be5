"""Settings of the API: those that it shares with the workers, and its own."""

from enum import StrEnum

from pydantic import Field

from lrtuner.settings import SharedSettings


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
    auth: Auth = Field(
        default=Auth.AUTO,
        description="Who may use the service while it has no API key: with `auto` whoever asks "
        "from this machine, if it listens on a loopback address only; with `required` nobody; "
        "with `open` everybody. Once there is a key, every request needs one.",
    )
