"""The endpoints, one module per subject. A new module adds its router to `ROUTERS`."""

from service.routes import (
    code,
    datasets,
    evidence,
    health,
    jobs,
    plots,
    recommendations,
    report,
    schedules,
    webhooks,
)

# The one line that a new endpoint module adds itself to.
ROUTERS = (
    jobs.router,
    datasets.router,
    code.router,
    evidence.router,
    recommendations.router,
    plots.router,
    report.router,
    schedules.router,
    webhooks.router,
    health.router,
)
