#!/usr/bin/env bash
# Builds the box's local images, with no container registry: kfbox/base:1 (a Debian made by debootstrap),
# kfbox/busybox:1 and kfbox/python:3 on top of it, and, when asked for, the images of training jobs and of notebooks. The
# host's CA bundle, proxy and pip index settings go in. An image is built again only when what goes into it has changed,
# so this may be run as often as wanted.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
IMAGES=(base:1 busybox:1 python:3)
# Asked for by name, or all of them as "trainers".
TRAINERS=(science:1 tensorflow:2 torch:1)
# Asked for by name, or all of them as "notebooks".
NOTEBOOKS=(notebook:1 notebook-tensorflow:1)
RELEASE=${KFBOX_DEBIAN_RELEASE:-bookworm}
MIRROR=${KFBOX_DEBIAN_MIRROR:-}
SECURITY_MIRROR=${KFBOX_DEBIAN_SECURITY_MIRROR:-}
FORCE=0 PULL=0 LOG=
INPUTS_LABEL=kfbox.dev/inputs
# Services of the box that steps call by name: never through the host's proxy.
BOX_NAMES=localhost,127.0.0.1,::1,.svc,.cluster.local,.kubeflow,ml-pipeline,minio-service,seaweedfs,host.docker.internal

usage() {
    cat <<'USAGE'
Usage: images/build.sh [options] [trainers | science | tensorflow | torch |
                                  notebooks | notebook | notebook-tensorflow]...

Builds kfbox/base:1, kfbox/busybox:1 and kfbox/python:3 into the local Docker engine, each only if its inputs changed;
and those of the others that are named, with what they stand on:
  trainers   kfbox/science:1 (scikit-learn, XGBoost, JAX), kfbox/tensorflow:2, kfbox/torch:1 (PyTorch, Open MPI)
  notebooks  kfbox/notebook:1 (JupyterLab, on science), kfbox/notebook-tensorflow:1

  --force           build even when nothing changed (takes the newest security updates)
  --pull            start from debian:RELEASE-slim of a container registry instead of debootstrap
  --release NAME    Debian release of the base (default bookworm)
  --mirror URL      Debian mirror (default: the host's own, else http://deb.debian.org/debian)
  --log FILE        append the full output of the builds to FILE (default: a temporary file)
  -h, --help        this text

Taken from the environment when set, and kept in the images: http_proxy, https_proxy, no_proxy,
PIP_INDEX_URL, PIP_EXTRA_INDEX_URL, PIP_TRUSTED_HOST, PIP_DEFAULT_TIMEOUT.
CA certificates: SSL_CERT_FILE, else the host's bundle under /etc.
USAGE
}

say() { printf '%s\n' "$*"; }
die() { printf 'images/build.sh: %s\n' "$*" >&2; exit 1; }

# Runs a command with its output in the log; on failure shows the end of it.
logged() {
    printf '\n$ %s\n' "$*" >>"$LOG"
    "$@" >>"$LOG" 2>&1 && return
    tail -n 25 "$LOG" >&2
    die "'$1' failed; the whole output is in $LOG"
}

# Mirrors of the host's own package sources (a company mirror, say); $1 is the label in their Release file.
host_mirror() {
    command -v apt-get >/dev/null || return 0
    # shellcheck disable=SC2016 # apt's own placeholders
    apt-get indextargets --format '$(LABEL) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
        awk -v label="$1" '$1 == label && $2 == "main" { sub("/$", "", $3); print $3; exit }'
}

host_ca_bundle() {
    local file
    for file in "${SSL_CERT_FILE:-}" /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt; do
        if [ -n "$file" ] && [ -s "$file" ]; then
            printf '%s' "$file"
            return
        fi
    done
}

# The ENV lines that carry the host's way to the network into the images.
host_env() {
    local name upper value
    for name in http_proxy https_proxy no_proxy; do
        upper=${name^^}
        value=${!name:-${!upper:-}}
        if [ "$name" = no_proxy ] && grep -q . <<<"${http_proxy:-}${HTTP_PROXY:-}${https_proxy:-}${HTTPS_PROXY:-}"; then
            value=${value:+$value,}$BOX_NAMES
        fi
        [ -z "$value" ] || printf 'ENV %s="%s" %s="%s"\n' "$name" "$value" "$upper" "$value"
    done
    for name in PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_TRUSTED_HOST PIP_DEFAULT_TIMEOUT; do
        [ -z "${!name:-}" ] || printf 'ENV %s="%s"\n' "$name" "${!name}"
    done
}

label_of() { docker image inspect --format "{{index .Config.Labels \"$2\"}}" "$1" 2>/dev/null || true; }
id_of() { docker image inspect --format '{{.Id}}' "$1" 2>/dev/null || true; }
size_of() { docker image inspect --format '{{.Size}}' "$1" | awk '{ printf "%.0f MB", $1 / 1e6 }'; }

# Makes the Debian root filesystem and imports it as $1. The tree is emptied of what no container reads
# before it becomes a layer.
import_rootfs() {
    local image=$1 inputs=$2 root=$WORK/rootfs
    say "    debootstrap $RELEASE from $MIRROR"
    logged debootstrap --variant=minbase --include=ca-certificates,curl,netbase "$RELEASE" "$root" "$MIRROR"
    cp "$HERE/base/slim.conf" "$root/etc/dpkg/dpkg.cfg.d/kfbox-slim"
    printf 'deb %s %s main\n' "$MIRROR" "$RELEASE" "$MIRROR" "$RELEASE-updates" "$SECURITY_MIRROR" "$RELEASE-security" \
        >"$root/etc/apt/sources.list"

    # debootstrap takes packages as first released: bring in what was fixed since.
    cp "$WORK/base/host-ca.pem" "$root/tmp/host-ca.pem"
    printf 'Acquire::https::CAInfo "/tmp/host-ca.pem";\n' >"$root/tmp/apt.conf"
    say "    security updates from $SECURITY_MIRROR"
    logged in_rootfs apt-get update -q
    logged in_rootfs apt-get upgrade -qy
    logged in_rootfs apt-get clean

    rm -rf "${root:?}"/{tmp,var/tmp,var/lib/apt/lists,var/cache/apt,run}/* "$root"/var/cache/debconf/*-old \
        "$root"/var/log/{apt,bootstrap.log,dpkg.log,alternatives.log} \
        "$root"/usr/share/{man,info,groff,lintian,locale}/* "$root"/etc/{resolv.conf,hostname}
    find "$root/usr/share/doc" -type f ! -name copyright -delete
    find "$root/usr/share/doc" -type l -delete
    find "$root/usr/share/doc" -mindepth 1 -type d -empty -delete
    : >"$root/etc/machine-id"
    tar -C "$root" --numeric-owner --one-file-system --exclude='./dev/*' --exclude='./proc/*' --exclude='./sys/*' -c . |
        docker import --change "LABEL $INPUTS_LABEL=$inputs" --change 'CMD ["bash"]' - "$image" >>"$LOG" ||
        die "docker import failed; see $LOG"
}

in_rootfs() {
    local tls=/dev/null
    [ ! -s "$WORK/rootfs/tmp/host-ca.pem" ] || tls=/tmp/apt.conf
    APT_CONFIG=$tls DEBIAN_FRONTEND=noninteractive LC_ALL=C chroot "$WORK/rootfs" "$@"
}

# Sets ROOTFS to the image that base starts from, after making or pulling it where needed.
prepare_rootfs() {
    if [ "$PULL" = 1 ]; then
        ROOTFS=debian:$RELEASE-slim
        logged docker pull "$ROOTFS"
        return
    fi
    ROOTFS=kfbox/rootfs:$RELEASE
    local inputs
    inputs=$(cat "$HERE/base/slim.conf" <(declare -f import_rootfs) <(printf '%s\n' "$RELEASE" "$MIRROR" "$SECURITY_MIRROR") |
        sha256sum | cut -d' ' -f1)
    [ "$FORCE" = 0 ] && [ "$(label_of "$ROOTFS" "$INPUTS_LABEL")" = "$inputs" ] && return
    [ "$(id -u)" = 0 ] || die "debootstrap needs root; run this with sudo, or use --pull where a registry is reachable"
    command -v debootstrap >/dev/null ||
        die "debootstrap is missing: 'apt-get install debootstrap', or use --pull where a registry is reachable"
    import_rootfs "$ROOTFS" "$inputs"
}

# Builds kfbox/$1 from the folder of that name unless an image with the same inputs is there.
build() {
    local step=$1 image=kfbox/$2 name=${2%%:*} began=$SECONDS inputs parent old
    local context=$WORK/$name
    parent=$(awk '$1 == "FROM" { print $2; exit }' "$HERE/$name/Dockerfile")
    if [ "$name" = base ]; then
        prepare_rootfs
        parent=$ROOTFS
    fi
    [ -d "$context" ] || mkdir "$context"
    cp -R "$HERE/$name/." "$context/"
    [ "$name" != base ] || printf '%s\n' "$HOST_ENV" >>"$context/Dockerfile"
    inputs=$( (cd "$context" && find . -type f -print0 | sort -z | xargs -0 sha256sum && id_of "$parent") | sha256sum | cut -d' ' -f1)
    old=$(id_of "$image")
    if [ "$FORCE" = 0 ] && [ "$(label_of "$image" "$INPUTS_LABEL")" = "$inputs" ]; then
        say "$step $image unchanged, $(size_of "$image")"
        return
    fi
    # --network host: the build reaches mirrors exactly as the host does, a proxy on its loopback included.
    logged env DOCKER_BUILDKIT=0 docker build --network host --force-rm --no-cache \
        --build-arg "ROOTFS=$parent" --label "$INPUTS_LABEL=$inputs" \
        "${BUILD_PROXY[@]}" --tag "$image" "$context"
    # The image that lost its name goes, unless a container still runs on it.
    [ -z "$old" ] || [ "$old" = "$(id_of "$image")" ] || docker image rm "$old" >>"$LOG" 2>&1 || true
    say "$step $image built in $((SECONDS - began)) s, $(size_of "$image")"
}

# Adds images to the list, each once.
want() {
    local image
    for image in "$@"; do
        [[ " ${IMAGES[*]} " == *" $image "* ]] || IMAGES+=("$image")
    done
}

main() {
    while [ $# -gt 0 ]; do
        case $1 in
        --force) FORCE=1 ;;
        --pull) PULL=1 ;;
        --release) RELEASE=${2:?--release needs a name}; shift ;;
        --mirror) MIRROR=${2:?--mirror needs a URL}; shift ;;
        --log) LOG=${2:?--log needs a file}; shift ;;
        -h | --help) usage; exit 0 ;;
        trainers) want "${TRAINERS[@]}" ;;
        notebooks) want science:1 "${NOTEBOOKS[@]}" ;;
        science) want science:1 ;;
        tensorflow) want science:1 tensorflow:2 ;;
        torch) want torch:1 ;;
        notebook) want science:1 notebook:1 ;;
        notebook-tensorflow) want science:1 notebook:1 notebook-tensorflow:1 ;;
        *) usage >&2; die "unknown option or image '$1'" ;;
        esac
        shift
    done
    docker version >/dev/null 2>&1 || die "no Docker engine answers; start it and run this again"
    # /var/tmp: a root filesystem needs room and device nodes, which a tmpfs on /tmp may refuse.
    WORK=$(mktemp -d /var/tmp/kfbox-images.XXXXXX)
    trap 'rm -rf --one-file-system "$WORK"' EXIT
    LOG=${LOG:-$(mktemp "${TMPDIR:-/tmp}/kfbox-images.XXXXXX.log")}
    exec 9>"${TMPDIR:-/tmp}/kfbox-images.lock"
    flock -n 9 || { say "waiting for another build of the images"; flock 9; }

    MIRROR=${MIRROR:-$(host_mirror Debian)}
    MIRROR=${MIRROR:-http://deb.debian.org/debian}
    SECURITY_MIRROR=${SECURITY_MIRROR:-$(host_mirror Debian-Security)}
    SECURITY_MIRROR=${SECURITY_MIRROR:-http://deb.debian.org/debian-security}

    HOST_ENV=$(host_env)
    # apt's own proxy setting serves the builds, but is no setting for the containers.
    local apt_proxy='' name
    eval "$(apt-config shell apt_proxy Acquire::http::Proxy 2>/dev/null || true)"
    BUILD_PROXY=()
    for name in http_proxy https_proxy no_proxy; do
        local upper=${name^^}
        local value=${!name:-${!upper:-}}
        [ "$name" != http_proxy ] || value=${value:-$apt_proxy}
        [ -z "$value" ] || { export "$name=$value"; BUILD_PROXY+=(--build-arg "$name=$value"); }
    done
    case "${http_proxy:-}${https_proxy:-}" in
    *//127.* | *//localhost*) say "note: the proxy is on the host's loopback, which containers cannot reach" ;;
    esac

    mkdir "$WORK/base"
    local bundle
    bundle=$(host_ca_bundle)
    cat "${bundle:-/dev/null}" >"$WORK/base/host-ca.pem"

    local began=$SECONDS step=0 image
    say "building in $(docker info --format '{{.Name}}, Docker {{.ServerVersion}}'); full output in $LOG"
    for image in "${IMAGES[@]}"; do
        step=$((step + 1))
        build "$step/${#IMAGES[@]}" "$image"
    done
    say "images ready in $((SECONDS - began)) s"
}

main "$@"
