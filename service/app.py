"""Puts the pieces together: `create_app(settings)`."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio import CapacityLimiter
from fastapi import Depends, FastAPI
from prometheus_client import CollectorRegistry

import lrtuner
from lrtuner.datasets.limits import MEBIBYTE
from lrtuner.projects import Limits
from lrtuner.store import open_database
from service import errors
from service.access import granted
from service.delivering import Delivering, tries_counter
from service.housekeeping import keep_house
from service.inspecting import INSPECTIONS_AT_ONCE
from service.middleware import BodyLimit, RequestContext, Streams
from service.monitoring import HttpMetrics, QueueCollector
from service.openapi import DESCRIPTION, describer
from service.remembered import Remembered
from service.routes import ROUTERS, code, datasets
from service.routes.evidence import event_chunk
from service.settings import Settings
from service.storage import Storage
from service.watching import Watcher


def create_app(settings: Settings | None = None, *, on_loopback: bool = False) -> FastAPI:
    """The API. It opens the database when it starts, and never migrates it.

    Args:
        settings: if left out, those of the environment.
        on_loopback: whether it is certain that nobody but this machine can reach it; only then is
            it open to all as long as it has no API key (see `service.access`).
    """
    settings = settings or Settings()
    app = FastAPI(
        title="lrtuner",
        version=lrtuner.__version__,
        description=DESCRIPTION,
        lifespan=_lifespan,
        redirect_slashes=False,  # a redirect would name the host that the proxy talked to
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        dependencies=[Depends(granted)],
    )
    app.state.settings = settings
    app.state.on_loopback = on_loopback
    errors.install(app)
    for router in ROUTERS:
        app.include_router(router)
    larger = {
        datasets.router.prefix: settings.max_upload_mb * MEBIBYTE,
        code.router.prefix: Limits().archive_bytes,
    }
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes, larger=larger)
    app.state.registry = CollectorRegistry()
    app.add_middleware(HttpMetrics, registry=app.state.registry)
    app.add_middleware(Streams)
    app.state.webhook_tries = tries_counter(app.state.registry)
    app.add_middleware(RequestContext)  # the last one added is the outermost
    # The documented way to extend the description.
    app.openapi = describer(app)  # type: ignore[method-assign]
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    database = open_database(app.state.settings.database_url)
    app.state.storage = Storage(database)
    app.state.remembered = Remembered(app.state.storage)
    app.state.registry.register(QueueCollector(app.state.storage))
    app.state.inspections = CapacityLimiter(INSPECTIONS_AT_ONCE)
    app.state.watcher = Watcher(app.state.storage, event_chunk)
    delivering = Delivering(database, app.state.settings, app.state.webhook_tries)
    tasks = [
        asyncio.create_task(keep_house(database, app.state.settings)),
        asyncio.create_task(app.state.watcher.run()),
        asyncio.create_task(delivering.run()),
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        database.close()
