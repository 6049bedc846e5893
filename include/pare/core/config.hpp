#pragma once

/// The only file that asks the preprocessor about compiler or platform.

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__)) && !defined(__CUDACC__)
#define PARE_X86_KERNELS 1
#else
#define PARE_X86_KERNELS 0
#endif

/// Arm's dot products, where the consumer compiles for them.
#if defined(__aarch64__) && defined(__ARM_FEATURE_DOTPROD)
#define PARE_NEON_KERNELS 1
#else
#define PARE_NEON_KERNELS 0
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

/// Hides from the optimizer where the number in a floating-point variable comes from; the second
/// also each time that it runs.
#if (defined(__GNUC__) || defined(__clang__)) && defined(__x86_64__)
#define PARE_OPAQUE(x) __asm__("" : "+x"(x))
#define PARE_OPAQUE_EACH_TIME(x) __asm__ volatile("" : "+x"(x))
#elif (defined(__GNUC__) || defined(__clang__)) && defined(__aarch64__)
#define PARE_OPAQUE(x) __asm__("" : "+w"(x))
#define PARE_OPAQUE_EACH_TIME(x) __asm__ volatile("" : "+w"(x))
#elif defined(__GNUC__) || defined(__clang__)
#define PARE_OPAQUE(x) __asm__("" : "+m"(x))
#define PARE_OPAQUE_EACH_TIME(x) __asm__ volatile("" : "+m"(x))
#else
#define PARE_OPAQUE(x) static_cast<void>(x)
#define PARE_OPAQUE_EACH_TIME(x) static_cast<void>(x)
#endif

/// This thread's register of floating-point modes, and its bits that make rounding other than to
/// nearest or subnormal numbers zero; no bits where it is not known.
#if PARE_X86_KERNELS
#define PARE_FLOAT_MODES 0xe040u  // flush to zero, two of rounding, denormals are zero
#define PARE_READ_FLOAT_MODES(modes) modes = __builtin_ia32_stmxcsr()
#define PARE_WRITE_FLOAT_MODES(modes) __builtin_ia32_ldmxcsr(modes)
#elif defined(__aarch64__) && (defined(__GNUC__) || defined(__clang__))
#define PARE_FLOAT_MODES 0x1c00000u  // flush to zero, two of rounding
#define PARE_READ_FLOAT_MODES(modes) __asm__ volatile("mrs %0, fpcr" : "=r"(modes))
#define PARE_WRITE_FLOAT_MODES(modes) __asm__ volatile("msr fpcr, %0" : : "r"(modes))
#else
#define PARE_FLOAT_MODES 0u
#define PARE_READ_FLOAT_MODES(modes) static_cast<void>(modes)
#define PARE_WRITE_FLOAT_MODES(modes) static_cast<void>(modes)
#endif

/// No access to memory moves across.
#if defined(__GNUC__) || defined(__clang__)
#define PARE_MEMORY_BARRIER() __asm__ volatile("" : : : "memory")
#else
#define PARE_MEMORY_BARRIER() static_cast<void>(0)
#endif

/// Asks for the cache line of an address; any address will do.
#if defined(__GNUC__) || defined(__clang__)
#define PARE_PREFETCH(address) __builtin_prefetch(address)
#else
#define PARE_PREFETCH(address) static_cast<void>(address)
#endif

/// Fully unrolls the constant-bound loop that follows: register tiles rely on it at plain -O2.
/// Defined as nothing on the command line it makes a build under sanitizers several times faster.
#if !defined(PARE_UNROLL)
#if defined(__clang__)
#define PARE_UNROLL _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define PARE_UNROLL _Pragma("GCC unroll 64")
#else
#define PARE_UNROLL
#endif
#endif

/// Tells the core that a loop spins; nothing where there is no such instruction.
#if PARE_X86_KERNELS
#define PARE_SPIN_PAUSE() __builtin_ia32_pause()
#elif defined(__aarch64__) && defined(__GNUC__)
#define PARE_SPIN_PAUSE() __asm__ volatile("yield")
#else
#define PARE_SPIN_PAUSE() static_cast<void>(0)
#endif

/// Linux lets a process use AMX's registers once it asks.
#if PARE_X86_KERNELS && defined(__linux__)
#define PARE_AMX_KERNELS 1
#else
#define PARE_AMX_KERNELS 0
#endif

/// Linux backs memory with huge pages where it is advised to.
#if defined(__linux__)
#define PARE_HUGE_PAGES 1
#else
#define PARE_HUGE_PAGES 0
#endif
