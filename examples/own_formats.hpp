#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <string_view>

#include "pare/core/float8.hpp"
#include "pare/core/float_arithmetic.hpp"
#include "pare/formats/format.hpp"

/// Number formats that the library does not have, a struct each: see examples/format.cpp.
namespace own {

/// 8-bit floating point under a power of two.
struct Fp8 : pare::FormatDefaults {
  static constexpr std::string_view name = "own-fp8";
  static constexpr int code_bits = 8;
  struct Parameters {
    float scale = 1.0f;
    friend bool operator==(const Parameters&, const Parameters&) = default;
  };
  static constexpr auto stored =
      pare::stored_as(pare::block_field("scales", &Parameters::scale, pare::FieldType::e8m0));

  /// The least power of two with which no weight is beyond 448.
  static Parameters fit(pare::Range range, const pare::FitOptions&) {
    if (range.absmax() == 0.0f) return {};
    const auto bits = std::bit_cast<std::uint32_t>(pare::quotient(range.absmax(), 448.0f));
    return {static_cast<float>(
        pare::E8M0::from_bits(static_cast<std::uint8_t>((bits + 0x7fffffu) >> 23)))};
  }
  static Code encode(float value, const Parameters& p) {
    return pare::E4M3(pare::quotient(value, p.scale)).bits;
  }
  static float decode(Code code, const Parameters& p) {
    return p.scale * static_cast<float>(pare::E4M3::from_bits(code));
  }
};

/// Eight levels about a float offset; 3 bits.
struct Levels : pare::FormatDefaults {
  static constexpr std::string_view name = "own-levels";
  static constexpr int code_bits = 3;
  static constexpr std::array<float, 8> codebook{-1.0f, -0.55f, -0.3f, -0.1f,
                                                 0.1f,  0.3f,   0.55f, 1.0f};
  struct Parameters {
    float scale = 1.0f, offset = 0.0f;
    friend bool operator==(const Parameters&, const Parameters&) = default;
  };
  static constexpr auto stored =
      pare::stored_as(pare::block_field("scales", &Parameters::scale, pare::FieldType::bf16),
                      pare::block_field("offsets", &Parameters::offset, pare::FieldType::f16));

  static Parameters fit(pare::Range range, const pare::FitOptions&) {
    const float offset = pare::as_stored((range.hi + range.lo) * 0.5f, pare::FieldType::f16);
    const float reach = std::max(range.hi - offset, offset - range.lo);
    return {pare::fit_scale(reach, 1.0f, pare::ScaleType::bf16), offset};
  }
  static Code encode(float value, const Parameters& p) {
    const float level = pare::quotient(value - p.offset, p.scale);
    int code = 0;
    for (std::size_t i = 0; i + 1 < codebook.size(); ++i)
      code += level > (codebook[i] + codebook[i + 1]) * 0.5f;
    return static_cast<Code>(code);
  }
  static float decode(Code code, const Parameters& p) {
    return p.offset + p.scale * codebook[code];
  }
};

/// Signs times the mean magnitude; 1 bit.
struct Signs : pare::FormatDefaults {
  static constexpr std::string_view name = "own-signs";
  static constexpr int code_bits = 1;
  struct Parameters {
    float scale = 1.0f;
    friend bool operator==(const Parameters&, const Parameters&) = default;
  };

  static Parameters fit(pare::Range range, const pare::FitOptions& options) {
    return {pare::fit_scale(range.absmax(), 1.0f, options.scale_type)};
  }
  static Parameters fit_values(const float* values, pare::Index count, pare::Index stride,
                               const pare::FitOptions& options) {
    double sum = 0.0;
    for (pare::Index i = 0; i < count; ++i) sum += std::fabs(values[i * stride]);
    return {pare::fit_scale(static_cast<float>(sum / static_cast<double>(count)), 1.0f,
                            options.scale_type)};
  }
  static Code encode(float value, const Parameters&) { return value < 0.0f; }
  static float decode(Code code, const Parameters& p) { return code ? -p.scale : p.scale; }
};

static_assert(pare::check_format<Fp8>());
static_assert(pare::check_format<Levels>());
static_assert(pare::check_format<Signs>());

}  // namespace own
