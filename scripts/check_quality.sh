#!/usr/bin/env bash
# Quantizes the demo model in every way of the quality table and checks what each reaches: minutes.
# Usage: scripts/check_quality.sh [BUILD_DIRECTORY]
set -euo pipefail
cd "$(dirname "$0")/.."

build=${1:-build/release}
cmake --build "$build" --target pare_example_pare
"$build/tests/example/pare_example_pare" "[.quality]"
