#!/usr/bin/env bash
# Makes .venv from requirements.lock and says each thing it installs. Safe to run again and after an interruption at any point.
# What the lab needs (Docker, Go, ...) is installed by `kok lab up` and `kok assets`, when it is needed.
set -euo pipefail
cd "$(dirname "$0")/../.."

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { printf 'error: %s\n  do    %s\n' "$1" "$2" >&2; exit 1; }

apt_install() {
  command -v apt-get >/dev/null || fail "$1 is missing and this machine has no apt-get" "install $1, then run make setup again"
  [ "$(id -u)" = 0 ] || fail "$1 is missing and installing it needs root" "run: sudo apt-get install $*; then make setup again"
  say "installing $* (apt)"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

python=""
for candidate in python3 python3.13 python3.12 python3.11; do
  if command -v "$candidate" >/dev/null && is_new_enough "$candidate"; then python=$candidate; break; fi
done
if [ -z "$python" ] && command -v uv >/dev/null; then
  say "installing Python 3.11 (with uv)"
  if uv python install --quiet 3.11; then python=$(uv python find 3.11); else say "uv could not install it"; fi
fi
if [ -z "$python" ]; then
  apt_install python3 python3-venv ca-certificates
  python=python3
  is_new_enough "$python" || fail "python3 is older than 3.11" "install Python 3.11 or newer, then run make setup again"
fi

uv=$(command -v uv || true)
if [ -z "$uv" ]; then
  tools=${KOK_ASSETS:-${XDG_CACHE_HOME:-$HOME/.cache}/kok}/tools
  uv=$tools/bin/uv
  if ! "$uv" --version >/dev/null 2>&1; then
    "$python" -c 'import ensurepip' 2>/dev/null || apt_install python3-venv
    say "installing uv (into $tools)"
    "$python" -m venv --clear "$tools"
    "$tools/bin/pip" install --quiet --disable-pip-version-check 'uv>=0.8'
  fi
fi

wanted=$(sha256sum requirements.lock pyproject.toml meta_cluster/bootstrap/setup.sh | sha256sum | cut -c1-16)
if [ "$(cat .venv/.kok-lock 2>/dev/null || true)" != "$wanted" ] || ! .venv/bin/python -c '' 2>/dev/null; then
  say "installing $(grep -c '==' requirements.lock) locked Python packages (into .venv)"
  "$uv" venv --quiet --clear --python "$python" .venv
  "$uv" pip sync --quiet --compile-bytecode --python .venv --require-hashes requirements.lock
  "$uv" pip install --quiet --python .venv --no-deps --no-build-isolation --editable .
  printf '%s' "$wanted" > .venv/.kok-lock
fi
say "ready: $(.venv/bin/python --version), $(.venv/bin/python -c 'import importlib.metadata as m; print("kok", m.version("kok"))')"
