# shellcheck shell=bash disable=SC2034 # HINT is read by the file that sources this
# The daemon as a service: a systemd unit where systemd runs, else a supervised background process. Sourced by
# install.sh and uninstall.sh; NAME, PREFIX, SHARE, DATA_DIR, CONFIG and UNIT_DIR say which box.

has_systemd() { [ -d /run/systemd/system ]; }

# Several boxes on one machine have names of their own: kfbox for the usual prefix, else one made from it.
service_name() {
    if [ "$1" = /usr/local ]; then
        printf kfbox
    else
        printf 'kfbox%s' "$(printf '%s' "$1" | tr -c 'A-Za-z0-9\n' -)"
    fi
}

default_config() {
    if [ "$1" = /usr/local ]; then printf /etc/kfbox/config.toml; else printf '%s/etc/kfbox/config.toml' "$1"; fi
}

# One value that an earlier installation under this prefix recorded.
recorded() { [ ! -e "$SHARE/install.env" ] || sed -n "s|^$1=||p" "$SHARE/install.env"; }

unit_text() {
    sed -e "s|@PREFIX@|$PREFIX|g" -e "s|@CONFIG@|$CONFIG|g" -e "s|@DATA_DIR@|$DATA_DIR|g" "$HERE/kfbox.service"
}

# Writes the unit; CHANGED tells whether it was another one before.
install_unit() {
    local unit=$UNIT_DIR/$NAME.service
    CHANGED=0
    ! unit_text | cmp -s - "$unit" || return 0
    CHANGED=1
    unit_text >"$unit.new"
    mv "$unit.new" "$unit"
    systemctl daemon-reload
}

service_runs() {
    if has_systemd; then
        systemctl is-active --quiet "$NAME.service"
    else
        "$HERE/supervise" status "$NAME" >/dev/null
    fi
}

start_service() {
    if has_systemd; then
        systemctl enable "$NAME.service"
        systemctl restart "$NAME.service"
    else
        "$HERE/supervise" stop "$NAME"
        "$HERE/supervise" start "$NAME" "$PREFIX/bin/kfbox" serve --config "$CONFIG"
    fi
}

stop_service() {
    if has_systemd && [ -e "$UNIT_DIR/$NAME.service" ]; then
        systemctl disable --now "$NAME.service"
    fi
    "$HERE/supervise" stop "$NAME"
}

service_log() {
    if has_systemd; then
        journalctl -u "$NAME.service" -n 20 --no-pager
    else
        tail -n 20 "/var/log/$NAME/$NAME.log"
    fi
}

how_to_see_log() {
    if has_systemd; then printf 'journalctl -u %s' "$NAME"; else printf 'tail -F /var/log/%s/%s.log' "$NAME" "$NAME"; fi
}

# The string under key $2 of the flat JSON file $1, or nothing.
json_string() {
    [ ! -e "$1" ] || sed -n "s/.*\"$2\"[[:space:]]*:[[:space:]]*\"\([^\"]*\)\".*/\1/p" "$1" | head -n 1
}

# The URL that the daemon has published, or nothing.
box_url() { json_string "$DATA_DIR/endpoints.json" ui; }

box_id() { json_string "$DATA_DIR/box.json" id; }

wait_for_box() {
    local left=240 url
    while [ "$left" -gt 0 ]; do
        url=$(box_url)
        if [ -n "$url" ] && curl -fsS --noproxy '*' --max-time 2 "$url/healthz" >/dev/null 2>&1; then
            return
        fi
        left=$((left - 1))
        sleep 0.25
    done
    printf 'the daemon did not become healthy in a minute; its log ends with:\n'
    service_log
    return 1
}
