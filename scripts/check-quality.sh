#!/bin/sh
# Quantizes the demo model in every way of the table in include/pare/quantization/README.md and
# checks what each reaches: minutes.
cd "$(dirname "$0")/.."
set -e
cmake --preset ci
cmake --build --preset ci --target pare_cli pare_example_pare
build/ci/tests/example/pare_example_pare "[.quality]"
