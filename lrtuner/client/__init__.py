"""A synchronous client of the HTTP API: submit a job, wait for it, download the recommendation.

with Client.from_environment() as client:
    job = client.submit(spec)
    job = client.wait(job.id, timeout=600)
    config = client.recommendation(job.id)

LRTunerError
├── ServerUnreachableError   nobody answers, or nobody who speaks this API
├── ProblemError             the service refused; carries its problem
└── WaitTimeoutError         the job had not finished in time; it goes on
"""

from lrtuner.client.answers import (
    Dataset,
    Event,
    Job,
    JobProgress,
    JobVerdict,
    Problem,
    Project,
    Submitted,
)
from lrtuner.client.api import Client
from lrtuner.client.errors import ProblemError, ServerUnreachableError, WaitTimeoutError
from lrtuner.client.transport import DEFAULT_URL

__all__ = [
    "DEFAULT_URL",
    "Client",
    "Dataset",
    "Event",
    "Job",
    "JobProgress",
    "JobVerdict",
    "Problem",
    "ProblemError",
    "Project",
    "ServerUnreachableError",
    "Submitted",
    "WaitTimeoutError",
]
