"""The published result: a schedule config with its verdict, provenance and checks."""

from lrtuner.document import (
    SCHEMA_NAME,
    Context,
    OptimizerRef,
    Provenance,
    ScheduleDocument,
    Verdict,
)
from lrtuner.export import fidelities
from lrtuner.schedules.grammar import Schedule


def recommend(
    schedule: Schedule,
    *,
    optimizer: OptimizerRef,
    context: Context,
    verdict: Verdict,
    provenance: Provenance,
    public_url: str,
) -> ScheduleDocument:
    """The config of `schedule`, its checksum points, export fidelities and content hash filled in.

    `provenance.content_hash` is replaced by the hash of the finished content; `public_url` is where
    the service serves the JSON Schema.
    """
    grammar = {name: getattr(schedule, name) for name in Schedule.model_fields}
    config = ScheduleDocument.model_validate(
        {
            **grammar,
            "$schema": f"{public_url.rstrip('/')}/v1/schema/{SCHEMA_NAME}.json",
            "optimizer": optimizer,
            "context": context,
            "checksum_points": schedule.checkpoints(),
            "verdict": verdict,
            "provenance": provenance,
        }
    )
    config = config.model_copy(update={"exports": fidelities(config)})
    stamped = provenance.model_copy(update={"content_hash": config.hashed()})
    return config.model_copy(update={"provenance": stamped})
