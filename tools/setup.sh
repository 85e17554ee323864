#!/bin/sh
# Makes .venv in the clone and installs what requirements.lock says. Talks on stderr only.
# Where it may install system packages it adds what the demo and the slow tests like to have.
set -eu
exec 1>&2
python=${1:-python3}
stamp=.venv/.installed

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "setup: $python cannot be run or is older than Python 3.11. Name another one: make setup PYTHON=python3.12"
    exit 1
}

# How to become root without being asked for anything; "none" where that is not possible.
as_root=
if [ "$(id -u)" -ne 0 ]; then
    if command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then as_root="sudo -n"; else as_root=none; fi
fi

install_system_packages() {
    [ "$as_root" != none ] && command -v apt-get >/dev/null 2>&1 || return 1
    echo "setup: installing system packages: $*"
    log=$(mktemp)
    if { $as_root apt-get update && $as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y --no-install-recommends "$@"; } >"$log" 2>&1; then
        rm -f "$log"
        return 0
    fi
    tail -n 3 "$log"
    rm -f "$log"
    return 1
}

if [ ! -x .venv/bin/python ] || ! .venv/bin/python -c '' 2>/dev/null; then
    echo "setup: making .venv"
    # Debian keeps what venv needs in a package of its own.
    if ! "$python" -c 'import ensurepip' 2>/dev/null && ! install_system_packages python3-venv; then
        echo "setup: $python cannot make virtual environments. Install python3-venv, or name another one with PYTHON="
        exit 1
    fi
    "$python" -m venv --clear .venv
fi

# The place is part of the stamp: a clone that was moved or copied needs its editable install again.
want=$(pwd; cat requirements.lock pyproject.toml)
if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$want" ]; then
    echo "setup: installing Python packages (a minute or two the first time)"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
    printf '%s\n' "$want" > "$stamp"
fi

missing=
command -v mosquitto >/dev/null 2>&1 || [ -x /usr/sbin/mosquitto ] || missing="$missing mosquitto"
command -v mosquitto_sub >/dev/null 2>&1 || missing="$missing mosquitto-clients"
command -v chromium >/dev/null 2>&1 || missing="$missing chromium"
command -v faketime >/dev/null 2>&1 || missing="$missing faketime"
[ -n "$missing" ] || exit 0

# shellcheck disable=SC2086
if install_system_packages $missing; then
    case "$missing" in
        # Debian starts a broker of its own on port 1883; ours has another configuration.
        *mosquitto*) $as_root systemctl disable --now mosquitto >/dev/null 2>&1 || true ;;
    esac
    exit 0
fi
echo "setup: going on without$missing (no mosquitto: the demo uses a broker in Python; no mosquitto-clients, chromium or faketime: their tests are skipped)"
