#!/usr/bin/env bash
# Note [One instruction set per symbol]
# A template or inline function that a kernel file leaves as a weak symbol exists once per instruction set under one name; the
# linker keeps any of them, and a machine without AVX-512 may then run the AVX-512 copy. So every weak symbol of these
# files must carry the namespace of its instruction set.   isa_symbols.sh ISA OBJECT...
isa=$1
shift
leaks=$(nm -C "$@" 2>/dev/null | grep -E '^[0-9a-f]+ W ' | cut -d' ' -f3- | grep -v "cpu::$isa::" |
  sort -u)
[ -z "$leaks" ] && exit 0
printf 'symbols shared between instruction sets in %s kernels; make them always_inline:\n%s\n' "$isa" "$leaks"
exit 1
