// Number formats of one's own (own_formats.hpp): 8-bit floating point under powers of two, 3-bit
// levels about an offset, single bits. Each is quantized, packed, multiplied, saved and loaded like
// the formats of the library.
#include <cstdio>
#include <filesystem>
#include <string>

#include "own_formats.hpp"
#include "pare/core/random.hpp"
#include "pare/io/packed_file.hpp"
#include "pare/kernels/describe.hpp"
#include "pare/kernels/matmul.hpp"
#include "pare/kernels/pack.hpp"
#include "pare/quantization/gptq.hpp"
#include "pare/quantization/quantize.hpp"

/// Prints how a format does; false when what was loaded is not what was saved.
template <pare::Format F>
bool show(pare::MatrixView<const float> w, pare::MatrixView<const float> x,
          pare::Index group_size) {
  pare::Hessian h(w.cols());
  h.add(x);
  const auto q = pare::gptq<F>(w, h, {.group_size = group_size});
  const auto packed = pare::pack(q);

  const std::string name = std::string(F::name) + ".pack";
  pare::save_packed(name, packed);
  const auto loaded = pare::PackedFile(name).load<F>();
  std::filesystem::remove(name);

  pare::Matrix<float> y({1, w.rows()});
  pare::matmul(x.slice(0, 0, 1), loaded, y);
  std::printf("%.2f bits per weight, loaded as it was saved: %s\n  %s\n", q.bits_per_weight(),
              loaded == packed ? "yes" : "no", pare::describe(loaded, 1).c_str());
  return loaded == packed;
}

int main() {
  pare::Random random(1);
  pare::Matrix<float> w({64, 256}), x({512, 256});
  for (pare::Index i = 0; i < w.size(); ++i) w.data()[i] = 0.05f * random.normal();
  for (pare::Index i = 0; i < x.size(); ++i) x.data()[i] = random.normal();
  const bool fp8 = show<own::Fp8>(w, x, 32);
  const bool levels = show<own::Levels>(w, x, 64);
  const bool signs = show<own::Signs>(w, x, 64);
  return fp8 && levels && signs ? 0 : 1;
}
