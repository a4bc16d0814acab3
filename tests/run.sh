#!/usr/bin/env bash
# Runs everything that shows that kfbox works, against the real Docker engine, the real SDK and a real browser.
# It sets up what is missing on a fresh Debian or Ubuntu machine, and never touches an installed box: every test box
# has its own data folder, free ports, and containers that carry its id.
#
#   tests/run.sh [unit|integration|conformance|installer|browser]...     (default: all of them)
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${KFBOX_TEST_CACHE:-$here/target/tests}
venv=$cache/venv
passed=0 failed=0 outcome=0
boxes=() engine_pid=""

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
die() { printf 'tests/run.sh: %s\n' "$*" >&2; exit 1; }

cleanup() {
  local box id
  for box in "${boxes[@]}"; do
    [ -f "$box/pid" ] && kill "$(cat "$box/pid")" 2>/dev/null || true
    id=$(sed -n 's/.*"id": *"\([^"]*\)".*/\1/p' "$box/data/box.json" 2>/dev/null) || true
    if [ -n "$id" ]; then
      docker ps -aq --filter "label=kfbox.dev/box=$id" | xargs -r -n 1 docker rm -f >/dev/null 2>&1 || true
      docker network ls -q --filter "label=kfbox.dev/box=$id" | xargs -r docker network rm >/dev/null 2>&1 || true
      docker images -q "kfbox/env-$id" | xargs -r docker rmi -f >/dev/null 2>&1 || true
    fi
    rm -rf "$box"
  done
  # Only the engine that this script started.
  if [ -n "$engine_pid" ]; then kill "$engine_pid" 2>/dev/null || true; fi
}

# --- what the tests need -------------------------------------------------------------------------------------

