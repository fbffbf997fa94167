#!/bin/sh
# Puts tmux 3.0 or newer in place where it may. Where it may not it says how and succeeds: the rest goes on without.
#   install-tmux.sh           nothing when it is there already
#   install-tmux.sh --check   exit 0 when it is there, 1 when not; changes nothing
set -eu

there() {
    version=$(tmux -V 2>/dev/null) || return 1
    # "tmux 3.3a", "tmux next-3.6"; a build without a number is taken to be new.
    case $version in
        'tmux master' | 'tmux openbsd-'*) return 0 ;;
    esac
    major=$(printf '%s\n' "$version" | sed -n 's/^[^0-9]*\([0-9][0-9]*\)\..*$/\1/p')
    [ "${major:-0}" -ge 3 ]
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif sudo -n true 2>/dev/null; then
        sudo -n "$@"
    else
        return 1
    fi
}

put_in_place() {
    if command -v apt-get >/dev/null; then
        how='apt-get install tmux'
        as_root apt-get update -qq && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq tmux
    elif command -v dnf >/dev/null; then
        how='dnf install tmux'
        as_root dnf install -y -q tmux
    elif command -v apk >/dev/null; then
        how='apk add tmux'
        as_root apk add --quiet tmux
    elif command -v pacman >/dev/null; then
        how='pacman -S tmux'
        as_root pacman -S --noconfirm --needed tmux
    elif command -v brew >/dev/null; then
        how='brew install tmux'
        brew install --quiet tmux
    else
        how='https://github.com/tmux/tmux/wiki/Installing'
        return 1
    fi
}

if there; then
    exit 0
fi
if [ "${1:-}" = --check ]; then
    exit 1
fi
if put_in_place >&2 && there; then
    echo "installed $(tmux -V)"
else
    echo "tmux 3.0 or newer is missing and cannot be installed from here; to have panes: $how"
fi
