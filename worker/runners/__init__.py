"""Who trains a job's runs: this process, several processes here, or the nodes of a Ray cluster.

runner      what each of them does, and the simplest: one trainer, one piece of work after another
chosen      by the names that LRTUNER_RUNNER knows
pool        several trainers that work side by side
local       the trainers of this machine;  machine: how many it has room for
slot        a process that is one of them;  inside: what runs in it
"""
