#!/usr/bin/env bash
# Installs, upgrades or repairs a kfbox on a Debian or Ubuntu machine: from a source tree (this file in its
# installer/) or from a release folder with bin/kfbox built. May be run again at any time.
# Everything is inside functions: a download that was cut short runs nothing.
# shellcheck disable=SC2034 # HINT, STEPS and others are read by lib/*.sh
set -Eeuo pipefail

usage() {
    cat <<'USAGE'
Usage: sudo ./installer/install.sh [options]

Installs kfbox, starts it, runs the quick-start pipeline, and prints the URL and how to log in. Run it again to
upgrade or repair: finished work is not done twice, data and settings are kept.

  --prefix DIR      where the program goes (default /usr/local); another prefix makes another box
  --data-dir DIR    where the box keeps everything it knows (default /var/lib/kfbox, or for
                    another prefix a folder in /var/lib that is named after it)
  --port N          port of the UI and the API, on loopback (default 8080; 0 takes a free one)
  --kube-port N     port of the Kubernetes-shaped API for kubectl, on loopback (default 6443; 0 takes a free one)
  --s3-port N       port of the S3 endpoint, on loopback (default 9000; 0 takes a free one)
  --no-demo         do not run the quick-start pipeline
  -h, --help        this text

Run again without --data-dir or the ports, it keeps what was chosen before. To remove: kfbox-uninstall.
USAGE
}

parse_options() {
    PREFIX=/usr/local DATA_DIR='' PORT='' KUBE_PORT='' S3_PORT='' DEMO=1
    while [ $# -gt 0 ]; do
        case $1 in
        --no-demo) DEMO=0 ;;
        --prefix | --data-dir | --port | --kube-port | --s3-port)
            [ -n "${2:-}" ] || die "$1 needs a value" "$0 --help"
            case $1 in
            --prefix) PREFIX=$2 ;;
            --data-dir) DATA_DIR=$2 ;;
            --port) PORT=$2 ;;
            --kube-port) KUBE_PORT=$2 ;;
            --s3-port) S3_PORT=$2 ;;
            esac
            shift
            ;;
        -h | --help) usage; exit 0 ;;
        *) die "unknown option '$1'" "$0 --help" ;;
        esac
        shift
    done
    PREFIX=$(readlink -m "$PREFIX")
    SHARE=$PREFIX/share/kfbox
    NAME=$(service_name "$PREFIX")
    CONFIG=$(default_config "$PREFIX")
    UNIT_DIR=/etc/systemd/system
    # What the command line does not say: as before, else the default.
    DATA_DIR_GIVEN=$DATA_DIR PORT_GIVEN=$PORT KUBE_PORT_GIVEN=$KUBE_PORT S3_PORT_GIVEN=$S3_PORT
    DATA_DIR=${DATA_DIR:-$(setting data_dir)}
    DATA_DIR=$(readlink -m "${DATA_DIR:-/var/lib/$NAME}")
    PORT=${PORT:-$(setting port)}
    PORT=${PORT:-8080}
    KUBE_PORT=${KUBE_PORT:-$(setting kube_port)}
    KUBE_PORT=${KUBE_PORT:-6443}
    S3_PORT=${S3_PORT:-$(setting s3_port)}
    S3_PORT=${S3_PORT:-9000}
    port_number --port "$PORT"
    port_number --kube-port "$KUBE_PORT"
    port_number --s3-port "$S3_PORT"
    [[ $PREFIX$DATA_DIR =~ ^[A-Za-z0-9/._+-]+$ ]] ||
        die "--prefix and --data-dir may have letters, digits and / . _ + - only" "choose other folders"
    [ "$(dirname "$DATA_DIR")" != / ] || die "--data-dir $DATA_DIR is a top-level folder" "choose one such as /var/lib/kfbox"
}

port_number() {
    [[ $2 =~ ^[0-9]+$ && $2 -le 65535 ]] || die "$1 $2 is not a port number" "$0 --help"
}

