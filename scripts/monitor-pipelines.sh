#!/usr/bin/env bash
# monitor-pipelines of this checkout: how all pipelines of this host are; see --help.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ -x "$VENV/bin/monitor-pipelines" ] || quietly "$REPOSITORY/scripts/setup-dev.sh"
exec "$VENV/bin/monitor-pipelines" "$@"
