#pragma once

#include <cstdint>
#include <type_traits>

#include "pare/core/config.hpp"
#include "pare/core/index.hpp"
#include "pare/core/parallel.hpp"

namespace pare {

/// Rounding to nearest and gradual underflow in this thread while it lives, then what was before.
///
/// A program that is linked with -ffast-math takes subnormal numbers for zero: blocks of tiny
/// weights would get other codes.
class StandardFloats {
 public:
  StandardFloats() noexcept {
    PARE_READ_FLOAT_MODES(before_);
    if (before_ & PARE_FLOAT_MODES) write(before_ & ~Modes{PARE_FLOAT_MODES});
  }
  ~StandardFloats() {
    if (before_ & PARE_FLOAT_MODES) write(before_);
  }
  StandardFloats(const StandardFloats&) = delete;
  StandardFloats& operator=(const StandardFloats&) = delete;

 private:
  using Modes = std::conditional_t<PARE_X86_KERNELS, std::uint32_t, std::uint64_t>;

  static void write(Modes modes) noexcept {
    PARE_MEMORY_BARRIER();
    PARE_WRITE_FLOAT_MODES(modes);
    PARE_MEMORY_BARRIER();
  }

  Modes before_ = 0;
};

/// Returns `f(execution)` with StandardFloats here and in every loop of the execution it is given.
template <class Execution, class F>
decltype(auto) with_standard_floats(const Execution& execution, F&& f) {
  const StandardFloats here;
  Execution standard = execution;
  standard.parallel_for = [given = &execution.parallel_for](Index count, ParallelFor::Body body) {
    const auto guarded = [body](Index i) {
      const StandardFloats there;
      body(i);
    };
    (*given)(count, guarded);
  };
  return f(standard);
}

}  // namespace pare
