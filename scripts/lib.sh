# shellcheck shell=bash
# Helpers the scripts share: where caches live, how progress and failure look, which packages are there.
# Source it; it sets nothing but functions and these two paths.

# The checkout, and the cache (MICROVM_CACHE lets several checkouts share one).
repo_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache_root=${MICROVM_CACHE:-$repo_root/.cache}

# say TEXT…: a line of progress, on stderr so that stdout stays a script's result.
say() {
    printf '%s\n' "$*" >&2
}

# die TEXT…: one line naming the problem, exit 1.
die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# die_with CODE TEXT…: the same with an exit code that says which kind of failure.
die_with() {
    printf '%s: %s\n' "${0##*/}" "${*:2}" >&2
    exit "$1"
}

# as_root COMMAND…: run it as root, by sudo when we are not.
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# missing_packages PACKAGE…: print those dpkg does not know as installed.
missing_packages() {
    local package
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q ' installed$' || echo "$package"
    done
}

# need_packages PACKAGE…: install by apt what is missing; silent and quick when nothing is.
need_packages() {
    local -a missing
    mapfile -t missing < <(missing_packages "$@")
    [ "${#missing[@]}" -gt 0 ] || return 0
    mkdir -p "$cache_root"
    run_logged "installing ${missing[*]}" "$cache_root/apt.log" apt_install "${missing[@]}"
}

apt_install() {
    as_root apt-get update -q &&
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"
}

# locked NAME COMMAND…: one at a time among all that share this cache, so that nothing is built twice at once.
locked() {
    local lock status=0
    mkdir -p "$cache_root"
    exec {lock}>"$cache_root/$1.lock"
    flock "$lock"
    "${@:2}" || status=$?
    exec {lock}>&-
    return "$status"
}

# run_logged STAGE LOG COMMAND…: run COMMAND with its output in LOG. One line a stage; on a terminal the line
# counts the seconds and, if progress_of is a function, shows what it prints. A failure prints the log's end.
run_logged() {
    local stage=$1 log=$2 started=$SECONDS watcher='' status=0
    shift 2
    mkdir -p "$(dirname "$log")"
    say "$stage"
    if [ -t 2 ]; then
        watch_stage "$stage" "$log" &
        watcher=$!
    fi
    "$@" >"$log" 2>&1 </dev/null || status=$?
    if [ -n "$watcher" ]; then
        kill "$watcher" 2>/dev/null || true
        wait "$watcher" 2>/dev/null || true
        printf '\r\033[K' >&2
    fi
    if [ "$status" != 0 ]; then
        tail -n 20 "$log" >&2
        say "failed after $((SECONDS - started)) s: $stage (full log: $log)"
        return "$status"
    fi
}

# watch_stage STAGE LOG: rewrite one terminal line every two seconds until killed, or the script is gone.
watch_stage() {
    local stage=$1 log=$2 started=$SECONDS
    while sleep 2 && kill -0 $$ 2>/dev/null; do
        printf '\r\033[K  %s: %d s%s' "$stage" "$((SECONDS - started))" \
            "$(declare -F progress_of >/dev/null && progress_of "$log")" >&2
    done
}

# link_atomically TARGET LINK: point LINK at TARGET without a moment in which it is missing.
link_atomically() {
    ln -sfn "$1" "$2.new.$$"
    mv -T "$2.new.$$" "$2"
}
