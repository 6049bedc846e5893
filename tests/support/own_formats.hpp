#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "../../examples/own_formats.hpp"
#include "pare/formats/format.hpp"
#include "pare/formats/rounding.hpp"

/// Formats that the library does not have, one for each thing that a format may do: those of the
/// example and others.
namespace pare::test {

using own::Fp8;
using own::Levels;
using own::Signs;

/// Signed 4-bit integers under a scale of 8 bits, under one of the tensor.
struct TwoLevels : pare::FormatDefaults {
  static constexpr std::string_view name = "own-two-levels";
  static constexpr int code_bits = 4;
  static constexpr int code_offset = 8;
  static constexpr int code_count = 15;
  using Code = std::int8_t;
  struct Parameters {
    float scale = 1.0f, tensor_scale = 1.0f;
    std::int32_t steps = 1;
    friend bool operator==(const Parameters&, const Parameters&) = default;
  };
  static constexpr auto stored = pare::stored_as(
      pare::block_field("scales", &Parameters::scale, pare::FieldType::e4m3),
      pare::block_field("steps", &Parameters::steps, pare::FieldType::u8),
      pare::tensor_field("tensor_scale", &Parameters::tensor_scale, pare::FieldType::f32));

  static Parameters fit_tensor(pare::Range range, const pare::FitOptions&) {
    return {1.0f, pare::fit_scale(range.absmax(), 448.0f * 6.0f, pare::ScaleType::f32), 1};
  }
  static Parameters fit(pare::Range range, const pare::FitOptions&, const Parameters& tensor) {
    Parameters p = tensor;
    p.scale = pare::as_stored(pare::quotient(range.absmax() / 6.0f, tensor.tensor_scale),
                              pare::FieldType::e4m3);
    if (p.scale == 0.0f) p.scale = 0x1p-9f;
    return p;
  }
  static float step(const Parameters& p) { return pare::rounded(p.scale * p.tensor_scale); }
  static Code encode(float value, const Parameters& p) {
    return static_cast<Code>(pare::round_to_code(pare::quotient(value, step(p)), 0, -8 + 1, 6));
  }
  static float decode(Code code, const Parameters& p) {
    return step(p) * static_cast<float>(code * p.steps);
  }
};

/// What a codebook of the library could be: the kernels with tables multiply it.
struct Codebook : pare::FormatDefaults {
  static constexpr std::string_view name = "own-codebook";
  static constexpr int code_bits = 2;
  static constexpr std::array<float, 4> codebook{-1.0f, -0.25f, 0.25f, 1.0f};
  struct Parameters {
    float scale = 1.0f;
    friend bool operator==(const Parameters&, const Parameters&) = default;
  };
  static Parameters fit(pare::Range range, const pare::FitOptions& options) {
    return {pare::fit_scale(range.absmax(), 1.0f, options.scale_type)};
  }
  static Code encode(float value, const Parameters& p) {
    const float x = pare::quotient(value, p.scale);
    return static_cast<Code>((x > -0.625f) + (x > 0.0f) + (x > 0.625f));
  }
  static constexpr float decode(Code code, const Parameters& p) { return p.scale * codebook[code]; }
};

}  // namespace pare::test
