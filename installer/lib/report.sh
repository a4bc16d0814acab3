# shellcheck shell=bash
# How the installer speaks: numbered steps with elapsed time, everything in a log, and one plain account of a
# failure. Sourced by install.sh and uninstall.sh.

STEP=0 STEPS=0 STEP_NAME='' LOG=/dev/null CHILD=0 EXPLAINED=0
# Where what fails next is best mended; each step sets it.
HINT=''

say() {
    printf '%s\n' "$*"
    printf '%s %s\n' "$(date -u +%FT%TZ)" "$*" >>"$LOG"
}

detail() { say "      $*"; }

step() {
    STEP=$((STEP + 1))
    STEP_NAME=$1
    HINT=${2:-}
    say "$STEP/$STEPS $STEP_NAME"
}

# Opens the log $1/$2-<time>.log; keeps the five newest of its kind.
open_log() {
    mkdir -p "$1"
    LOG=$1/$2-$(date -u +%Y%m%d-%H%M%S).log
    : >>"$LOG"
    find "$1" -maxdepth 1 -name "$2-*.log" | sort -r | tail -n +6 | xargs -r rm -f
}

# Ends with a reason, and optionally with what to do about it.
die() {
    [ -z "${2:-}" ] || HINT=$2
    explain "$1"
    exit 1
}

explain() {
    EXPLAINED=1
    {
        printf '\nFailed'
        [ "$STEP" = 0 ] || printf ' in step %s/%s (%s)' "$STEP" "$STEPS" "$STEP_NAME"
        printf ': %s\n' "$1"
        [ -z "$HINT" ] || printf 'What to do: %s\n' "$HINT"
        if [ "$LOG" != /dev/null ]; then
            printf 'Full output: %s\n' "$LOG"
            printf 'It can be run again at any time: what is done is not done twice, and data is left alone.\n'
        fi
    } | tee -a "$LOG" >&2
}

# For trap EXIT: a command that failed where nobody looked still gets an account.
on_exit() {
    local code=$?
    [ "$CHILD" = 0 ] || kill -TERM -- "-$CHILD" 2>/dev/null || true
    [ -z "${SCRATCH:-}" ] || rm -rf "$SCRATCH"
    [ "$code" = 0 ] || [ "$EXPLAINED" = 1 ] || explain "'${FAILED_COMMAND:-a command}' ended with code $code"
    exit "$code"
}

on_interrupt() {
    HINT=''
    explain 'interrupted'
    exit 130
}

# run LABEL COMMAND...: output goes to the log, progress to the terminal; a failure ends the installation with
# the last lines of the output.
run() {
    local label=$1 began=$SECONDS code=0 mark beat=30
    shift
    mark=$(wc -c <"$LOG")
    printf '\n$ %s\n' "$*" >>"$LOG"
    # A process group of its own, so that an interrupt ends the command with all its children; without the
    # installer's lock (8), which a daemon started here would keep.
    set -m
    "$@" </dev/null >>"$LOG" 2>&1 8>&- &
    CHILD=$!
    set +m
    while kill -0 "$CHILD" 2>/dev/null; do
        if [ -t 1 ]; then
            printf '\r\033[K      %s ... %s s' "$label" "$((SECONDS - began))"
        elif [ $((SECONDS - began)) -ge "$beat" ]; then
            printf '      %s ... %s s\n' "$label" "$((SECONDS - began))"
            beat=$((beat + 30))
        fi
        sleep 0.25
    done
    wait "$CHILD" || code=$?
    CHILD=0
    [ ! -t 1 ] || printf '\r\033[K'
    [ "$code" = 0 ] || fail_with_output "$label" "$code" "$mark"
    detail "$label, $((SECONDS - began)) s"
}

fail_with_output() {
    {
        printf '\n--- the last lines of the output:\n'
        tail -c "+$(($3 + 1))" "$LOG" | tail -n 25
        printf -- '---\n'
    } >&2
    die "'$1' ended with code $2"
}
