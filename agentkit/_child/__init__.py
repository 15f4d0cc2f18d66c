"""The one way to a child process: what may hang, crash, grow or be hostile runs in one, bounded.

`process` starts a child and calls functions in it, `pool` keeps warm ones, `worker` is what runs in
the child, `tree` ends a process with everything it has started.
"""
