#!/usr/bin/env bash
# Prepares this host; quick and silent when nothing is to do, so that other scripts may call it each time.
#
#   scripts/setup-dev.sh           .venv/ with this checkout (editable), its extras and the development tools
#   scripts/setup-dev.sh --test    and what the tests need of the system
#   scripts/setup-dev.sh --prod    for services: the user etl, /opt/etl/venv, /etc/etl/pipelines, /var/log/etl
#
# PYTHON=/path/to/python chooses the interpreter, which must be 3.11 or newer.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

PROD_VENV=/opt/etl/venv
PROD_USER=etl
PROD_HOME=/var/lib/etl

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

# What services need of the host; the units themselves are made by `manage-pipeline start`.
setup_prod() {
    is_root || fail "the host's user and directories are made by root; run: sudo scripts/setup-dev.sh --prod"
    ensure_user
    ensure_directory root "$PROD_USER" 0750 /etc/etl /etc/etl/pipelines
    ensure_directory "$PROD_USER" "$PROD_USER" 0750 "$PROD_HOME" /var/log/etl
    (umask 022 && setup_prod_venv)
}

# world-readable, whatever the umask of who calls this: services run as another user
setup_prod_venv() {
    ensure_venv "$PROD_VENV"
    install_once "$PROD_VENV" "$(fingerprint pyproject.toml constraints.txt README.md etl_cli templates)" "$REPOSITORY"
    link_command manage-pipeline
    link_command monitor-pipelines
    link_command etl-cli
    can_run "$PROD_VENV/bin/python" || fail "user $PROD_USER cannot run $PROD_VENV/bin/python, which is made of \
$("$PROD_VENV/bin/python" -c 'import sys; print(sys.base_prefix)'); remove $PROD_VENV and repeat with PYTHON=/usr/bin/python3"
}

# ensure_user: the system user that services run as, without a password and without a shell.
ensure_user() {
    if id "$PROD_USER" >/dev/null 2>&1; then
        return
    fi
    say "making the system user $PROD_USER"
    quietly useradd --system --user-group --home-dir "$PROD_HOME" --no-create-home --shell /usr/sbin/nologin \
        --comment "ETL pipelines" "$PROD_USER" || fail "user $PROD_USER cannot be made; see above"
}

# ensure_directory OWNER GROUP MODE DIRECTORY...: with exactly these rights; what lies in it is left alone.
ensure_directory() {
    local owner="$1" group="$2" mode="$3" directory
    shift 3
    for directory in "$@"; do
        [ "$(stat -c '%U:%G:0%a' "$directory" 2>/dev/null)" = "$owner:$group:$mode" ] && continue
        say "making $directory ($owner:$group, $mode)"
        quietly install -d -o "$owner" -g "$group" -m "$mode" "$directory" || fail "$directory cannot be made; see above"
    done
}

# link_command NAME: found by sudo as well, whose PATH is its own. Another program of the name is left alone.
link_command() {
    local link="/usr/local/bin/$1" target="$PROD_VENV/bin/$1"
    if [ -e "$link" ] && [ ! -L "$link" ]; then
        say "$link is another program and is left alone"
    elif [ "$(readlink "$link" 2>/dev/null)" != "$target" ]; then
        ln -sfn "$target" "$link"
    fi
}

# can_run PROGRAM: as the user that services run as.
can_run() {
    setpriv --reuid="$PROD_USER" --regid="$PROD_USER" --init-groups "$1" -c 'import etl_cli' >/dev/null 2>&1
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

# sourced, it does nothing by itself
[ "${BASH_SOURCE[0]}" != "$0" ] || main "$@"
