// error: a Format needs: float Parameters::scale, or static constexpr auto stored
#include "pare/formats/format.hpp"

struct Halves : pare::FormatDefaults {
  static constexpr std::string_view name = "halves";
  static constexpr int code_bits = 4;
  struct Parameters {
    float step = 0.5f;
    friend bool operator==(const Parameters&, const Parameters&) = default;
  };
#ifndef PARE_MUST_FAIL
  static constexpr auto stored =
      pare::stored_as(pare::block_field("steps", &Parameters::step, pare::FieldType::bf16));
#endif
  static Parameters fit(pare::Range, const pare::FitOptions&) { return {}; }
  static Code encode(float value, const Parameters& p) { return static_cast<Code>(value / p.step); }
  static float decode(Code code, const Parameters& p) { return p.step * code; }
};

static_assert(pare::check_format<Halves>());
