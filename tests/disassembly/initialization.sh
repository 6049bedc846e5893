#!/bin/sh
# initialization.sh <objdump> <compile command...>: including the library runs nothing before main.
# An object of namespace scope that is initialized dynamically would, in an order that nobody
# knows, in every program that includes its header.
set -eu
objdump=$1
shift
object=$(mktemp "${TMPDIR:-/tmp}/initialization.XXXXXX.o")
trap 'rm -f "$object"' EXIT
echo '#include "pare/pare.hpp"' | "$@" -O0 -x c++ -c - -o "$object"

if "$objdump" -h "$object" | grep -E '[.](init_array|ctors)'; then
  echo "a header has an object that is initialized dynamically:"
  "$objdump" -dC "$object" | awk '/^[0-9a-f]+ </ { inside = /static_init|GLOBAL__sub_I/ } inside'
  exit 1
fi
echo "nothing is initialized dynamically"