# A setting as the installed config file has it, or nothing.
setting() {
    [ ! -e "$CONFIG" ] || sed -n "s/^$1 *= *\"\{0,1\}\([^\"# ]*\).*/\1/p" "$CONFIG" | head -n 1
}

# Sets MODE: where the program comes from.
find_program() {
    SOURCE=$(dirname "$HERE")
    if [ -x "$SOURCE/bin/kfbox" ]; then
        MODE=prebuilt BINARY=$SOURCE/bin/kfbox
    elif [ -e "$SOURCE/Cargo.toml" ]; then
        MODE=source
    elif [ "$SOURCE" = "$SHARE" ] && [ -x "$PREFIX/bin/kfbox" ]; then
        MODE=installed BINARY=$PREFIX/bin/kfbox
    else
        die "neither a source tree nor a built bin/kfbox lies around $HERE" "run install.sh from a complete kfbox folder"
    fi
}

check_machine() {
    local space=6
    check_distribution
    check_architecture
    [ ! -e "$SHARE/install.env" ] || space=2
    check_disk "$space" "$DATA_DIR" "$(docker info --format '{{.DockerRootDir}}' 2>/dev/null || printf /var/lib/docker)"
    check_memory
    check_port "$PORT" "$PREFIX/bin/kfbox" --port
    check_port "$KUBE_PORT" "$PREFIX/bin/kfbox" --kube-port
    check_port "$S3_PORT" "$PREFIX/bin/kfbox" --s3-port
}

build_images() {
    HINT='if the output above says that something could not be fetched, the Debian mirror must be reachable; see images/README.md for --mirror and --pull'
    packages debootstrap=debootstrap /usr/share/keyrings/debian-archive-keyring.gpg=debian-archive-keyring
    run 'building the images' "$SOURCE/images/build.sh" --log "$LOG"
}

# Copies $1 to $2 with mode $3 unless they are equal; CHANGED tells which. At no moment is $2 half written.
put() {
    CHANGED=0
    record "$2"
    if ! cmp -s "$1" "$2"; then
        make_folder "$(dirname "$2")"
        install -m "$3" "$1" "$2.new"
        mv -f "$2.new" "$2"
        CHANGED=1
    fi
}

# Folders that were here before, /usr/local/bin for one, are not ours to remove: only new ones are recorded.
make_folder() {
    [ -d "$1" ] && return
    make_folder "$(dirname "$1")"
    mkdir "$1"
    record "$1/"
}

# Uninstalling removes what is recorded here and nothing else.
record() {
    # Folders above the manifest exist before it does.
    RECORDED+=("$1")
    [ -d "$SHARE" ] || return 0
    touch "$SHARE/manifest"
    printf '%s\n' "${RECORDED[@]}" | cat - "$SHARE/manifest" | sort -u >"$SHARE/manifest.new"
    mv "$SHARE/manifest.new" "$SHARE/manifest"
    RECORDED=()
}

install_files() {
    RESTART=0
    make_folder "$SHARE"
    # First of all, so that an installation that fails half way can be removed.
    local data_before
    data_before=$(recorded DATA_DIR)
    [ "${data_before:-$DATA_DIR}" = "$DATA_DIR" ] || detail "the data of before stays in $data_before"
    printf '%s\n' "NAME=$NAME" "DATA_DIR=$DATA_DIR" "CONFIG=$CONFIG" >"$SHARE/install.env"
    [ "$MODE" = installed ] || install_tree
    put "$BINARY" "$PREFIX/bin/kfbox" 0755
    if [ "$CHANGED" = 1 ]; then
        detail "$PREFIX/bin/kfbox, $(du -h "$PREFIX/bin/kfbox" | cut -f1)"
        RESTART=1
    fi
    ln -sfn "$SHARE/installer/uninstall.sh" "$PREFIX/bin/kfbox-uninstall"
    record "$PREFIX/bin/kfbox-uninstall"
    install_completions
    install_config
    [ -d "$DATA_DIR" ] || install -d -m 0750 "$DATA_DIR"
    CHANGED=0
    ! has_systemd || install_unit
    if [ "$CHANGED" = 1 ]; then
        detail "systemd unit $NAME.service"
        RESTART=1
    fi
}