packages() {
  local missing=()
  command -v dockerd >/dev/null || missing+=(docker.io iptables)
  command -v debootstrap >/dev/null || missing+=(debootstrap)
  command -v cc >/dev/null || missing+=(build-essential)
  command -v curl >/dev/null || missing+=(curl)
  command -v node >/dev/null || missing+=(nodejs npm)
  python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
  if wants conformance && ! command -v rclone >/dev/null; then missing+=(rclone); fi
  if wants browser && [ ! -x "${CHROMIUM:-/usr/bin/chromium}" ]; then missing+=(chromium); fi
  [ ${#missing[@]} -eq 0 ] && return
  [ "$(id -u)" -eq 0 ] || die "as root, install: ${missing[*]}"
  say "installing ${missing[*]}"
  apt-get update -q >/dev/null
  DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "${missing[@]}" >"$cache/apt.log" 2>&1 ||
    { tail -5 "$cache/apt.log"; die "apt-get install failed (all of it: $cache/apt.log)"; }
}

engine() {
  answers() { docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }
  if ! answers; then
    say "starting a Docker engine"
    dockerd >"$cache/dockerd.log" 2>&1 &
    engine_pid=$!
    local i
    for ((i = 0; i < 150; i++)); do answers && break; sleep 0.2; done
    answers || { tail -5 "$cache/dockerd.log"; die "dockerd does not come up (its log: $cache/dockerd.log)"; }
  fi
  say "images"
  local images=()
  if wants conformance; then images=(trainers); fi
  if wants conformance || wants browser; then images+=(notebook); fi
  "$here/images/build.sh" "${images[@]}"
}

python_env() {
  # The copy is made last: it says that the environment is whole.
  cmp -s "$here/tests/requirements.txt" "$cache/requirements.txt" && return
  say "the SDK from PyPI"
  python3 -m venv --clear "$venv"
  "$venv/bin/pip" install -q -r "$here/tests/requirements.txt"
  cp "$here/tests/requirements.txt" "$cache/requirements.txt"
}

build() {
  if wants unit || wants browser || [ ! -f "$here/web/ui/dist/index.html" ]; then
    say "browser UI"
    (cd "$here/web/ui" && npm ci --no-audit --no-fund --loglevel=error && npm run --silent build)
  fi
  say "daemon"
  (cd "$here" && cargo build --locked -p kfbox)
  export KFBOX_BIN=$here/target/debug/kfbox
}

# --- running ---------------------------------------------------------------------------------------------------

# The sum of all "N <word>" in a text.
count() { awk -v word="$1" '{ for (i = 2; i <= NF; i++) if ($i ~ "^" word) n += $(i - 1) } END { print n + 0 }' <<<"$2"; }

# Runs one part with its output shown, and adds what its runner counted ("12 passed", "1 failed").
part() {
  local name=$1 log=$cache/$1.log status=0 bad good
  shift
  say "$name"
  "$@" 2>&1 | tee "$log" || status=$?
  local plain
  # Without colours, without vitest's count of files, and without the output of a test that nextest counts already.
  plain=$(sed 's/\x1b\[[0-9;]*m//g; /Test Files/d' "$log")
  if grep -q '^ *Summary \[' <<<"$plain"; then plain=$(grep '^ *Summary \[' <<<"$plain"); fi
  good=$(count passed "$plain") bad=$(count failed "$plain")
  # A part that ended badly without counting a failure has failed as a whole.
  if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
  if [ "$status" -ne 0 ]; then outcome=1; printf 'part "%s" failed (exit %s)\n' "$name" "$status"; fi
  passed=$((passed + good)) failed=$((failed + bad))
}

rust_tests() {
  if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --locked "$@"
  else
    cargo test --locked --no-fail-fast "$@" -- --test-threads=3
  fi
}

unit() {
  part format cargo fmt --all --check
  part lint cargo clippy --locked --workspace --all-targets -- -D warnings
  part unit rust_tests --workspace --exclude kfbox-tests
  part ui npm --prefix "$here/web/ui" run --silent check
  part ui-unit npm --prefix "$here/web/ui" test --silent
}

integration() {
  export KFBOX_TEST_PYTHON=$venv/bin/python
  part integration rust_tests -p kfbox-tests
}

conformance() {
  part conformance "$venv/bin/python" -m pytest -q -p no:cacheprovider "$here/tests/conformance"
}

installer() {
  part installer "$here/tests/installer.sh" "$venv/bin/python"
}

browser() {
  local box
  box=$(mktemp -d -t kfbox-browser-XXXXXX)
  boxes+=("$box")
  "$KFBOX_BIN" serve --data-dir "$box/data" --port 0 --kube-port 0 --s3-port 0 >"$cache/browser-box.log" 2>&1 &
  echo $! >"$box/pid"
  local i
  for ((i = 0; i < 150; i++)); do [ -f "$box/data/endpoints.json" ] && break; sleep 0.2; done
  [ -f "$box/data/endpoints.json" ] || { tail -5 "$cache/browser-box.log"; die "the browser tests' box does not start"; }
  KFBOX_URL=$(sed -n 's/.*"ui": *"\([^"]*\)".*/\1/p' "$box/data/endpoints.json")
  KFBOX_ADMIN_TOKEN_FILE=$box/data/admin.token
  export KFBOX_URL KFBOX_ADMIN_TOKEN_FILE
  (cd "$here/tests/browser" && PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 npm ci --no-audit --no-fund --loglevel=error)
  part browser npm --prefix "$here/tests/browser" exec -- playwright test -c "$here/tests/browser"
}

wants() {
  local p
  for p in "${parts[@]}"; do [ "$p" = "$1" ] && return 0; done
  return 1
}

main() {
  parts=("$@")
  [ ${#parts[@]} -gt 0 ] || parts=(unit integration conformance installer browser)
  local p
  for p in "${parts[@]}"; do
    case $p in
      unit | integration | conformance | installer | browser) ;;
      *) sed -n '2,6s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; die "unknown part \"$p\"" ;;
    esac
  done
  mkdir -p "$cache"
  cd "$here"
  trap cleanup EXIT
  packages
  engine
  if wants integration || wants conformance || wants installer; then python_env; fi
  build
  for p in "${parts[@]}"; do "$p"; done
  printf '\n%s passed, %s failed\n' "$passed" "$failed"
  exit "$outcome"
}

main "$@"
