"""Print the description of the API: `python -m service.describe > docs/openapi.json`.

In an order of its own, so that a change of the API is all that a comparison shows.
"""

import json
import sys

from service.app import create_app
from service.settings import Settings


def description() -> str:
    """What `/openapi.json` answers, as the text of a file."""
    document = create_app(Settings()).openapi()
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(description())