# The installer and the image definitions go along, so that the box can be repaired without the source.
install_tree() {
    local file folder
    for folder in installer images; do
        while IFS= read -r -d '' file; do
            put "$SOURCE/$folder/$file" "$SHARE/$folder/$file" "$(stat -c %a "$SOURCE/$folder/$file")"
        done < <(cd "$SOURCE/$folder" && find . -name __pycache__ -prune -o -type f -printf '%P\0')
    done
    for file in README.md LICENSE; do
        [ ! -e "$SOURCE/$file" ] || put "$SOURCE/$file" "$SHARE/$file" 0644
    done
}

install_completions() {
    local shell file
    for shell in bash zsh fish; do
        case $shell in
        bash) file=$PREFIX/share/bash-completion/completions/kfbox ;;
        zsh) file=$PREFIX/share/zsh/site-functions/_kfbox ;;
        fish) file=$PREFIX/share/fish/vendor_completions.d/kfbox.fish ;;
        esac
        if "$PREFIX/bin/kfbox" completion "$shell" >"$SCRATCH/completion" 2>>"$LOG"; then
            put "$SCRATCH/completion" "$file" 0644
        fi
    done
}

# The user's config stays; only what this command line names is changed in it.
install_config() {
    local new=$SCRATCH/config.toml
    cp "$HERE/config.toml" "$new"
    if [ -e "$CONFIG" ]; then
        cp "$CONFIG" "$new"
    else
        DATA_DIR_GIVEN=$DATA_DIR PORT_GIVEN=$PORT KUBE_PORT_GIVEN=$KUBE_PORT S3_PORT_GIVEN=$S3_PORT
        [ -z "${DOCKER_HOST:-}" ] || sed -i "s|^docker_host = .*|docker_host = \"$DOCKER_HOST\"|" "$new"
    fi
    [ -z "$DATA_DIR_GIVEN" ] || sed -i "s|^data_dir = .*|data_dir = \"$DATA_DIR\"|" "$new"
    [ -z "$PORT_GIVEN" ] || sed -i "s|^port = .*|port = $PORT|" "$new"
    [ -z "$KUBE_PORT_GIVEN" ] || sed -i "s|^kube_port = .*|kube_port = $KUBE_PORT|" "$new"
    [ -z "$S3_PORT_GIVEN" ] || sed -i "s|^s3_port = .*|s3_port = $S3_PORT|" "$new"
    put "$new" "$CONFIG" 0644
    if [ "$CHANGED" = 1 ]; then
        detail "settings in $CONFIG"
        RESTART=1
    fi
}

start_box() {
    HINT="see the daemon's log: $(how_to_see_log)"
    if [ "$RESTART" = 1 ] || ! service_runs; then
        rm -f "$DATA_DIR/endpoints.json"
        run 'starting the daemon' start_service
    fi
    run 'waiting until it is healthy' wait_for_box
    URL=$(box_url)
}

# The SDK compiles the quick-start in a throw-away container: the host needs no Python for it.
compile_quickstart() {
    local source=$SOURCE/images/quickstart/digits.py out=$SHARE/quickstart.yaml inputs
    if [ -e "$SOURCE/images/quickstart/digits.yaml" ]; then
        put "$SOURCE/images/quickstart/digits.yaml" "$out" 0644
        return
    fi
    inputs=$(sha256sum <"$source" | cut -d' ' -f1)
    [ -e "$out" ] && [ "$(recorded_inputs)" = "$inputs" ] && return
    docker run --rm --interactive kfbox/python:3 sh -euc '
        cat >/tmp/digits.py
        pip install --quiet kfp==2.17.0 >&2
        python /tmp/digits.py /tmp/digits.yaml >&2
        cat /tmp/digits.yaml' <"$source" >"$SCRATCH/quickstart.yaml"
    { printf '# Compiled by kfp 2.17.0 from digits.py, sha256 %s\n' "$inputs"; cat "$SCRATCH/quickstart.yaml"; } >"$out"
    record "$out"
}

