#!/bin/sh
# Checks that no header makes its users compile more lines of the library than
# tests/headers/lines.txt allows: that a header becomes heavier is to be seen in a diff.
#   --update   writes the file anew: what there is, up to the next hundred
# Counted are lines of include/pare with code on them, those of all platforms, that a file compiles
# which includes that header alone.
set -eu
cd "$(dirname "$0")/../include"
list=../tests/headers/lines.txt

# shellcheck disable=SC2016
count_lines() {
  find pare -name '*.hpp' | LC_ALL=C sort | xargs awk '
FNR == 1 { all[++files] = FILENAME; commented = 0 }
/^#include "/ { split($0, quoted, "\""); edges[FILENAME] = edges[FILENAME] " " quoted[2]; next }
{
  line = $0
  if (commented) { if (!sub(/^.*\*\//, "", line)) next; commented = 0 }
  gsub(/\/\*([^*]|\*[^\/])*\*\//, "", line)
  if (sub(/\/\*.*$/, "", line)) commented = 1
  sub(/\/\/.*$/, "", line)
  if (line ~ /[^ \t]/) own[FILENAME]++
}
END {
  for (i = 1; i <= files; ++i) {
    split("", reached)
    total = 0
    todo[tail = head = 1] = all[i]
    while (head <= tail) {
      file = todo[head++]
      if (file in reached) continue
      reached[file] = 1
      total += own[file]
      n = split(edges[file], targets, " ")
      for (k = 1; k <= n; ++k) todo[++tail] = targets[k]
    }
    printf "%6d %s\n", total, all[i]
  }
}'
}

# Rooms below kernels/ are nobody's to include: what they cost is counted where they are used.
public_lines() { count_lines | grep -vE ' pare/kernels/.+/'; }

if [ "${1-}" = --update ]; then
  public_lines | awk '{ printf "%6d %s\n", int(($1 + 99) / 100) * 100, $2 }' >"$list"
  exit
fi
public_lines | awk -v list="$list" '
BEGIN { while ((getline line <list) > 0) { split(line, field, " "); limit[field[2]] = field[1] } }
!($2 in limit) { printf "include/%s:1: has no limit\n", $2; failed = 1; next }
$1 > limit[$2] { printf "include/%s:1: %d lines, %d are allowed\n", $2, $1, limit[$2]; failed = 1 }
{ delete limit[$2] }
END {
  for (file in limit) { printf "include/%s: is not there\n", file; failed = 1 }
  if (failed) print "scripts/check-header-lines.sh --update writes the limits anew, if that is meant"
  else printf "%d headers keep to their limits of lines\n", NR
  exit failed
}'
