// A number format of one's own, in one struct: 3-bit levels about a float offset, blocks whose
// scale is a bfloat16 and whose offset is a float16. It is quantized, packed, multiplied, saved and
// loaded like the formats of the library.
#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <pare/core/random.hpp>
#include <pare/io/packed_file.hpp>
#include <pare/kernels/describe.hpp>
#include <pare/kernels/matmul.hpp>
#include <pare/kernels/pack.hpp>
#include <pare/quantization/gptq.hpp>
#include <pare/quantization/quantize.hpp>

struct Levels : pare::FormatDefaults {
  static constexpr std::string_view name = "levels3";
  static constexpr int code_bits = 3;
  static constexpr std::array<float, 8> codebook{-1.0f, -0.58f, -0.32f, -0.1f,
                                                 0.1f,  0.32f,  0.58f,  1.0f};

  /// What a block of weights shares, and how it is stored.
  struct Parameters {
    float scale = 1.0f, offset = 0.0f;
    friend bool operator==(const Parameters&, const Parameters&) = default;
  };
  static constexpr auto stored =
      pare::stored_as(pare::block_field("scales", &Parameters::scale, pare::FieldType::bf16),
                      pare::block_field("offsets", &Parameters::offset, pare::FieldType::f16));

  /// Rounded as stored: codes are chosen with what ships.
  static Parameters fit(pare::Range range, const pare::FitOptions&) {
    const float offset = pare::as_stored((range.lo + range.hi) * 0.5f, pare::FieldType::f16);
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
static_assert(pare::check_format<Levels>());

int main() {
  pare::Random random(1);
  pare::Matrix<float> w({64, 256}), x({512, 256});
  for (pare::Index i = 0; i < w.size(); ++i) w.data()[i] = 0.05f * random.normal();
  for (pare::Index i = 0; i < x.size(); ++i) x.data()[i] = random.normal();
  pare::Hessian h(256);
  h.add(x);

  const auto q = pare::gptq<Levels>(w, h, {.group_size = 64});
  const auto packed = pare::pack(q);
  pare::save_packed("levels3.pack", packed);
  const auto loaded = pare::PackedFile("levels3.pack").load<Levels>();
  std::filesystem::remove("levels3.pack");

  pare::Matrix<float> y({1, 64});
  pare::matmul(x.view().slice(0, 0, 1), loaded, y);
  std::printf("%.2f bits per weight, loaded as it was saved: %s\n%s\n", q.bits_per_weight(),
              loaded == packed ? "yes" : "no", pare::describe(loaded, 1).c_str());
  return loaded == packed ? 0 : 1;
}
