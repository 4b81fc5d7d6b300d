#!/usr/bin/env bash
# Note [Static thread storage]
# Hot thread-local variables use the initial-exec model: one instruction instead of a call. A library that has one gets all
# its thread-local variables from the few hundred bytes that the C library reserves for libraries loaded late; when they do
# not fit, `import` fails. So the whole segment stays small, and thread-local buffers are not kept.  static_tls.sh LIBRARY
size=$(readelf -lW "$1" | awk '$1 == "TLS" { print $6 }')
[ $((${size:-0})) -le 256 ] && exit 0
echo "$1 has $((size)) bytes of thread-local variables; at most 256:"
readelf -sW "$1" | awk '$4 == "TLS" { print $3, $8 }' | sort -rn | head -5 | c++filt
exit 1
