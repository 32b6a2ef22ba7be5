"""A worker process for tests: says `ready`, waits for a line, claims all there is, prints it."""

import json
import sys

from lrtuner.store import open_database, queue


def main(url: str, owner: str) -> None:
    database = open_database(url)
    print("ready", flush=True)  # noqa: T201
    sys.stdin.readline()
    claimed = []
    while True:
        with database.writing() as connection:
            claim = queue.claim(connection, owner=owner, lease_seconds=600.0)
        if claim is None:
            break
        claimed.append([claim.job_id, claim.attempt])
    print(json.dumps(claimed))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
