"""Other finders, one module each, used as their documentation shows.

Each runs in an environment of its own (`benchmarks.finder.environments`) and needs nothing of
lrtuner but what reads a task.
"""
