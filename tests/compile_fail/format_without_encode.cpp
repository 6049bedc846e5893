// error: constraints not satisfied|no matching function
#include "pare/quantization/quantize.hpp"

struct Halves {
  static constexpr std::string_view name = "halves";
  static constexpr int code_bits = 8;
  static constexpr int code_offset = 128;
  static constexpr bool is_integer = true;
  static constexpr bool has_zero_point = false;
  using Code = std::int8_t;
  struct Parameters {
    float scale = 0.5f;
    friend bool operator==(const Parameters&, const Parameters&) = default;
  };
  static Parameters fit(pare::Range, const pare::FitOptions&) { return {}; }
#ifndef PARE_MUST_FAIL
  static Code encode(float value, const Parameters&) { return static_cast<Code>(2 * value); }
#endif
  static float decode(Code code, const Parameters& p) { return p.scale * static_cast<float>(code); }
  static int zero_point(const Parameters&) { return 0; }
  static void set_zero_point(Parameters&, int) {}
};

pare::Index rows(pare::MatrixView<const float> w) { return pare::quantize<Halves>(w).rows(); }
