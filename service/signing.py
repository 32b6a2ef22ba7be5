"""Signatures of what is sent to webhooks, as Standard Webhooks defines them."""

import base64
import hashlib
import hmac

from lrtuner.webhook import secret_bytes


def signed_headers(secrets: str, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers that a receiver verifies: `v1,` and the base64 of

        HMAC-SHA256(secret, "ID.TIMESTAMP." + body)

    once for each of the secrets (separated by spaces). `timestamp` is when it is sent, epoch
    seconds: receivers refuse what is older than some minutes, so that nobody can send it again.
    """
    signed = f"{message_id}.{timestamp}.".encode() + body
    digests = [hmac.digest(secret, signed, hashlib.sha256) for secret in secret_bytes(secrets)]
    signatures = [f"v1,{base64.b64encode(digest).decode()}" for digest in digests]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signatures),
    }
