# shellcheck shell=bash disable=SC2034 # HINT and others are read by the file that sources this
# A Docker engine that answers: the one that is there, else the distribution's. Sourced by install.sh.

engine_answers() { docker version >/dev/null 2>&1; }

ensure_engine() {
    if ! engine_answers; then
        [ -z "${DOCKER_HOST:-}" ] || die "DOCKER_HOST is $DOCKER_HOST, but no engine answers there" \
            "start that engine, or unset DOCKER_HOST to use one on this machine"
        install_engine
        start_engine
    fi
    detail "Docker Engine $(docker version --format '{{.Server.Version}}') answers"
    local version
    version=$(docker version --format '{{.Server.APIVersion}}')
    at_least "$version" 1.41 || die "its API is $version, 1.41 (Docker 20.10) or newer is needed" "upgrade the Docker engine"
}

install_engine() {
    command -v dockerd >/dev/null && command -v docker >/dev/null && return
    apt_update
    # Newer releases keep the command line client in a package of its own.
    local client=()
    [ -z "$(candidate docker-cli)" ] || client=(docker-cli)
    run 'installing the Docker engine' apt_install docker.io iptables "${client[@]}"
}

start_engine() {
    if has_systemd; then
        run 'starting the Docker engine' systemctl enable --now docker.service
    else
        mount_cgroups
        detail 'no systemd here: the Docker engine runs as a supervised background process'
        # A pid file of a killed engine would stop the new one.
        pgrep -x dockerd >/dev/null || rm -f /var/run/docker.pid
        "$HERE/supervise" start kfbox-dockerd dockerd >>"$LOG" 2>&1 8>&-
    fi
    HINT="look at the engine's log: journalctl -u docker, or /var/log/kfbox-dockerd/kfbox-dockerd.log; inside a container it needs --privileged"
    run 'waiting for the engine to answer' wait_for_engine
}

wait_for_engine() {
    local left=120
    until engine_answers; do
        left=$((left - 1))
        if [ "$left" = 0 ]; then
            docker version
            tail -n 20 /var/log/kfbox-dockerd/kfbox-dockerd.log 2>/dev/null
            return 1
        fi
        sleep 0.5
    done
}

# Where systemd is not the init system, nobody may have mounted the control groups that the engine needs.
mount_cgroups() {
    grep -q ' /sys/fs/cgroup' /proc/mounts && return
    packages cgroupfs-mount=cgroupfs-mount
    run 'mounting the control groups' cgroupfs-mount
}
