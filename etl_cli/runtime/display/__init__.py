"""How a run, a plan and a check look on a terminal, in a pipe and as JSON."""
