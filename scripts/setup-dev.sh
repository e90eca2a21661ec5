#!/usr/bin/env bash
# Prepares this host; quick and silent when nothing is to do, so that other scripts may call it each time.
#
#   scripts/setup-dev.sh           .venv/ with this checkout (editable), its extras and the development tools
#   scripts/setup-dev.sh --test    and what the tests need of the system
#   scripts/setup-dev.sh --prod    /opt/etl/venv with the runtime alone
#
# PYTHON=/path/to/python chooses the interpreter, which must be 3.11 or newer.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

PROD_VENV=/opt/etl/venv

usage() { sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }

main() {
    local mode=dev packages=("${RUNTIME_PACKAGES[@]}") argument
    for argument in "$@"; do
        case "$argument" in
            --prod) mode=prod ;;
            --test) packages+=("${TEST_PACKAGES[@]}") ;;
            -h | --help) usage && return ;;
            *) fail "unknown argument $argument; see --help" 2 ;;
        esac
    done
    ensure_packages "${packages[@]}"
    "setup_$mode"
}

setup_dev() {
    local requirements
    ensure_venv "$VENV"
    mapfile -t requirements < <(development_requirements)
    install_once "$VENV" "$(fingerprint pyproject.toml constraints.txt)" "${requirements[@]}"
}

# Users, directories and units are not made here.
setup_prod() {
    is_root || [ -w "$PROD_VENV" ] || fail "$PROD_VENV is root's; run: sudo scripts/setup-dev.sh --prod"
    ensure_venv "$PROD_VENV"
    install_once "$PROD_VENV" "$(fingerprint pyproject.toml constraints.txt README.md etl_cli templates)" "$REPOSITORY"
}

# development_requirements: this checkout with all its extras, and the group `dev`, a line each.
# Read here and not by `pip --group`, which needs pip 25.1.
development_requirements() {
    "$VENV/bin/python" - "$REPOSITORY" <<'PYTHON'
import pathlib, sys, tomllib
repository = pathlib.Path(sys.argv[1])
project = tomllib.loads((repository / "pyproject.toml").read_text())
extras = ",".join(project["project"].get("optional-dependencies", {}))
print(f"--editable={repository}[{extras}]", *project["dependency-groups"]["dev"], sep="\n")
PYTHON
}

# install_once VENV FINGERPRINT REQUIREMENT...: by pip under constraints.txt, unless that was done before.
install_once() {
    local venv="$1" wanted="$2" stamp="$1/.setup-stamp"
    shift 2
    wanted="$wanted $REPOSITORY"
    if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
        return
    fi
    say "installing into $venv"
    rm -f "$stamp" # a failed installation must not pass for a finished one
    quietly "$venv/bin/python" -m pip install --disable-pip-version-check --quiet --root-user-action ignore \
        --constraint "$REPOSITORY/constraints.txt" "$@" || fail "pip could not install; see above"
    printf '%s\n' "$wanted" >"$stamp"
}

main "$@"
