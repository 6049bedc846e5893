#!/bin/sh
# chains.sh FOLDER: writes sources into FOLDER that include every header of the library.
#
# Behind a header that it includes itself, and that compiles alone, a header sees nothing that it
# would not see alone. So each source is a chain: every header in it but the first includes the one
# before it. Compiling chains takes half the time of compiling each header from nothing.
set -eu
mkdir -p "$1"
folder=$(cd "$1" && pwd)
rm -f "$folder"/*.cpp
cd "$(dirname "$0")/../../../include"

# shellcheck disable=SC2016
find pare -name '*.hpp' | LC_ALL=C sort | xargs awk -v folder="$folder" '
FNR == 1 { headers[++count] = FILENAME; conditions = 0 }
/^#[ ]*if/ { ++conditions }
/^#[ ]*endif/ { --conditions }
/^#include "/ && conditions == 0 {
  split($0, quoted, "\"")
  included[FILENAME] = included[FILENAME] " " quoted[2]
}

END {
  for (i = 1; i <= count; ++i) {
    n = split(included[headers[i]], candidates, " ")
    for (k = 1; k <= n; ++k)
      if (!(candidates[k] in after)) {
        after[candidates[k]] = headers[i]
        before[headers[i]] = candidates[k]
        break
      }
  }
  for (i = 1; i <= count; ++i) {
    if (headers[i] in before) continue
    source = headers[i]
    gsub("/", "-", source)
    sub("[.]hpp$", ".cpp", source)
    source = folder "/" source
    for (header = headers[i]; header != ""; header = after[header]) {
      printf "#include \"%s\"\n", header > source
      if (!(header in after)) break
    }
    close(source)
    ++chains
  }
  printf "%d headers in %d chains\n", count, chains
}'
