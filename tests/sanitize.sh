#!/usr/bin/env bash
# Compile the native engine, with all warnings as errors, for the address and undefined-behaviour sanitizers, and drive
# it by native_sanitize.cpp: the portable build, and the one for AVX2 where the processor has it.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
options=(-std=c++17 -O1 -g1 -Wall -Wextra -Werror -Wno-psabi -fno-math-errno -ffp-contract=fast)
options+=(-fsanitize=address,undefined -fno-sanitize-recover=all)

check() {  # name of the build, its flags
  local name=$1
  shift
  mkdir "$folder/$name"
  for source in src/nasbench_robust/native/src/*.cpp tests/native_sanitize.cpp; do
    echo "$source"
  done | xargs -P "$(nproc)" -I{} sh -c '"$@" -c "{}" -o "'"$folder/$name"'/$(basename "{}").o"' - \
    "${CXX:-g++}" "${options[@]}" "$@"
  "${CXX:-g++}" "${options[@]}" "$@" "$folder/$name"/*.o -o "$folder/$name/driver"
  echo "$name: $("$folder/$name/driver")"
}

check portable
if grep -qw avx2 /proc/cpuinfo 2>/dev/null && grep -qw fma /proc/cpuinfo; then
  check avx2 -mavx2 -mfma
fi
