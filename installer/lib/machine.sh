# shellcheck shell=bash disable=SC2034 # HINT and others are read by the file that sources this
# What the machine must be and have. Checks change nothing; packages() installs what a later step lacks.
# Sourced by install.sh.

need_root() {
    [ "$(id -u)" = 0 ] || die "this must run as root" "sudo $0 $*"
}

os_release() { sed -n "s/^$1=//p" /etc/os-release 2>/dev/null | tr -d '"'; }

check_distribution() {
    local version
    version=$(os_release PRETTY_NAME)
    case " $(os_release ID) $(os_release ID_LIKE) " in
    *" debian "* | *" ubuntu "*) ;;
    *) die "this is ${version:-an unknown system}; the installer knows Debian and Ubuntu" \
        "install a Docker engine yourself, build with 'cargo build --release -p kfbox', and start 'kfbox serve'" ;;
    esac
    command -v apt-get >/dev/null || die "apt-get is missing on $version" "use a full Debian or Ubuntu system"
    detail "$version, $(uname -m), kernel $(uname -r)"
}

check_architecture() {
    case $(uname -m) in
    x86_64 | aarch64) ;;
    *) die "$(uname -m) is not supported" "kfbox runs on x86_64 and aarch64" ;;
    esac
}

# Free space, in GB, of the file system that will hold $1 (which need not exist yet).
free_gb() {
    local folder=$1
    while [ ! -d "$folder" ]; do
        folder=$(dirname "$folder")
    done
    df -P -B1 "$folder" | awk 'NR == 2 { printf "%d", $4 / 1e9 }'
}

check_disk() {
    local needed=$1 folder free
    shift
    for folder in "$@"; do
        free=$(free_gb "$folder")
        [ "$free" -ge "$needed" ] ||
            die "$folder has $free GB free, $needed GB are needed" "free some space, or choose another --data-dir"
    done
    detail "$free GB of disk free"
}

check_memory() {
    local have
    have=$(awk '/^MemTotal/ { printf "%d", $2 / 1024 }' /proc/meminfo)
    [ "$have" -ge 1500 ] || die "$have MB of memory, at least 1500 are needed" "give the machine more memory"
    if [ "$have" -lt 3500 ]; then
        detail "$have MB of memory: enough for small pipelines; compiling from source may be slow"
    else
        detail "$have MB of memory"
    fi
}

# The pid and command of the process that listens on TCP port $1, or nothing. Reads /proc: ss and lsof are
# not on every machine.
port_holder() {
    local hex inode link pid
    hex=$(printf ':%04X' "$1")
    # shellcheck disable=SC2013 # words are what awk prints
    for inode in $(awk -v port="$hex" '$4 == "0A" && $2 ~ port "$" { print $10 }' /proc/net/tcp /proc/net/tcp6 2>/dev/null); do
        for link in /proc/[0-9]*/fd/*; do
            if [ "$(readlink "$link" 2>/dev/null)" = "socket:[$inode]" ]; then
                pid=${link#/proc/}
                pid=${pid%%/*}
                printf '%s %s' "$pid" "$(tr '\0' ' ' <"/proc/$pid/cmdline")"
                return
            fi
        done
        printf '%s' "? (a process outside of this container)"
        return
    done
}

# The port must be free, or held by the daemon that this installation will replace ($2: its program).
check_port() {
    local port=$1 program=$2 flag=${3:---port} holder
    [ "$port" != 0 ] || return 0
    holder=$(port_holder "$port")
    if [ -z "$holder" ]; then
        detail "port $port is free"
    elif [ "$(readlink "/proc/${holder%% *}/exe" 2>/dev/null | sed 's/ (deleted)$//')" = "$program" ]; then
        detail "port $port is held by the box that is installed here"
    else
        die "port $port is taken by process $holder" "stop that process, or choose another with $flag"
    fi
}

# packages COMMAND=PACKAGE...: installs the packages whose command (or file) is missing, in one go.
packages() {
    local pair probe missing=()
    for pair in "$@"; do
        probe=${pair%%=*}
        case $probe in
        /*) [ -e "$probe" ] || missing+=("${pair#*=}") ;;
        *) command -v "$probe" >/dev/null || missing+=("${pair#*=}") ;;
        esac
    done
    [ "${#missing[@]}" -gt 0 ] || return 0
    apt_update
    run "installing ${missing[*]}" apt_install "${missing[@]}"
}

apt_update() {
    [ "${APT_UPDATED:-0}" = 1 ] || run 'reading the package lists' apt-get update -q
    APT_UPDATED=1
}

apt_install() {
    DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l \
        apt-get -o DPkg::Lock::Timeout=300 install -qy --no-install-recommends "$@"
}

# The version that apt would install of $1, or nothing.
candidate() {
    apt-cache policy "$1" 2>/dev/null | awk '$1 == "Candidate:" && $2 != "(none)" { sub("^[0-9]+:", "", $2); print $2 }'
}

# Whether version $1 is at least $2.
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]; }
