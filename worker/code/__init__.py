"""A user's own code as a task.

project     where `build` is, and what is told where it fails
checks      what `build` gives must be what can be trained
examples    its splits as batches
randomness  the global generators, which its code may use
task        the task of a job with such a model
"""
