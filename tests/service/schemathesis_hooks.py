"""What schemathesis does not know by itself: how zip files are sent, and which ids there are."""

import json
import os
import zlib

import schemathesis

KNOWN = json.loads(os.environ["LRTUNER_KNOWN_IDS"])
"""The id of something that is there, by the name of its parameter."""


@schemathesis.serializer("application/zip")
def bytes_as_they_are(context, value):
    return {"data": value if isinstance(value, bytes) else str(value).encode()}


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    """Every other id is one that is there: few would be found by chance."""
    known = {name: KNOWN[name] for name in path_parameters or {} if name in KNOWN}
    drawn = zlib.crc32(repr(sorted((path_parameters or {}).items())).encode())
    return {**path_parameters, **known} if known and drawn % 2 else path_parameters
