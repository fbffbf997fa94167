#!/bin/sh
# Puts iTerm2's own Python client and its command line, with which the tests compare ours, into an environment of their
# own where it may. Where it may not it says so and succeeds: those tests say that they are skipped.
#   install-iterm2-client.sh DIR
# Both are GPL-2: the tests run them as programs, and nothing of them is kept in or linked into this project.
set -eu

place=$1
wanted='iterm2==2.30 it2==0.2.3'

# The scripts of the environment contain its path: after a move it is made again.
# The interpreter of the environment is a link, which can lead into a home that this user cannot enter.
if [ "$(cat "$place/wanted" 2>/dev/null)" = "$wanted in $place" ] && "$place/bin/python" -c '' 2>/dev/null; then
    exit 0
fi
rm -rf "$place"
# shellcheck disable=SC2086 # two words
if python3 -m venv "$place" >&2 && "$place/bin/python" -m pip install --quiet --disable-pip-version-check $wanted >&2; then
    echo "$wanted in $place" > "$place/wanted"
    echo "installed $wanted"
else
    rm -rf "$place"
    echo "iTerm2's own client cannot be installed from here: it needs python3 with venv, and its packages $wanted"
fi
