// error: Parameters need: friend bool operator==
#include "pare/formats/format.hpp"

struct Halves : pare::FormatDefaults {
  static constexpr std::string_view name = "halves";
  static constexpr int code_bits = 4;
  struct Parameters {
    float scale = 0.5f;
#ifndef PARE_MUST_FAIL
    friend bool operator==(const Parameters&, const Parameters&) = default;
#endif
  };
  static Parameters fit(pare::Range, const pare::FitOptions&) { return {}; }
  static Code encode(float value, const Parameters&) { return static_cast<Code>(2 * value); }
  static float decode(Code code, const Parameters&) { return 0.5f * code; }
};

static_assert(pare::check_format<Halves>());
