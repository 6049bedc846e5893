#pragma once

/// The only file that asks the preprocessor about compiler or platform.

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__)) && !defined(__CUDACC__)
#define PARE_X86_KERNELS 1
#else
#define PARE_X86_KERNELS 0
#endif

/// g++ itself: others define __GNUC__ too.
#if defined(__GNUC__) && !defined(__clang__)
#define PARE_GCC 1
#else
#define PARE_GCC 0
#endif

#if defined(__GNUC__) || defined(__clang__)
#define PARE_FORCE_INLINE inline __attribute__((always_inline))
#else
#define PARE_FORCE_INLINE __forceinline
#endif

/// Fully unrolls the constant-bound loop that follows: register tiles rely on it at plain -O2.
#if defined(__clang__)
#define PARE_UNROLL _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define PARE_UNROLL _Pragma("GCC unroll 64")
#else
#define PARE_UNROLL
#endif
