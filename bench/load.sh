#!/usr/bin/env bash
# ./run bench load: a 2 GB checkpoint (made for this, removed after) is loaded, beside `cat FILE >/dev/null`, both from a warm
# file cache, best of five. The last line is one JSON object; ratio is ours/cat in bytes per second.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
build/test_model "load: speed*" | grep '^{'
