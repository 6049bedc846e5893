#pragma once

/// Portable vectors: the only file that knows xsimd and which version of it is installed.
///
/// Everything under kernels/portable lives in an inline namespace named after the instruction set
/// the consumer compiles for and after xsimd's major version, so that translation units with
/// different flags link: each keeps its own bodies. PARE_NO_XSIMD, or xsimd not being there,
/// selects plain loops, which save a second of compile time.

#if !defined(PARE_NO_XSIMD) && __has_include(<xsimd/xsimd.hpp>)
#include <xsimd/xsimd.hpp>
#define PARE_PORTABLE_VECTORS_XSIMD 1
#define PARE_PORTABLE_VECTORS XSIMD_VERSION_MAJOR
#else
#include <cstddef>
#define PARE_PORTABLE_VECTORS_XSIMD 0
#define PARE_PORTABLE_VECTORS loops
#endif

#if defined(__AVX512BW__)
#define PARE_PORTABLE_ARCH avx512bw
#elif defined(__AVX512F__)
#define PARE_PORTABLE_ARCH avx512f
#elif defined(__AVX2__) && defined(__FMA__)
#define PARE_PORTABLE_ARCH avx2_fma
#elif defined(__AVX2__)
#define PARE_PORTABLE_ARCH avx2
#elif defined(__AVX__)
#define PARE_PORTABLE_ARCH avx
#elif defined(__SSE4_2__)
#define PARE_PORTABLE_ARCH sse4_2
#elif defined(__SSE2__)
#define PARE_PORTABLE_ARCH sse2
#elif defined(__ARM_NEON)
#define PARE_PORTABLE_ARCH neon
#else
#define PARE_PORTABLE_ARCH generic
#endif

#define PARE_PORTABLE_JOIN(arch, vectors) portable_##arch##_##vectors
#define PARE_PORTABLE_NAME(arch, vectors) PARE_PORTABLE_JOIN(arch, vectors)
#define PARE_PORTABLE_NAMESPACE PARE_PORTABLE_NAME(PARE_PORTABLE_ARCH, PARE_PORTABLE_VECTORS)

namespace pare::kernels::portable {
inline namespace PARE_PORTABLE_NAMESPACE {

#if PARE_PORTABLE_VECTORS_XSIMD

/// A register of T. Used: size, load_unaligned, store_unaligned, broadcast constructor, + - *.
template <class T>
using Pack = xsimd::batch<T>;

template <class T>
[[nodiscard]] Pack<T> multiply_add(const Pack<T>& a, const Pack<T>& b, const Pack<T>& c) noexcept {
  return xsimd::fma(a, b, c);
}

#else

template <class T>
struct Pack {
  static constexpr std::size_t size = 16 / sizeof(T);
  T lanes[size];

  Pack() = default;
  explicit Pack(T value) noexcept {
    for (T& lane : lanes) lane = value;
  }
  [[nodiscard]] static Pack load_unaligned(const T* p) noexcept {
    Pack result;
    for (std::size_t i = 0; i < size; ++i) result.lanes[i] = p[i];
    return result;
  }
  void store_unaligned(T* p) const noexcept {
    for (std::size_t i = 0; i < size; ++i) p[i] = lanes[i];
  }

  friend Pack operator+(Pack a, const Pack& b) noexcept {
    for (std::size_t i = 0; i < size; ++i) a.lanes[i] += b.lanes[i];
    return a;
  }
  friend Pack operator-(Pack a, const Pack& b) noexcept {
    for (std::size_t i = 0; i < size; ++i) a.lanes[i] -= b.lanes[i];
    return a;
  }
  friend Pack operator*(Pack a, const Pack& b) noexcept {
    for (std::size_t i = 0; i < size; ++i) a.lanes[i] *= b.lanes[i];
    return a;
  }
};

template <class T>
[[nodiscard]] Pack<T> multiply_add(const Pack<T>& a, const Pack<T>& b, const Pack<T>& c) noexcept {
  return a * b + c;
}

#endif

}  // namespace PARE_PORTABLE_NAMESPACE
}  // namespace pare::kernels::portable
