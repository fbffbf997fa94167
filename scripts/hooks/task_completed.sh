#!/bin/sh
# A task_completed hook: refuses the completion of a task while a tracked file contains an unresolved merge.
# agent-team runs it in the project directory, with the event as JSON on stdin. Exit 2 refuses; stderr is the reason.
set -eu
cat >/dev/null

if found=$(git grep --line-number --extended-regexp '^(<{7}|>{7}) ' 2>/dev/null); then
    printf 'unresolved merge:\n%s\n' "$found" >&2
    exit 2
fi
