"""What goes wrong in this example on purpose, beside the API's failures (api.py) and the sink's (sink_failures.sql)."""

import os
import signal

BATCHES_UNTIL_KILLED = 5


def inject(pipeline):
    """End each worker after its fifth batch, before that is committed, as the out-of-memory killer would."""
    written = []

    @pipeline.on_write
    def out_of_memory(event):
        written.append(event)
        if event.table == "users_raw" and len(written) == BATCHES_UNTIL_KILLED:
            os.kill(os.getpid(), signal.SIGKILL)
