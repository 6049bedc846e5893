#!/bin/sh
# check.sh <objdump> <source> <compile command...>: compiles the source for plain x86-64 and prints
# each instruction that a function may not contain. The namespace of a kernel names its
# instruction set; all other functions must run on any x86-64.
set -eu
objdump=$1
source=$2
shift 2
object=$(mktemp "${TMPDIR:-/tmp}/kernels.XXXXXX.o")
trap 'rm -f "$object"' EXIT
"$@" -O2 -c "$source" -o "$object"

"$objdump" -d --no-show-raw-insn "$object" | awk '
BEGIN {
  evex = "%zmm|%k[0-7]|%[xy]mm(1[6-9]|2[0-9]|3[01])|{evex}"
  vnni = "vpdp(bus|wss)ds?[ \t]"
  bf16 = "vdpbf16ps|vcvtne"
  vbmi = "vperm(b|[it]2b)[ \t]|vpmultishiftqb|vp(expand|compress)[bw]|vpsh[lr]d[vwdq]|vpopcnt[bw]"
  tiles = "[ \t](tdp|tile|ldtile|sttile)"
  any = tiles "|%[yz]mm|%k[0-7]|[ \t]v[a-z]"
  forbidden["plain"] = any
  forbidden["avx2"] = evex "|" vnni "|" tiles
  forbidden["avxvnni"] = evex "|" bf16 "|" tiles
  forbidden["avx512"] = vnni "|" bf16 "|" vbmi "|" tiles
  forbidden["avx512vnni"] = bf16 "|" vbmi "|" tiles
  forbidden["amx"] = bf16 "|" vbmi
  forbidden["avx512bf16"] = vbmi "|" tiles
  forbidden["avx512vbmi"] = bf16 "|" tiles
  # Mangled names of namespaces; the first that occurs counts.
  count = split("amx avx512vbmi avx512bf16 avx512vnni avx512 avxvnni avx2", families, " ")
}
/^[0-9a-f]+ </ {
  name = $2
  family = "plain"
  for (i = count; i >= 1; --i)
    if (index(name, length(families[i]) families[i])) family = families[i]
  functions[family]++
  next
}
/^ *[0-9a-f]+:\t/ {
  sub(/^ *[0-9a-f]+:[ \t]*/, "\t")
  sub(/ *[#<].*/, "")
  if (family == "avxvnni" && $0 ~ vnni) { dots++; if ($0 !~ /{vex}/) bad = 1; else bad = 0 }
  else bad = $0 ~ forbidden[family]
  if (bad) { printf "%s function %s%s\n", family, name, $0; failed = 1 }
}
END {
  split("plain avx2 avxvnni avx512 avx512vnni amx", needed, " ")
  for (i in needed)
    if (!functions[needed[i]]) { print "no function of " needed[i]; failed = 1 }
  if (!dots) { print "no vpdpbusd in avxvnni functions"; failed = 1 }
  if (!failed) print "every function keeps to its instruction set"
  exit failed
}'
