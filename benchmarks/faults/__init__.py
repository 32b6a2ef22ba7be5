"""Real jobs, undisturbed and then under random faults: is anything lost, or another answer given?

python -m benchmarks.faults --kills N --database {sqlite,postgres} --runner {local,ray}
                            [--seed 0] [--workers 3] [--pause SECONDS] [--json FILE]

A set of small jobs is submitted over HTTP and trained by real worker processes, first undisturbed:
what they recommend is the reference. Then the same jobs are submitted again and again, while N
faults happen: a worker is killed (SIGKILL), stopped for longer than its lease (SIGSTOP, SIGCONT),
or told to end (SIGTERM), the process that trains is killed or stopped, so is one of the slots of
the worker that trains two runs at a time, and the API is killed while jobs are being submitted.
What is killed is started again. A guard that no fault has called upon by then gets one of its own.

Afterwards everything is read from the database and from the system: accepted jobs that are lost,
results that were published twice, rows of attempts that no longer owned the job, processes that
are left, and recommendations that are not equal, byte for byte, to the reference, but for the id
of the job and the time. Any of these makes the exit code 1, and so does a guard that never had to
act, because it was not tested.
"""
