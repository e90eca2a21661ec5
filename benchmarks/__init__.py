"""`scripts/bench`: the product beside the bare minimum and a plain executemany script, interleaved."""
