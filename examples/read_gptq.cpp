// Loads one layer of a GPTQ checkpoint of 4 bits and multiplies with it.
//
//     read_gptq DIR LAYER        read_gptq demo-gptq model.layers.0.mlp.up_proj
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <pare/io/gptq_checkpoint.hpp>
#include <pare/io/quantization_config.hpp>
#include <pare/io/safetensors_collection.hpp>
#include <pare/kernels/matmul.hpp>
#include <pare/kernels/pack.hpp>
#include <string>

namespace {

void run(const std::string& directory, const std::string& layer) {
  auto tensors = pare::SafetensorsCollection::open(directory);
  const auto found = pare::find_quantization_config(directory);
  if (!found) throw pare::FormatError(directory + ": no quantization settings");
  const auto config = pare::GptqConfig::from_json(found->settings);

  // Codes, scales and zero points as the file means them. A tool that takes every format keeps the
  // AnyQuantizedMatrix; here the format is known, and only its kernels are compiled.
  const pare::AnyQuantizedMatrix any = pare::read_gptq_layer(tensors, layer, config);
  const auto& weight = any.as<pare::Int<4>>();
  std::printf("%s: %td x %td, groups of %td, %.2f bits per weight\n", layer.c_str(), weight.rows(),
              weight.cols(), weight.group_size(), weight.bits_per_weight());

  pare::Matrix<float> x({1, weight.cols()}), y({1, weight.rows()});
  for (pare::Index k = 0; k < x.cols(); ++k) x(0, k) = std::sin(0.1f * static_cast<float>(k));
  pare::matmul(x, pare::pack(weight), y);

  // The same from the values that the codes stand for.
  const pare::Matrix<float> values = pare::dequantize(weight);
  double largest = 0.0, error = 0.0;
  for (pare::Index i = 0; i < y.cols(); ++i) {
    double expected = 0.0;
    for (pare::Index k = 0; k < x.cols(); ++k)
      expected += static_cast<double>(x(0, k)) * static_cast<double>(values(i, k));
    largest = std::max(largest, std::fabs(expected));
    error = std::max(error, std::fabs(expected - static_cast<double>(y(0, i))));
  }
  std::printf("y has %td elements; %s the sums in double\n", y.cols(),
              error <= 1e-5 * largest ? "within 1e-5 of" : "FAR FROM");
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 3) {
    std::fprintf(stderr, "usage: read_gptq DIR LAYER\n");
    return 2;
  }
  run(argv[1], argv[2]);
} catch (const std::exception& error) {
  std::fprintf(stderr, "read_gptq: %s\n", error.what());
  return 1;
}
