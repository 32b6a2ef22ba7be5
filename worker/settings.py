"""Settings of a worker: those that it shares with the API, and its own."""

from typing import Annotated, Literal

from pydantic import Field

from lrtuner.settings import SharedSettings
from worker.sandbox.limits import Limits
from worker.sandbox.walls import WantedWalls

DEFAULT_PUBLIC_URL = "http://127.0.0.1:8470"
"""Where a config's `$schema` is said to be if nobody says otherwise."""


class Settings(SharedSettings):
    """What a worker can be told; the README lists every one."""

    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|mps|cuda(:\d{1,3})?)$",
        description="Where to train: auto, cpu, cuda, cuda:N or mps.",
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
    runner: Literal["local", "ray"] = Field(
        default="local",
        description="Who trains: local is processes on the worker's machine, ray the nodes of a "
        "Ray cluster.",
    )
    ray_address: str | None = Field(
        default=None,
        pattern=r"^(\[[0-9A-Fa-f:]+\]|[^:/\s]+):\d{1,5}$",
        description="host:port of the head of the Ray cluster.",
    )
    ray_gpus_per_slot: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="The share of a GPU that each run on a Ray cluster takes; it limits how many "
        "share one, not their memory.",
    )
    memory_limit_mb: int | None = Field(
        default=None,
        ge=256,
        description="Most memory (data, MiB) of a job's process and of each slot; no limit by "
        "default.",
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
    code_walls: WantedWalls = Field(
        default="network-namespace|seccomp,mount-namespace|landlock",
        description="Walls without which no uploaded code is run, separated by commas; `a|b` wants "
        "one of the two.",
    )
    metrics_port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="The port where Prometheus reads the worker, at /metrics. Not set: none.",
    )
    metrics_host: str = Field(default="127.0.0.1", description="The address of that port.")

    @property
    def code_limits(self) -> Limits:
        """What a sandbox may use."""
        return Limits(
            memory_mb=self.code_memory_mb,
            answer_seconds=self.code_answer_seconds,
            scratch_mb=self.code_scratch_mb,
            processes=self.code_processes,
        )
