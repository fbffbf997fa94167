#!/bin/sh
# A task_completed hook: no task counts as completed while a tracked file holds an unresolved merge.
# agent-team runs it in the project directory, with the event as JSON on stdin. Exit 2 refuses; stderr is the reason.
set -eu
cat >/dev/null

if found=$(git grep --line-number --extended-regexp '^(<{7}|>{7}) ' 2>/dev/null); then
    printf 'unresolved merge:\n%s\n' "$found" >&2
    exit 2
fi
