#!/usr/bin/env bash
# The installer on a place of its own: what it makes, that running it again changes nothing, that removing it leaves
# nothing. It installs a release folder made from what is built already, under its own prefix, data folder and port:
# an installed box is not touched, and shared images stay.
#
#   KFBOX_BIN=target/debug/kfbox tests/installer.sh [PYTHON]     (PYTHON: one that has the kfp SDK; none: no demo)
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
binary=${KFBOX_BIN:-$here/target/debug/kfbox}
python=${1:-}
place=$(mktemp -d -t kfbox-installer-XXXXXX)
release=$place/release prefix=$place/prefix data=$place/box/data
name=kfbox$(tr -c 'A-Za-z0-9\n' - <<<"$prefix")
good=0 bad=0 output=''

cleanup() {
  if [ -e "$prefix/share/kfbox/install.env" ]; then "$release/installer/uninstall.sh" --prefix "$prefix" --purge --keep-images --yes >/dev/null 2>&1 || true; fi
  rm -rf "$place"
}
trap cleanup EXIT

# check WHAT COMMAND...: one assertion; what was said last is shown where it does not hold.
check() {
  local what=$1
  shift
  if "$@" >/dev/null 2>&1; then
    good=$((good + 1))
    printf 'ok    %s\n' "$what"
  else
    bad=$((bad + 1))
    printf 'FAIL  %s\n' "$what"
    tail -n 15 <<<"$output" | sed 's/^/        /'
  fi
}

# Runs a command that must succeed (or, after "fails", must not), and keeps what it said in $output.
succeeds() { output=$("$@" 2>&1 </dev/null); }
fails() { ! output=$("$@" 2>&1 </dev/null); }
said() { grep -qF -- "$1" <<<"$output"; }
not() { ! "$@"; }

install_sh() { "$release/installer/install.sh" --prefix "$prefix" --data-dir "$data" "$@"; }
uninstall_sh() { "$prefix/bin/kfbox-uninstall" --keep-images --yes "$@"; }
kfbox() { KFBOX_DATA_DIR=$data "$prefix/bin/kfbox" "$@"; }
json() { sed -n "s/.*\"$2\" *: *\"\([^\"]*\)\".*/\1/p" "$1" | head -n 1; }
healthy() { curl -fsS --noproxy '*' --max-time 5 "$(json "$data/endpoints.json" ui)/healthz"; }
daemon_pid() { pgrep -f "^$prefix/bin/kfbox serve"; }
# Paths outside of the data that belong to this installation.
leftovers() {
  local path
  for path in "$prefix" "/var/log/$name" "/run/$name.pid" "/run/$name-install.lock" "/etc/systemd/system/$name.service"; do
    [ ! -e "$path" ] || printf '%s\n' "$path"
  done
}
nothing_left() { output=$(leftovers); [ -z "$output" ]; }
no_containers() { [ -z "$(docker ps -aq --filter "label=kfbox.dev/box=$1")$(docker network ls -q --filter "label=kfbox.dev/box=$1")" ]; }
same_state() { [ "$(daemon_pid)" = "$1" ] && [ "$(cat "$data/box.json")" = "$2" ]; }

make_release() {
  mkdir -p "$release/bin"
  cp -r "$here/installer" "$here/images" "$here/README.md" "$here/LICENSE" "$release/"
  cp "$binary" "$release/bin/kfbox"
  # Compiled here: the installer's own way downloads the SDK into a container, which takes as long as all the rest.
  [ -z "$python" ] || "$python" "$release/images/quickstart/digits.py" "$release/images/quickstart/digits.yaml" >/dev/null
}

refusals() {
  check 'an unknown flag is refused' fails install_sh --colour
  check '... by its name' said "unknown option '--colour'"
  check 'a port that is none is refused' fails install_sh --port 80a
  check '... by its name' said '--port 80a is not a port number'
  check 'a flag without its value is refused' fails install_sh --port
  check '... by its name' said '--port needs a value'
  check 'a top-level data folder is refused' fails "$release/installer/install.sh" --prefix "$prefix" --data-dir /kfbox
  check 'removing what is not there is refused' fails "$release/installer/uninstall.sh" --prefix "$prefix" --yes
  check '... with where it looked' said "no kfbox is installed under $prefix"
  check 'a refusal leaves nothing' nothing_left
}

busy_port() {
  local holder port
  coproc HOLDER { exec python3 -c 'import socket, time
s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1], flush=True); time.sleep(600)'; }
  holder=$HOLDER_PID
  read -r port <&"${HOLDER[0]}"
  check 'a port that is taken is refused' fails install_sh --no-demo --kube-port 0 --s3-port 0 --port "$port"
  check '... with who holds it' said "port $port is taken by process $holder"
  check '... and what to do' said 'choose another with --port'
  check '... before anything was put in place' not test -e "$prefix"
  kill "$holder"
  wait "$holder" 2>/dev/null || true
}

installs() {
  local pid id box
  check 'it installs' succeeds install_sh --no-demo --port 0 --kube-port 0 --s3-port 0
  check '... and prints a login link' said '/login#token='
  check '... into the prefix' test -x "$prefix/bin/kfbox"
  check 'the box is healthy' healthy
  check 'kfbox status knows it' succeeds kfbox status
  check 'one daemon runs' test "$(daemon_pid | wc -l)" = 1
  pid=$(daemon_pid) id=$(json "$data/box.json" id) box=$(cat "$data/box.json")
  check 'it may be run again' succeeds install_sh --no-demo
  check '... which changes nothing' same_state "$pid" "$box"

  check 'the installed copy repairs the installation' succeeds "$prefix/share/kfbox/installer/install.sh" --prefix "$prefix" --no-demo
  check '... and leaves a box that runs alone' same_state "$pid" "$box"
  kill -9 "$pid"
  check 'a daemon that died is started again by its supervisor' until_healthy "$pid"
  if [ -n "$python" ]; then
    check 'the quick-start runs' succeeds install_sh
    check '... to its end' said 'Quick-start    succeeded in'
    check '... and is in the list of runs' grep -qi succeeded <<<"$(kfbox runs 2>&1)"
  fi

  check 'it is removed' succeeds uninstall_sh
  check '... and says where the data is' said "in $data"
  check '... the daemon too' not daemon_pid
  check '... all but the data' nothing_left
  check '... which stays' test -e "$data/box.json"
  check '... no container or network stays' no_containers "$id"

  check 'it is installed over its old data' succeeds install_sh --no-demo --port 0 --kube-port 0 --s3-port 0
  check '... and is the same box' test "$(json "$data/box.json" id)" = "$id"
  check 'it is removed with its data' succeeds uninstall_sh --purge
  check '... nothing is left' nothing_left
  check '... nor the data' not test -e "$data"
  check '... no container or network stays' no_containers "$id"
}

until_healthy() {
  local i
  for ((i = 0; i < 100; i++)); do
    if [ "$(daemon_pid)" != "$1" ] && healthy; then return 0; fi
    sleep 0.2
  done
  return 1
}

[ "$(id -u)" -eq 0 ] || { echo 'tests/installer.sh: run it as root, as the installer is' >&2; exit 1; }
[ -x "$binary" ] || { echo "tests/installer.sh: $binary: cargo build -p kfbox, or set KFBOX_BIN" >&2; exit 1; }
make_release
refusals
busy_port
installs
printf '\n%s passed, %s failed\n' "$good" "$bad"
[ "$bad" -eq 0 ]
