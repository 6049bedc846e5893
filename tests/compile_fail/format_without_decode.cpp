// error: a Format needs: static float decode
#include "pare/formats/format.hpp"

struct Halves : pare::FormatDefaults {
  static constexpr std::string_view name = "halves";
  static constexpr int code_bits = 4;
  struct Parameters {
    float scale = 0.5f;
    friend bool operator==(const Parameters&, const Parameters&) = default;
  };
  static Parameters fit(pare::Range, const pare::FitOptions&) { return {}; }
  static Code encode(float value, const Parameters&) { return static_cast<Code>(2 * value); }
#ifndef PARE_MUST_FAIL
  static float decode(Code code, const Parameters&) { return 0.5f * code; }
#endif
};

static_assert(pare::check_format<Halves>());
