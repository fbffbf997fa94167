#!/bin/sh
# Installs a package with the package manager of this machine. Without the right to install, prints the command to run and
# succeeds: the caller continues without the program.
#   install-package.sh tmux|bubblewrap|zsh|fish|chromedriver            does nothing when the program is installed
#   install-package.sh tmux|bubblewrap|zsh|fish|chromedriver --check    exit 0 when the program is installed, 1 when it is
#                                                                       not; changes nothing
# tmux must be 3.0 or newer.
set -eu

package=$1

tmux_is_new_enough() {
    version=$(tmux -V 2>/dev/null) || return 1
    # "tmux 3.3a", "tmux next-3.6". A build without a number counts as new.
    case $version in
        'tmux master' | 'tmux openbsd-'*) return 0 ;;
    esac
    major=$(printf '%s\n' "$version" | sed -n 's/^[^0-9]*\([0-9][0-9]*\)\..*$/\1/p')
    [ "${major:-0}" -ge 3 ]
}

program=$package

is_installed() {
    case $program in
        tmux) tmux_is_new_enough ;;
        bubblewrap) bwrap --version >/dev/null 2>&1 ;;
        *) command -v "$program" >/dev/null ;;
    esac
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

# The name of the package of chromedriver with this package manager.
chromedriver_is() {
    [ "$package" != chromedriver ] || package=$1
}

install() {
    if command -v apt-get >/dev/null; then
        chromedriver_is chromium-driver
        how="apt-get install $package"
        as_root apt-get update -qq && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$package"
    elif command -v dnf >/dev/null; then
        how="dnf install $package"
        as_root dnf install -y -q "$package"
    elif command -v apk >/dev/null; then
        chromedriver_is chromium-chromedriver
        how="apk add $package"
        as_root apk add --quiet "$package"
    elif command -v pacman >/dev/null; then
        chromedriver_is chromium
        how="pacman -S $package"
        as_root pacman -S --noconfirm --needed "$package"
    elif command -v brew >/dev/null && [ "$package" = tmux ]; then
        how="brew install $package"
        brew install --quiet "$package"
    else
        return 1
    fi
}

case $package in
    tmux) what='tmux 3.0 or newer' how=https://github.com/tmux/tmux/wiki/Installing ;;
    bubblewrap) what=bubblewrap how=https://github.com/containers/bubblewrap ;;
    zsh) what=zsh how=https://www.zsh.org ;;
    fish) what=fish how=https://fishshell.com ;;
    chromedriver) what=chromedriver how=https://developer.chrome.com/docs/chromedriver ;;
    *) echo "unknown package $package: tmux, bubblewrap, zsh, fish or chromedriver" >&2 && exit 2 ;;
esac
if is_installed; then
    exit 0
fi
if [ "${2:-}" = --check ]; then
    exit 1
fi
if install >&2 && is_installed; then
    echo "installed $what"
else
    echo "$what is missing; to install it: $how"
fi
