#include "pare/core/float_environment.hpp"

#include <cfenv>
#include <thread>

#include "pare/kernels/execution.hpp"
#include "support/catch.hpp"

namespace {

/// The smallest number, if there is one below the normal ones.
bool has_subnormals() {
  volatile float smallest = 0x1p-126f;
  return smallest / 2 != 0.0f;
}

#if PARE_X86_KERNELS
void flush_subnormals() { PARE_WRITE_FLOAT_MODES(__builtin_ia32_stmxcsr() | 0x8040u); }

TEST_CASE("subnormal numbers are numbers, then what they were before") {
  std::thread([] {
    flush_subnormals();
    REQUIRE_FALSE(has_subnormals());
    {
      const pare::StandardFloats floats;
      CHECK(has_subnormals());
    }
    CHECK_FALSE(has_subnormals());
  }).join();
}

TEST_CASE("loops run with subnormal numbers in threads of the caller's") {
  const auto flushing = [](pare::Index count, pare::ParallelFor::Body body) {
    std::thread([&] {
      flush_subnormals();
      for (pare::Index i = 0; i < count; ++i) body(i);
      CHECK_FALSE(has_subnormals());
    }).join();
  };
  int subnormals = 0;
  pare::with_standard_floats(
      pare::Execution{.parallel_for = flushing}, [&](const pare::Execution& standard) {
        standard.parallel_for(3, [&](pare::Index) { subnormals += has_subnormals(); });
      });
  CHECK(subnormals == 3);
}
#endif

TEST_CASE("numbers are rounded to the nearest") {
  std::thread([] {
    std::fesetround(FE_UPWARD);
    volatile float one = 1.0f, little = 0x1p-30f;
    const float up = one + little;
    float nearest = 0.0f;
    {
      const pare::StandardFloats floats;
      nearest = one + little;
    }
    CHECK(nearest == 1.0f);
    if (PARE_FLOAT_MODES) CHECK(up > 1.0f);
    CHECK(std::fegetround() == FE_UPWARD);
  }).join();
}

}  // namespace
