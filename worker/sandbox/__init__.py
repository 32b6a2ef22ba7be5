"""Walls around code of others, and the narrow pipe through them.

process     a sandbox as its parent sees it;  watch: what it uses;  limits, errors: how it ends
scratch     folders that go with the process that made them
walls       their names, and which an operator wants
launch      the process inside: it raises the walls around itself, then runs the code
namespaces, landlock, seccomp, kernel    the walls that Linux has, and its system calls
pipe        JSON with its length before it: all that passes
trainer     a task that is trained in a sandbox
"""
