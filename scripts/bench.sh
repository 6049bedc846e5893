#!/bin/sh
# Builds and runs all benchmarks: a table per operation with limits, peers and goals, then the
# goals that were missed. Peers are those that scripts/get-peers fetched. Needs a quiet machine.
#   --quick        one shape per goal: minutes instead of half an hour
#   --filter RE    only rows whose name (operation/variant/shape/tokens/threads/memory) matches
#   --out DIR      where report.json goes, build/release/benchmarks/report by default
cd "$(dirname "$0")/.."
. scripts/setup.sh

quick=""
filter=.
out=build/release/benchmarks/report
while [ $# -gt 0 ]; do
  case $1 in
    --quick) quick=--quick ;;
    --filter)
      [ -n "${2-}" ] || fail "--filter needs a regular expression"
      filter=$2
      shift
      ;;
    --out)
      [ -n "${2-}" ] || fail "--out needs a directory"
      out=$2
      shift
      ;;
    *) fail "unknown option $1; there are --quick, --filter RE and --out DIR" ;;
  esac
  shift
done

# compile_time <name> <goal in seconds> [flag]: of a consumer's translation unit without other flags.
compile_time() {
  begin=$(date +%s.%N)
  g++ -std=c++20 -O2 -Iinclude ${3-} -c "benchmarks/compile_time/$1.cpp" -o /dev/null
  end=$(date +%s.%N)
  awk -v name="$1${3:+, pare::kernels}" -v goal="$2" -v seconds="$(echo "$begin $end" | awk '{print $2 - $1}')" 'BEGIN {
    printf "%-28s %5.1f s  goal %2d s %s\n", name, seconds, goal, seconds <= goal ? "met" : "MISSED"
  }'
}

# shellcheck disable=SC2086
need_packages $build_packages libbenchmark-dev python3=python3
cmake --preset release -DPARE_BUILD_BENCHMARKS=ON
cmake --build --preset release --target pare_benchmarks

mkdir -p "$out"
report=$out/report.json
rm -f "$report"
for program in build/release/benchmarks/*_benchmark; do
  # An operation without a row that matches is left out.
  "$program" $quick --benchmark_filter="$filter" --benchmark_list_tests 2>/dev/null |
    grep -q . || continue
  "$program" $quick --benchmark_filter="$filter" --json="$report"
done

printf '\ncompile time (g++ -O2)\n'
linked=-DPARE_LINKS_COMPILED_KERNELS
compile_time one_format 4
compile_time one_format 3 $linked
compile_time all_formats 20
compile_time all_formats 7 $linked
compile_time readme 8
compile_time readme 5 $linked

[ -e "$report" ] || fail "no row matches $filter"
printf '\nsummary\n'
scripts/plot-bench --summary "$report"
echo "report: $report"
