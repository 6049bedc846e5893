#!/bin/sh
# Checks the include rules of include/pare and prints each breach as file:line: reason.
#   - a header includes only its own layer or layers above it in the list below; families of
#     methods on one line do not include each other
#   - an umbrella includes what it is named after; pare.hpp reaches every header but the opt-in ones
#   - rooms below kernels/: only kernels/ itself enters them; packed bytes (layout), what an
#     implementation supplies (contract) and implementations build on each other in this order, and
#     only dispatch knows implementations
#   - fwd.hpp declares every class of namespace pare but errors and those whose templates are
#     constrained by concepts that it does not know
#   - instruction sets, Eigen, OpenMP, JSON and CUDA stay in their corners
#   - only core/config.hpp asks the preprocessor about compiler and platform
set -eu
cd "$(dirname "$0")/../include"

# shellcheck disable=SC2016
find pare \( -name '*.hpp' -o -name '*.cuh' \) | LC_ALL=C sort | xargs awk '
BEGIN {
  layers = "core formats kernels calibration solvers quantization,pruning,distillation io search"
  count = split(layers, lines, " ")
  for (i = 1; i <= count; ++i) {
    families = split(lines[i], names, ",")
    for (k = 1; k <= families; ++k) row[names[k]] = i
  }
  # What the headers of a room below kernels/ may enter beside their own, as patterns of rooms. An
  # instruction set implies others.
  enters["layout"] = "layout"
  enters["contract"] = "layout|contract"
  enters["reference"] = enters["contract"] "|reference"
  enters["portable"] = enters["arm"] = enters["x86"] = enters["reference"]
  enters["x86/avx2"] = enters["reference"] "|x86"
  enters["x86/avx512"] = enters["x86/avx2"] "|x86/avx2"
  enters["x86/avx512vnni"] = enters["x86/avx512bf16"] = enters["x86/avx512"] "|x86/avx512"
  enters["x86/amx"] = enters["x86/avx512vnni"] "|x86/avx512vnni|x86/avx512bf16"
  enters["dispatch"] = enters["x86/amx"] "|x86/amx|portable|arm"
  enters["gemm"] = enters["matmul"] = enters[""] = "layout|contract|dispatch|gemm|matmul"
  # The vocabulary of all rooms; drivers and dispatch may include what stands directly in kernels/.
  vocabulary = "^pare/kernels/kernel_name[.]hpp$"
  platform = "__GNUC__|__clang__|_MSC_VER|__x86_64__|__i386__|_M_X64|__aarch64__|__linux__|" \
             "__unix__|__APPLE__|_WIN32|_OPENMP|NDEBUG|__CUDACC__|__OPTIMIZE__|__FAST_MATH__"
  instruction_set = "__ARM|__SSE|__AVX|__FMA__|__F16C__"
  opt_in = "^pare/(core/eigen|core/parallel_openmp|core/thread_pool|fwd)[.]hpp$|^pare/kernels/cuda/"
}
function layer_of(file, parts) { return split(file, parts, "/") == 2 ? "" : parts[2] }
function room_of(file) {
  sub(/^pare\/kernels\//, "", file)
  return sub(/\/[^\/]*$/, "", file) ? file : ""
}
function breach(reason) { printf "include/%s:%d: %s\n", FILENAME, FNR, reason; failed = 1 }
function only_in(pattern, what) { if (FILENAME !~ pattern) breach(what) }

FNR == 1 { file_count++; all[FILENAME] = 1; layer = layer_of(FILENAME) }
FNR == 1 && layer != "" && !(layer in row) { breach("folder " layer " is not a layer") }

/^#include "/ {
  split($0, quoted, "\"")
  target = quoted[2]
  edges[FILENAME] = edges[FILENAME] " " target
  if (target !~ /^pare\//) breach("include by full path, \"pare/...\"")
  other = layer_of(target)
  if (layer == "" && FILENAME != "pare/fwd.hpp") {
    own = FILENAME
    sub(/[.]hpp$/, "/", own)
    if (FILENAME == "pare/pare.hpp" ? other != "" : index(target, own) != 1)
      breach("an umbrella does not include " target)
  } else if (layer != "" && other == "") {
    if (target != "pare/version.hpp") breach("a header does not include the umbrella " target)
  } else if (layer != "" && row[other] > row[layer]) {
    breach(layer "/ does not include " other "/, a layer below it")
  } else if (layer != "" && row[other] == row[layer] && other != layer) {
    breach(layer "/ and " other "/ do not include each other")
  }
  to = other == "kernels" ? room_of(target) : ""
  if (layer != "kernels") {
    if (to != "") breach("only kernels/ enters its rooms: include what stands directly in it")
  } else if (other == "kernels") {
    room = room_of(FILENAME)
    if (!(room in enters))
      breach("kernels/" room "/ is no room that this script knows")
    else if (to == "" && room ~ /^(layout|contract|reference|portable|arm|x86.*)$/ &&
             target !~ vocabulary)
      breach("kernels/" room "/ does not include the public " target)
    else if (to != "" && to != room && to !~ "^(" enters[room] ")$")
      breach("kernels/" room (room == "" ? "" : "/") " does not enter kernels/" to "/")
  }
}
/^#include <pare\// { breach("include the library in quotes") }
/^#include <(xsimd|[a-z0-9]*intrin|arm_)/ { only_in("^pare/kernels/", "instruction sets belong in kernels/") }
/^#include <(Eigen|unsupported)/ {
  only_in("^pare/(core/eigen[.]hpp|solvers/)", "Eigen belongs in core/eigen.hpp and solvers/")
}
/^#include <omp[.]h>/ { only_in("^pare/core/parallel_openmp[.]hpp", "OpenMP is opt-in") }
/^#include <nlohmann/ { only_in("^pare/(io|search)/", "JSON belongs in io/") }
/^#include <cu/ { only_in("^pare/kernels/cuda/", "CUDA belongs in kernels/cuda/") }
/^#include <(iostream|regex|functional|ranges)>/ { breach("too heavy a header for a library header") }
/^ *#/ && $0 ~ platform {
  only_in("^pare/core/config[.]hpp", "only core/config.hpp asks about compiler and platform")
}
/^ *#/ && $0 ~ instruction_set {
  only_in("^pare/(core/config[.]hpp|kernels/portable/)", "only kernels/portable/ asks about -m flags")
}
/^ *#.*PARE_X86_KERNELS/ { only_in("^pare/(core/config[.]hpp|kernels/)", "targets belong in kernels/") }
/__attribute__\(\(target|__builtin_cpu_supports/ { only_in("^pare/kernels/", "targets belong in kernels/") }

FNR == 1 { depth = in_pare = 0 }
/^namespace .*[{]$/ { outer[++depth] = in_pare; in_pare = depth == 1 && $2 == "pare" }
/^}  \/\/ namespace/ { in_pare = outer[depth--] }
/^(template|requires)/ { constrained = $0 !~ /^template <(Format |class |int |std::size_t )/ }
in_pare && /^class [A-Z][A-Za-z0-9]*;/ && FILENAME == "pare/fwd.hpp" {
  sub(/;/, "", $2)
  declared[$2] = 1
}
in_pare && /^class [A-Z][A-Za-z0-9]* (:|\{)/ {
  if (!constrained && $0 !~ /Error/) defined[$2] = FILENAME ":" FNR
}
/^[}]/ { constrained = 0 }

END {
  for (name in defined)
    if (!(name in declared)) {
      printf "include/%s: fwd.hpp does not declare %s\n", defined[name], name
      failed = 1
    }
  todo[tail = head = 1] = "pare/pare.hpp"
  while (head <= tail) {
    file = todo[head++]
    if (file in reached) continue
    reached[file] = 1
    n = split(edges[file], targets, " ")
    for (i = 1; i <= n; ++i) todo[++tail] = targets[i]
  }
  for (file in all)
    if (!(file in reached) && file !~ opt_in) {
      printf "include/%s:1: not reached from pare.hpp\n", file
      failed = 1
    }
  if (!failed) printf "%d headers keep the include rules\n", file_count
  exit failed
}'