recorded_inputs() { sed -n '1s/.*sha256 //p' "$SHARE/quickstart.yaml"; }

run_quickstart() {
    if [ "$DEMO" = 0 ]; then
        detail 'left out (--no-demo)'
        return
    fi
    HINT='PyPI must be reachable for the kfp SDK; or leave the quick-start out with --no-demo. The box itself is installed and runs.'
    run 'compiling it with the kfp SDK' compile_quickstart
    HINT="look at the run in the browser, or with: kfbox runs; kfbox logs RUN. The box itself is installed and runs."
    local began=$SECONDS code=0
    printf '\n$ kfbox run %s --follow\n' "$SHARE/quickstart.yaml" >>"$LOG"
    KFBOX_DATA_DIR=$DATA_DIR "$PREFIX/bin/kfbox" run "$SHARE/quickstart.yaml" --follow 2>&1 |
        tee -a "$LOG" | sed 's/^/      /' || code=$?
    [ "$code" = 0 ] || die "the quick-start run did not succeed"
    DEMO_RESULT="succeeded in $((SECONDS - began)) s"
}

finish() {
    local environment='' program=kfbox
    [ "$DATA_DIR" = /var/lib/kfbox ] || environment="KFBOX_DATA_DIR=$DATA_DIR "
    [ "$PREFIX" = /usr/local ] || program=$PREFIX/bin/kfbox
    say ''
    say "kfbox runs ($("$PREFIX/bin/kfbox" version 2>/dev/null | head -n 1)); installed in $SECONDS s."
    [ -z "${DEMO_RESULT:-}" ] || say "  Quick-start    $DEMO_RESULT"
    say "  Open           $URL"
    # The link is a credential: to the terminal, not to the log.
    printf '  Log in         %s\n' "$(KFBOX_DATA_DIR=$DATA_DIR "$PREFIX/bin/kfbox" token login 2>>"$LOG" | sed '2,$s/^/                 /')"
    say "  Another link   $environment$program token login"
    say "  Daemon's log   $(how_to_see_log)"
    has_systemd || say "  After a reboot $SHARE/installer/install.sh --no-demo$([ "$PREFIX" = /usr/local ] || printf ' --prefix %s' "$PREFIX")   (no systemd here to do it)"
    say "  Remove         $PREFIX/bin/kfbox-uninstall"
}

main() {
    HERE=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
    local part
    for part in report machine engine build service; do
        # shellcheck source=/dev/null
        . "$HERE/lib/$part.sh"
    done
    trap on_exit EXIT
    trap 'FAILED_COMMAND=$BASH_COMMAND' ERR
    trap on_interrupt INT TERM
    SECONDS=0
    parse_options "$@"
    need_root "$@"
    find_program
    open_log "/var/log/$NAME" install
    exec 8>"/run/$NAME-install.lock"
    flock -n 8 || die 'another installation of this box is under way' 'wait for it to end'
    SCRATCH=$(mktemp -d /var/tmp/kfbox-install.XXXXXX)
    STEPS=8 RECORDED=()
    say "Installing kfbox under $PREFIX, data in $DATA_DIR; full output in $LOG"

    step 'Checking the machine' 'nothing was changed yet'
    check_machine
    step 'Docker engine' 'the distribution'"'"'s packages must be reachable: apt-get update shows why they are not'
    packages curl=curl /etc/ssl/certs/ca-certificates.crt=ca-certificates
    ensure_engine
    step 'Build tools'
    if [ "$MODE" = source ]; then ensure_build_tools; else detail 'not needed: the program is built already'; fi
    step 'Program'
    if [ "$MODE" = source ]; then build_binary; else detail "$BINARY"; fi
    step 'Images'
    build_images
    step 'Files' "is $PREFIX writable?"
    install_files
    step 'Daemon'
    start_box
    step 'Quick-start pipeline'
    run_quickstart
    finish
}

main "$@"
