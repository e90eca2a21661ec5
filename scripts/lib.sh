# shellcheck shell=bash
# shellcheck disable=SC2034 # the constants are read by the scripts that source this file
# What the scripts share. Sourced after `set -euo pipefail`; it runs nothing by itself.

REPOSITORY="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
VENV="$REPOSITORY/.venv"

# what the SQL Server driver links to
RUNTIME_PACKAGES=(libltdl7 libkrb5-3 libgssapi-krb5-2)
# a second ODBC driver, for the tests of source.driver; a systemd to boot in a container, for tests/systemd
TEST_PACKAGES=(tdsodbc systemd-container dbus libpam-systemd)

# One line a step; nothing is said where nothing is done.
say() { printf '%s\n' "$*"; }

# fail MESSAGE [EXIT_CODE]: one line that says what is wrong and what to do.
fail() {
    printf '%s: %s\n' "$(basename "$0")" "$1" >&2
    exit "${2:-1}"
}

# quietly COMMAND...: its output is shown only when it fails.
quietly() {
    local output
    if ! output="$("$@" 2>&1)"; then
        printf '%s\n' "$output" >&2
        return 1
    fi
}

is_root() { [ "$(id -u)" -eq 0 ]; }

# is_python COMMAND: it runs and is Python 3.11 or newer. A name on the PATH may be a version manager's
# stand-in that does not run.
is_python() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

# find_python: prints the interpreter to use, $PYTHON if set.
find_python() {
    local candidate
    for candidate in ${PYTHON:+"$PYTHON"} python3.13 python3.12 python3.11 python3; do
        if is_python "$candidate"; then
            command -v "$candidate"
            return
        fi
        [ "$candidate" != "${PYTHON:-}" ] || break # what was asked for is not replaced by another
    done
    fail "no Python 3.11 or newer was found; install one (Debian 12: apt-get install python3) or set PYTHON=/path/to/python"
}

# missing_packages PACKAGE...: prints those that are not installed.
missing_packages() {
    local package
    for package in "$@"; do
        dpkg-query --show --showformat '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || printf '%s\n' "$package"
    done
}

# ensure_packages PACKAGE...: installs what is missing; without root it names the command.
ensure_packages() {
    local missing
    if ! command -v dpkg-query >/dev/null; then
        say "system libraries: not a Debian or Ubuntu, please see to the equivalents of: $*"
        return
    fi
    mapfile -t missing < <(missing_packages "$@")
    [ "${#missing[@]}" -gt 0 ] || return 0
    is_root || fail "system packages are missing; run: sudo apt-get install -y ${missing[*]}"
    say "installing ${missing[*]}"
    # the package lists are fetched only when they are too old or not there at all
    apt_install "${missing[@]}" >/dev/null 2>&1 && return
    quietly apt-get update -qq || fail "apt-get update failed; see above"
    quietly apt_install "${missing[@]}" || fail "apt-get install failed; see above"
}

apt_install() {
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=120 "$@"
}

# ensure_venv DIRECTORY: a working virtual environment with pip in it; one that broke is made anew.
ensure_venv() {
    local directory="$1" python
    if is_python "$directory/bin/python" && "$directory/bin/python" -c 'import pip' 2>/dev/null; then
        return
    fi
    python="$(find_python)"
    # Debian keeps ensurepip in a package of its own
    "$python" -c 'import ensurepip, venv' 2>/dev/null || ensure_packages "$(venv_package "$python")"
    if [ -e "$directory" ]; then
        [ -f "$directory/pyvenv.cfg" ] || fail "$directory is not a virtual environment; move it away"
        rm -rf "$directory" 2>/dev/null || fail "$directory is broken and cannot be removed; remove it"
    fi
    mkdir -p "$(dirname "$directory")" 2>/dev/null || fail "$directory cannot be made; run it with sudo"
    say "making $directory with $("$python" --version)"
    quietly "$python" -m venv "$directory" || fail "$directory cannot be made; see above"
}

# venv_package PYTHON: Debian's package with the venv module of this interpreter.
venv_package() {
    "$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'
}

# fingerprint PATH...: one hash over the files and all files below the directories.
fingerprint() {
    (cd "$REPOSITORY" && find "$@" -type f -not -path '*/__pycache__/*' -print0 | sort -z | xargs -0 sha256sum | sha256sum | cut -d' ' -f1)
}
