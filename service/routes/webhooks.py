"""Webhooks: what was sent to them, sending it again, and a test."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import Field

from lrtuner.store import deliveries, reading
from lrtuner.store.deliveries import DeliveryRow
from lrtuner.webhook import Receiver
from service.access import Granted
from service.bodies import body_of
from service.dependencies import JOB_ID, Parameters, SettingsDep, StorageDep, number_after
from service.openapi import request_body
from service.pages import Page, page_of
from service.problem import documented
from service.webhook import Delivery, check_receiver, delivery_resource

router = APIRouter(prefix="/v1", tags=["webhooks"])

DeliveryId = Annotated[
    str,
    Path(pattern=r"^[A-Za-z0-9_-]{1,64}$", examples=["msg_mfzwizltoq2xg3dfpa7xk4tfnu"]),
]

_EXAMPLES = {"smallest": {"url": "https://ci.example.org/hooks/lrtuner"}}
_ON_ITS_WAY: dict[str, Any] = {
    "description": "It is sent as soon as possible: look at it again to see what became of it.",
    "headers": {"Location": {"description": "Where it is.", "schema": {"type": "string"}}},
}


class DeliveryFilter(Parameters):
    """Which deliveries to list."""

    job_id: Annotated[str | None, Field(pattern=JOB_ID, description="Of this job only.")] = None
    after: Annotated[str | None, Field(description="`next_after` of the page before.")] = None
    limit: Annotated[int, Field(ge=1, le=100)] = 20


@router.get("/webhook-deliveries", responses=documented(400, 404, 422, 503))
def list_deliveries(
    wanted: Annotated[DeliveryFilter, Query()],
    request: Request,
    response: Response,
    storage: StorageDep,
    settings: SettingsDep,
    granted: Granted,
) -> Page[Delivery]:
    """List the messages to webhooks, newest first, with what was answered to each try."""
    before = number_after(wanted.after, first=0) or None
    with storage.reading() as connection:
        if wanted.job_id is not None:
            reading.require_job(connection, wanted.job_id, team=granted.sees)
        rows = deliveries.list_deliveries(
            connection,
            before=before,
            limit=wanted.limit + 1,
            job_id=wanted.job_id,
            team=granted.sees,
        )
    shown = rows[: wanted.limit]
    after = str(shown[-1].seq) if len(rows) > wanted.limit else None
    items = [delivery_resource(row, settings.public_url) for row in shown]
    return page_of(request, response, items, after)


@router.get("/webhook-deliveries/{delivery_id}", responses=documented(404, 503))
def show_delivery(
    delivery_id: DeliveryId, storage: StorageDep, settings: SettingsDep, granted: Granted
) -> Delivery:
    """Look at a message: whether it was delivered, and what was answered to each try."""
    with storage.reading() as connection:
        row = deliveries.get_delivery(connection, delivery_id, team=granted.sees)
    return delivery_resource(row, settings.public_url)


@router.post(
    "/webhook-deliveries/{delivery_id}/redeliver",
    status_code=202,
    responses={202: _ON_ITS_WAY, **documented(404, 503)},
)
def redeliver(
    delivery_id: DeliveryId,
    response: Response,
    storage: StorageDep,
    settings: SettingsDep,
    granted: Granted,
) -> Delivery:
    """Send a message again, under the same id, whatever became of it before."""
    with storage.writing() as connection:
        deliveries.get_delivery(connection, delivery_id, team=granted.sees)
        deliveries.redeliver(connection, delivery_id)
        row = deliveries.get_delivery(connection, delivery_id)
    return _on_its_way(row, response, settings.public_url)


@router.post(
    "/webhooks/test",
    status_code=202,
    responses={202: _ON_ITS_WAY, **documented(400, 413, 415, 422, 503)},
    openapi_extra=request_body(Receiver, _EXAMPLES),
)
def test_webhook(
    receiver: Annotated[Receiver, Depends(body_of(Receiver))],
    response: Response,
    storage: StorageDep,
    settings: SettingsDep,
    granted: Granted,
) -> Delivery:
    """Send a message that tells of nothing (`webhook.test`), to see whether it arrives."""
    check_receiver(receiver, settings)
    with storage.writing() as connection:
        delivery_id = deliveries.post_test(connection, receiver, team=granted.team)
        row = deliveries.get_delivery(connection, delivery_id)
    return _on_its_way(row, response, settings.public_url)


def _on_its_way(row: DeliveryRow, response: Response, public_url: str) -> Delivery:
    delivery = delivery_resource(row, public_url)
    response.headers["Location"] = delivery.links.self
    return delivery
