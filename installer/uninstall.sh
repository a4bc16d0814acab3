#!/usr/bin/env bash
# Removes what install.sh put on this machine: the daemon, the box's containers and networks, the local
# images, program, unit, settings, logs. Keeps the data unless --purge, and Docker itself always.
# Everything is inside functions: this file may delete itself while it runs.
# shellcheck disable=SC2034 # HINT and others are read by lib/*.sh
set -Eeuo pipefail

usage() {
    cat <<'USAGE'
Usage: sudo kfbox-uninstall [options]

  --prefix DIR      the installation to remove (default: the one this script belongs to, else /usr/local)
  --purge           remove the data folder as well: runs, pipelines, artifacts, tokens
  --keep-images     leave kfbox/base, kfbox/busybox and kfbox/python in the engine
  -y, --yes         do not ask
  -h, --help        this text
USAGE
}

parse_options() {
    PREFIX='' PURGE=0 KEEP_IMAGES=0 YES=0
    while [ $# -gt 0 ]; do
        case $1 in
        --prefix) PREFIX=$(readlink -m "${2:?--prefix needs a folder}"); shift ;;
        --purge) PURGE=1 ;;
        --keep-images) KEEP_IMAGES=1 ;;
        -y | --yes) YES=1 ;;
        -h | --help) usage; exit 0 ;;
        *) die "unknown option '$1'" "$0 --help" ;;
        esac
        shift
    done
    if [ -z "$PREFIX" ]; then
        PREFIX=/usr/local
        case $HERE in
        */share/kfbox/installer) PREFIX=${HERE%/share/kfbox/installer} ;;
        esac
    fi
    SHARE=$PREFIX/share/kfbox
    UNIT_DIR=/etc/systemd/system
    [ -e "$SHARE/install.env" ] || die "no kfbox is installed under $PREFIX" "name another place with --prefix"
    NAME=$(recorded NAME)
    DATA_DIR=$(recorded DATA_DIR)
    CONFIG=$(recorded CONFIG)
}

# A data folder is one that the daemon marked as its own, and no folder that is somebody's home or the system's.
check_purge() {
    local absurd=0
    [[ $DATA_DIR =~ ^/[^/]+/[^/]+ && $DATA_DIR != "${HOME%/}" ]] || absurd=1
    [[ ! $DATA_DIR =~ ^/(home|usr|var|etc|lib|boot|dev|proc|sys|run)/[^/]+$ ]] || absurd=1
    [ "$absurd" = 0 ] || die "'$DATA_DIR' is no folder to remove" "move the data out, or remove it by hand"
    [ ! -d "$DATA_DIR" ] || [ -e "$DATA_DIR/box.json" ] || [ -z "$(ls -A "$DATA_DIR")" ] ||
        die "$DATA_DIR holds no box.json, so it may not be a kfbox data folder" "look at it, and remove it by hand"
}

confirm() {
    [ "$YES" = 0 ] && [ -t 0 ] || return 0
    local answer data="its data in $DATA_DIR stays"
    [ "$PURGE" = 0 ] || data="ALL ITS DATA in $DATA_DIR is removed"
    printf 'Remove kfbox from %s; %s. Go on? [y/N] ' "$PREFIX" "$data"
    read -r answer
    [[ $answer = [yY]* ]] || { printf 'Nothing was removed.\n'; EXPLAINED=1; exit 1; }
}

engine_answers() { docker version >/dev/null 2>&1; }

