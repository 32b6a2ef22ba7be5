"""How it is found out: the only code that trains.

loop        claim a job, supervise its child process, write what it says to the database
child       the process that trains one job and talks to the supervisor in JSON lines
order       that job in that process
pipeline    a job from beginning to end: range test, search, confirm, recommend
planner     which run comes next, as a pure function of the runs so far
search      the sampler: the only file that knows optuna
training    one run: the plain loop;  sweep: one pass of the LR range test
trainer     who trains: this process, or another one
remote      a task that another process trains: asked, its answers checked;  serve: its other end
sandbox/    a process for code of others, with walls around it
task        model, data, loss and evaluation;  sources/: the builders behind their names
"""
