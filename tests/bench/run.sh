#!/usr/bin/env bash
# Prints what a pipeline step costs on this machine: kfbox beside plain `docker run` and kfp.local, in one run on one
# image; and the daemon's start-up time and memory. Figures, no verdicts. Needs a Docker engine and images/build.sh.
#
#   tests/bench/run.sh [STEPS]        (default: chains of 10)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
venv=$here/target/tests/bench-venv
cd "$here"
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/pip" install -q kfp==2.17.0 docker==7.1.0
export KFBOX_BIN=${KFBOX_BIN:-$here/target/release/kfbox}
[ -n "${KFBOX_BENCH_NO_BUILD:-}" ] || cargo build --release --locked -p kfbox
exec "$venv/bin/python" tests/bench/steps.py "${1:-10}"