# The box's own containers, networks and volumes: all that carry its id.
remove_workloads() {
    local id ids kind
    id=$(box_id)
    if ! engine_answers; then
        say "  no Docker engine answers: containers and images of the box stay until you remove them"
        REMAINS+=("containers and networks labelled kfbox.dev/box=${id:-?}, images kfbox/*")
        return
    fi
    if [ -n "$id" ]; then
        mapfile -t ids < <(docker ps --all --quiet --filter "label=kfbox.dev/box=$id")
        [ "${#ids[@]}" = 0 ] || docker rm --force --volumes "${ids[@]}" >>"$LOG"
        say "  containers removed: ${#ids[@]}"
        for kind in network volume; do
            mapfile -t ids < <(docker "$kind" ls --quiet --filter "label=kfbox.dev/box=$id")
            [ "${#ids[@]}" = 0 ] || docker "$kind" rm "${ids[@]}" >>"$LOG"
            say "  ${kind}s removed: ${#ids[@]}"
        done
    fi
    remove_images "$id"
}

# The layers with pip packages (kfbox/env-<box>) are the box's own; all boxes of a machine share the other
# images, which go with the last box.
remove_images() {
    local others images pattern="kfbox/env-${1:-none}"
    others=$(docker ps --all --filter label=kfbox.dev/box --format '{{.Label "kfbox.dev/box"}}' | grep -vxF "${1:-none}" || true)
    if [ "$KEEP_IMAGES" = 1 ]; then
        REMAINS+=('the images kfbox/base, kfbox/python (as asked)')
    elif [ -n "$others" ] || other_daemon; then
        REMAINS+=('the images kfbox/base, kfbox/python (another box uses them)')
    else
        pattern='kfbox/*'
    fi
    mapfile -t images < <(docker images --format '{{.Repository}}:{{.Tag}}' --filter "reference=$pattern" | grep -v '<none>' || true)
    [ "${#images[@]}" = 0 ] || docker image rm --force "${images[@]}" >>"$LOG"
    say "  images removed: ${#images[@]}"
}

other_daemon() {
    local exe
    for exe in /proc/[0-9]*/exe; do
        case $(readlink "$exe" 2>/dev/null) in */kfbox | */kfbox' (deleted)') return 0 ;; esac
    done
    return 1
}

remove_files() {
    local paths path
    mapfile -t paths < <(sort -r "$SHARE/manifest")
    for path in "${paths[@]}"; do
        case $path in */) ;; *) rm -f "$path" ;; esac
    done
    rm -f "$UNIT_DIR/$NAME.service" "/run/$NAME.pid" "/run/$NAME-install.lock"
    rm -rf "${SHARE:?}" "/var/log/${NAME:?}"
    # Folders that the installer made and that are empty now; sorted so that inner ones come first.
    for path in "${paths[@]}"; do
        case $path in */) rmdir "$path" 2>/dev/null || true ;; esac
    done
    ! has_systemd || systemctl daemon-reload
    say "  files removed: ${#paths[@]}"
}

remove_data() {
    if [ "$PURGE" = 1 ]; then
        rm -rf --one-file-system "${DATA_DIR:?}"
        say "  data removed: $DATA_DIR"
    elif [ -d "$DATA_DIR" ]; then
        REMAINS+=("the data, $(du -sh "$DATA_DIR" | cut -f1), in $DATA_DIR (install again to use it, or remove it by hand)")
    fi
}

main() {
    HERE=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
    local part
    for part in report service; do
        # shellcheck source=/dev/null
        . "$HERE/lib/$part.sh"
    done
    trap on_exit EXIT
    trap 'FAILED_COMMAND=$BASH_COMMAND' ERR
    trap on_interrupt INT TERM
    parse_options "$@"
    [ "$(id -u)" = 0 ] || die 'this must run as root' "sudo $0 $*"
    [ "$PURGE" = 0 ] || check_purge
    confirm
    REMAINS=()
    say "Removing kfbox from $PREFIX"
    stop_service
    say '  daemon stopped'
    remove_workloads
    remove_files
    remove_data
    ! command -v docker >/dev/null || REMAINS+=('Docker itself, and build tools that the installer added')
    say 'kfbox is removed. What remains:'
    for part in "${REMAINS[@]:-nothing}"; do
        say "  $part"
    done
    exit 0
}

main "$@"
