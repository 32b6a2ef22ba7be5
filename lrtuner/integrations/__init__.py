"""Native schedulers from a schedule, one framework per module, imported only when asked for."""
