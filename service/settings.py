"""What can be configured: environment variables with the prefix `LRTUNER_`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from lrtuner.logs import Style
from lrtuner.sources.code import AllowedList
from lrtuner.store.quotas import Quotas


def _default_database(validated: dict[str, Any]) -> str:
    return f"sqlite:///{validated['data_dir'] / 'lrtuner.db'}"


def _web_address(value: str) -> str:
    if value and not value.startswith(("http://", "https://")):
        raise ValueError("must start with http:// or https://")
    return value.rstrip("/")


class Auth(StrEnum):
    """Who may use a service that has no API key yet; once there is one, every request needs one."""

    AUTO = "auto"
    REQUIRED = "required"
    OPEN = "open"


class Settings(BaseSettings):
    """The settings of the API. An empty variable counts as not set."""

    model_config = SettingsConfigDict(
        env_prefix="LRTUNER_", env_ignore_empty=True, frozen=True, extra="ignore"
    )

    data_dir: Path = Field(
        default=Path(".lrtuner"),
        description="The folder of the default database and of uploads. Worker and API must see "
        "the same one.",
    )
    database_url: str = Field(
        default_factory=_default_database,
        repr=False,  # it may hold a password
        description="The database, shared with the workers: `sqlite:///path` or "
        "`postgresql+psycopg://user:password@host/name`. Default: `lrtuner.db` in the data folder.",
    )
    public_url: Annotated[str, AfterValidator(_web_address)] = Field(
        default="",
        description="The address under which clients reach the API, such as "
        "`https://lrtuner.example.org`; links start with it. Default: links are bare paths.",
    )
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
    max_dataset_mb: int = Field(
        default=8192,
        ge=1,
        le=1024**2,
        description="The largest dataset as arrays, in MiB, the same for the workers.",
    )
    preload_mb: int = Field(
        default=1024,
        ge=1,
        le=1024**2,
        description="The largest dataset that lies in memory as arrays, in MiB, the same for the "
        "workers; larger ones are streamed from files in `scratch` in the data folder.",
    )
    log_level: str = Field(
        default="info", pattern="^(debug|info|warning|error)$", description="Least level logged."
    )
    log_format: Style = Field(
        default="text", description="A line of text or of JSON for each thing that is logged."
    )
    retention_days: float | None = Field(
        default=None,
        gt=0,
        le=100_000,
        description="After so many days the trials and range test of a finished job are removed; "
        "its recommendation never is. Default: all is kept.",
    )
    data_root: Path | None = Field(
        default=None,
        description="The folder below which jobs may name files as their dataset. Not set: none.",
    )
    code: bool = Field(
        default=False,
        description="Accept projects of code, and jobs whose model is one. Set it for the workers, "
        "too: it is they who run the code.",
    )
    entrypoints: AllowedList = Field(
        default="",
        description="The functions that a job may name as its model: `package.module:function` or "
        "`package.*`, separated by commas; the same for the workers. Not set: none.",
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

    @property
    def quotas(self) -> Quotas:
        """What a key may do that has no quotas of its own."""
        return Quotas(
            max_queued=self.max_queued_per_key,
            max_running=self.max_running_per_key,
            submits_per_minute=self.submits_per_minute_per_key,
        )
