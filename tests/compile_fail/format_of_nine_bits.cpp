// error: a Format's code_bits are 1 to 8
#include "pare/formats/format.hpp"

struct Halves : pare::FormatDefaults {
  static constexpr std::string_view name = "halves";
#ifdef PARE_MUST_FAIL
  static constexpr int code_bits = 9;
#else
  static constexpr int code_bits = 8;
#endif
  struct Parameters {
    float scale = 0.5f;
    friend bool operator==(const Parameters&, const Parameters&) = default;
  };
  static Parameters fit(pare::Range, const pare::FitOptions&) { return {}; }
  static Code encode(float value, const Parameters&) { return static_cast<Code>(2 * value); }
  static float decode(Code code, const Parameters& p) { return p.scale * code; }
};

static_assert(pare::check_format<Halves>());
