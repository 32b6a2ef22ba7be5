"""What the API and the queue cost, and what a large database adds to it.

    python -m benchmarks.api [--database sqlite|postgres] [--only lists|bare|claims ...]
                             [--jobs 100000] [--requests 200] [--claims 2000] [--json FILE]

All over HTTP on loopback with an API key, one request at a time, the two that are compared in
turns; the service is the real one in a process of its own. Databases are made for the run: SQLite
in a temporary folder, PostgreSQL from the wheel that the tests use, with its default durability.

lists: lists and single jobs from a database with `--jobs` finished jobs of ten teams, against the
same requests to one that holds just a page of jobs which match every filter, so that the answers
have the same length. The ratio is of the 95th percentiles; at most 2 is the goal.

bare: submit, get, list, download and 304 from the large database, against plain FastAPI endpoints
that do the same reads and writes (`lrtuner.store`) and return what they found, without keys,
validation, metrics or links. The ratio is of medians; at most 1.5 is the goal.

claims: eight worker processes claim and finish jobs of ten keys, of 10,000 that wait, beside the
finished ones. Claims per second, and how many jobs were claimed twice (none may be); at least 200
per second on PostgreSQL is the goal.
"""
