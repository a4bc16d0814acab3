#!/usr/bin/env bash
# Prints what things cost on this machine, beside their peers in one run on one image:
#   tests/bench/run.sh           a pipeline's step: kfbox, plain docker run and kfp.local
#   tests/bench/run.sh s3        the S3 endpoint beside nginx and another S3 server
#   tests/bench/run.sh kube      the Kubernetes-shaped door: lists, watches, a job beside docker run
# Needs Docker, the images (images/build.sh) and a daemon: KFBOX_BIN, else the release build, which is made when missing.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
venv=${KFBOX_TEST_CACHE:-$here/target/tests}/bench-venv
target=${CARGO_TARGET_DIR:-$here/target}

if [ -z "${KFBOX_BIN:-}" ]; then
    (cd "$here" && cargo build --locked --release -p kfbox)
    export KFBOX_BIN=$target/release/kfbox
fi
if [ ! -e "$venv/complete" ]; then
    python3 -m venv --clear "$venv"
    # kfp.local's DockerRunner wants Docker's own client.
    "$venv/bin/pip" install --quiet -r "$here/tests/requirements.txt" docker==7.1.0
    touch "$venv/complete"
fi
if [ "${1:-}" = s3 ]; then
    for tool in nginx wrk curl; do
        command -v "$tool" >/dev/null || { echo "bench: as root, apt-get install $tool" >&2; exit 1; }
    done
    peers=${KFBOX_TEST_CACHE:-$here/target/tests}/peers
    [ -x "$peers/bin/s3s-fs" ] || cargo install --quiet --root "$peers" s3s-fs@0.14.1 --features binary
    export PATH=$peers/bin:$PATH
fi
exec "$venv/bin/python" "$here/tests/bench/${1:-bench}.py"
