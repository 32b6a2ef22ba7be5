"""What a node of a Ray cluster tells of itself, for every job: standard library only, so soon."""

import os
import platform
from importlib.metadata import version
from typing import Any


def described() -> dict[str, Any]:
    """The versions here, and how Ray was started."""
    return {
        "node": platform.node(),
        "lrtuner": version("lrtuner"),
        "torch": version("torch"),
        "authenticated": os.environ.get("RAY_AUTH_MODE", "").lower() == "token",
        "reports_usage": os.environ.get("RAY_USAGE_STATS_ENABLED") != "0",
    }
