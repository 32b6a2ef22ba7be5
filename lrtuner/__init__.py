"""Which learning rate, which schedule, and how sure: the shared core of lrtuner.

    schedules/        families, the grammar and its one evaluator
    document          the config file: load, verify, hash
    candidates        points of the search space and the schedules they stand for
    sources  job      what may be asked for;  task      what a user's own code gives
    datasets/         files of examples, none of which is trusted;  fitting   a job and its file
    range_test        analysis of LR sweeps
    selection         paired statistics and the verdict
    evidence          what was measured
    words  schema     schedules in words;  the JSON Schema of the config
    recommendation    the published result;  headline   it in a few numbers
    comparing  gate   how two configs differ, and whether the new one is worse;  history   over jobs
    plots/            pictures;  export/  the config in other formats
    integrations/     native schedulers
    store/            the database;  client, cli  the way in

Importing this package imports no framework.
"""

from lrtuner.document import load
from lrtuner.schedules.grammar import Schedule
from lrtuner.task import Context, Task

__version__ = "0.1.0"

__all__ = ["Context", "Schedule", "Task", "__version__", "load"]
