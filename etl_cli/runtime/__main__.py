"""`python -m etl_cli.runtime serve DIRECTORY`: what a pipeline's systemd unit runs."""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> int:
    """Serve, or run the one attempt that a service asked for."""
    if len(sys.argv) >= 3 and sys.argv[1] == "serve":
        from etl_cli.runtime.service.supervisor import serve

        return serve(Path(sys.argv[2]))
    if len(sys.argv) == 4 and sys.argv[1] == "attempt":
        from etl_cli.runtime.service.attempt import attempt

        return attempt(Path(sys.argv[2]), sys.argv[3])
    if len(sys.argv) == 3 and sys.argv[1] == "step":
        from etl_cli.runtime.program.attempt import main as step

        return step(Path(sys.argv[2]))
    if len(sys.argv) == 3 and sys.argv[1] == "alert":
        from etl_cli.runtime.service.sender import send_alert

        return send_alert(Path(sys.argv[2]), sys.stdin.read())
    print("usage: python -m etl_cli.runtime serve DIRECTORY", file=sys.stderr)
    return 2


if __name__ == "__main__":
    raise SystemExit(main())
