#!/bin/sh
# A teammate_idle hook: records each teammate that becomes idle. Always accepts; exit 2 would keep the member working.
# agent-team runs it in the project directory, with the event as JSON on stdin.
set -eu

printf '%s %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$(tr -d '\n')" >>.agent-team/idle.log
