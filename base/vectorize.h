// For files of elementwise loops: lets g++ vectorise them at -O2 and keeps a*b+c two roundings on
// every instruction set, so that an element's bits do not depend on the vector width or on its
// place in the loop. Include it last.
#pragma once

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("O3", "fp-contract=off")
#endif

// A function compiled again, for AVX2 or AVX-512 beside the baseline, from one always-inlined body.
#if defined(__x86_64__)
#define MUSTER_AVX2 __attribute__((target("avx2")))
#define MUSTER_AVX512 __attribute__((target("avx512f")))
inline bool cpu_has_avx2() { return __builtin_cpu_supports("avx2") != 0; }
inline bool cpu_has_avx512() { return __builtin_cpu_supports("avx512f") != 0; }
#else
#define MUSTER_AVX2
#define MUSTER_AVX512
inline bool cpu_has_avx2() { return false; }
inline bool cpu_has_avx512() { return false; }
#endif
#define MUSTER_INLINE __attribute__((always_inline)) inline
