// For files of elementwise loops: lets g++ vectorise them at -O2 and keeps a*b+c two roundings on every instruction
// set, so that an element's bits do not depend on the vector width or on its place in the loop. Include it last.
#pragma once

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("O3", "fp-contract=off")
#endif

// Functions for one instruction set, from one always-inlined body; chosen at run time.
#if defined(__x86_64__)
#define MUSTER_AVX2 __attribute__((target("avx2")))
#define MUSTER_AVX512 __attribute__((target("avx512f")))
#endif
#define MUSTER_INLINE __attribute__((always_inline)) inline
