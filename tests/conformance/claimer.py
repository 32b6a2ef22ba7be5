"""A worker process for tests: says `ready`, and for each line claims up to so many jobs at once."""

import json
import sys

from lrtuner.store import open_database, queue

PER_ROUND = 20


def main(url: str, owner: str) -> None:
    database = open_database(url)
    print("ready", flush=True)  # noqa: T201
    for _ in sys.stdin:
        claimed = []
        for _ in range(PER_ROUND):
            with database.writing() as connection:
                claim = queue.claim(connection, owner=owner, lease_seconds=600.0)
            if claim is None:
                break
            claimed.append([claim.job_id, claim.attempt])
        print(json.dumps(claimed), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
