#!/bin/sh
# Installs iTerm2's own Python client and command line in a virtual environment, for the tests' fake iTerm2. If they
# cannot be installed, prints a note and succeeds; the tests that need them are then skipped.
#   install-iterm2-client.sh DIR
# The client and the command line are GPL-2: the tests only run them as programs, and this project neither contains nor
# links them.
set -eu

environment=$1
packages='iterm2==2.30 it2==0.2.3'

# The scripts of the environment contain its path, so an environment that was moved is created again. The interpreter is
# a link, possibly into a home that this user cannot enter, so check that it runs.
if [ "$(cat "$environment/wanted" 2>/dev/null)" = "$packages in $environment" ] && "$environment/bin/python" -c '' 2>/dev/null; then
    exit 0
fi
rm -rf "$environment"
# shellcheck disable=SC2086 # two words
if python3 -m venv "$environment" >&2 && "$environment/bin/python" -m pip install --quiet --disable-pip-version-check $packages >&2; then
    echo "$packages in $environment" > "$environment/wanted"
    echo "installed $packages"
else
    rm -rf "$environment"
    echo "cannot install iTerm2's own client: it needs python3 with venv, and the packages $packages"
fi
