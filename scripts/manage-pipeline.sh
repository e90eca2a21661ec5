#!/usr/bin/env bash
# manage-pipeline of this checkout: list, start, stop, logs, schedule ...; see --help.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ -x "$VENV/bin/manage-pipeline" ] || quietly "$REPOSITORY/scripts/setup-dev.sh"
exec "$VENV/bin/manage-pipeline" "$@"
