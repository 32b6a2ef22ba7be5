"""Settings of a worker: environment variables with the prefix LRTUNER_."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from lrtuner.datasets.limits import MEBIBYTE
from lrtuner.datasets.limits import Limits as DatasetLimits
from lrtuner.logs import Style
from lrtuner.sources.code import AllowedList
from worker.sandbox.limits import Limits
from worker.sandbox.walls import WantedWalls


class Settings(BaseSettings):
    """What a worker can be told; the README lists every one."""

    model_config = SettingsConfigDict(
        env_prefix="LRTUNER_", env_ignore_empty=True, frozen=True, extra="ignore"
    )

    data_dir: Path = Field(
        default=Path(".lrtuner"), description="The folder of the default database, and of uploads."
    )
    database_url: str = Field(
        default_factory=lambda known: f"sqlite:///{known['data_dir'] / 'lrtuner.db'}",
        description="The database, shared with the API.",
    )
    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|mps|cuda(:\d{1,3})?)$",
        description="Where to train: auto, cpu, cuda, cuda:N or mps.",
    )
    public_url: str = Field(
        default="http://127.0.0.1:8470",
        description="Address under which the API is reached; written into `$schema`.",
    )
    lease_seconds: float = Field(
        default=30.0, ge=2, description="How long a silent worker keeps its job."
    )
    heartbeat_seconds: float = Field(
        default=0.5,
        gt=0,
        le=10,
        description="How often a worker renews its lease and looks for a cancel.",
    )
    poll_seconds: float = Field(
        default=0.5, gt=0, le=60, description="How often an idle worker looks for a job."
    )
    slots: Annotated[int, Field(ge=1, le=64)] | Literal["auto"] = Field(
        default="auto",
        description="How many runs of a job are trained at a time, each in a process of its own "
        "with one thread. auto: one for each core that is free for this worker, and one on a GPU.",
    )
    workers: int = Field(
        default=1,
        ge=1,
        description="How many workers share the machine: `auto` slots are divided by them. "
        "`lrtuner serve --workers` sets it.",
    )
    runner: Literal["local"] = Field(
        default="local", description="Who trains: local is processes on the worker's machine."
    )
    memory_limit_mb: int | None = Field(
        default=None,
        ge=256,
        description="Most memory (data, MiB) of a job's process and of each slot; no limit by "
        "default.",
    )
    max_dataset_mb: int = Field(
        default=8192,
        ge=1,
        le=1024**2,
        description="The largest dataset as arrays, in MiB, the same for the API.",
    )
    preload_mb: int = Field(
        default=1024,
        ge=1,
        le=1024**2,
        description="The largest dataset that is preloaded, in MiB; larger ones are streamed from "
        "files in `scratch` in the data folder.",
    )
    data_root: Path | None = Field(
        default=None,
        description="The folder below which jobs may name files as their dataset. Not set: none.",
    )
    sandbox: bool = Field(
        default=False, description="Train in a sandbox what this package brings itself, too."
    )
    code_memory_mb: int = Field(
        default=8192, ge=64, description="Most memory (MiB) of all processes of a sandbox."
    )
    code_answer_seconds: float = Field(
        default=3600.0, gt=0, description="Most seconds until a sandbox gives its next answer."
    )
    code_scratch_mb: int = Field(
        default=1024, ge=1, description="Most files (MiB) that a sandbox may write; they are lost."
    )
    code_processes: int = Field(
        default=128, ge=1, description="Most processes and threads of a sandbox."
    )
    code: bool = Field(
        default=False, description="Run projects of code that were uploaded, each in a sandbox."
    )
    code_walls: WantedWalls = Field(
        default="network-namespace|seccomp,mount-namespace|landlock",
        description="Walls without which no uploaded code is run, separated by commas; `a|b` wants "
        "one of the two.",
    )
    entrypoints: AllowedList = Field(
        default="",
        description="The functions that a job may name as its model: `package.module:function` or "
        "`package.*`, separated by commas; the same for the API. Not set: none.",
    )
    log_level: str = Field(
        default="info", pattern="^(debug|info|warning|error)$", description="Least level logged."
    )
    log_format: Style = Field(
        default="text", description="A line of text or of JSON for each thing that is logged."
    )

    metrics_port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="The port where Prometheus reads the worker, at /metrics. Not set: none.",
    )
    metrics_host: str = Field(default="127.0.0.1", description="The address of that port.")

    @property
    def dataset_limits(self) -> DatasetLimits:
        """How large a file of examples may be."""
        return DatasetLimits(
            array_bytes=self.max_dataset_mb * MEBIBYTE,
            preload_bytes=self.preload_mb * MEBIBYTE,
            scratch=(self.data_dir / "scratch").absolute(),
        )

    @property
    def code_limits(self) -> Limits:
        """What a sandbox may use."""
        return Limits(
            memory_mb=self.code_memory_mb,
            answer_seconds=self.code_answer_seconds,
            scratch_mb=self.code_scratch_mb,
            processes=self.code_processes,
        )
