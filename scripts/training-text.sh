#!/bin/sh
# Writes the text that the demo model learned from to FILE: the King James Bible as Debian's packages
# bible-kjv and bible-kjv-text have it, a verse a line, without Acts, which it is measured on. Uses
# the program `bible` where it is installed, else downloads both packages and unpacks them aside.
set -eu
[ $# -eq 1 ] || { echo "usage: training-text.sh FILE" >&2; exit 2; }

if bible=$(command -v bible); then
  data=
else
  command -v dpkg-deb > /dev/null ||
    { echo "training-text.sh: install the program bible (Debian: bible-kjv)" >&2; exit 1; }
  aside=$(mktemp -d)
  trap 'rm -rf "$aside"' EXIT
  (cd "$aside" && apt-get download bible-kjv bible-kjv-text > /dev/null 2>&1) ||
    { echo "training-text.sh: cannot download bible-kjv and bible-kjv-text" >&2; exit 1; }
  for package in "$aside"/*.deb; do dpkg-deb -x "$package" "$aside"; done
  bible=$aside/usr/bin/bible
  data=$aside/usr/lib
fi
"$bible" ${data:+-p "$data"} -f -l100000 'Gen1:1-Rev22:21' |
  grep -v '^Acts[0-9]' | sed 's/^[0-9A-Za-z]*:[0-9]* //' > "$1.part"
mv "$1.part" "$1"
wc -c "$1"
