#pragma once

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "pare/formats/any_quantized_matrix.hpp"
#include "pare/io/layer_tensors.hpp"
#include "pare/io/quantization_config.hpp"

namespace pare {

/// The settings of an AWQ checkpoint in the GEMM layout: 4 bits with zero points.
struct AwqConfig {
  Index group_size = 128;
  std::vector<std::string> modules_to_not_convert{};

  [[nodiscard]] nlohmann::json to_json() const {
    return {{"quant_method", "awq"},
            {"version", "gemm"},
            {"bits", 4},
            {"group_size", group_size},
            {"zero_point", true},
            {"modules_to_not_convert", modules_to_not_convert.empty()
                                           ? nlohmann::json(nullptr)
                                           : nlohmann::json(modules_to_not_convert)}};
  }

  /// Accepts AutoAWQ's own names too. Throws FormatError naming the field for another layout.
  [[nodiscard]] static AwqConfig from_json(const nlohmann::json& json) {
    detail::require_method(json, "awq");
    const auto layout = field_as<std::string>(json, {"version"}).value_or("gemm");
    const auto is_gemm = [](std::string_view name) {
      return name.size() == 4 && std::equal(name.begin(), name.end(), "gemm", [](char a, char b) {
               return (a | 0x20) == b;  // in either case
             });
    };
    if (!is_gemm(layout))
      throw FormatError("version " + detail::in_quotes(layout) + " is not supported; gemm is");
    if (detail::integer_setting(json, {"bits", "w_bit"}).value_or(4) != 4)
      throw FormatError("field \"bits\" is not 4");
    if (!detail::flag_setting(json, {"zero_point"}).value_or(true))
      throw FormatError("field \"zero_point\" is false, which the GEMM layout cannot be");
    AwqConfig config;
    config.group_size = detail::integer_setting(json, {"group_size", "q_group_size"}).value_or(128);
    if (config.group_size == 0 || config.group_size < -1)
      throw FormatError("field \"group_size\" is " + std::to_string(config.group_size) +
                        ", neither -1 nor positive");
    if (const nlohmann::json* modules = find_field(json, {"modules_to_not_convert"})) {
      if (!modules->is_array()) throw FormatError("\"modules_to_not_convert\" is not an array");
      for (const nlohmann::json& module : *modules) {
        if (!module.is_string())
          throw FormatError("\"modules_to_not_convert\" holds something else than a string");
        config.modules_to_not_convert.push_back(module.get<std::string>());
      }
    }
    return config;
  }

  friend bool operator==(const AwqConfig&, const AwqConfig&) = default;
};

namespace detail {

/// The output that a nibble of word `word` of a row holds.
[[nodiscard]] constexpr Index awq_output(Index word, Index nibble) noexcept {
  constexpr Index order[] = {0, 2, 4, 6, 1, 3, 5, 7};
  return 8 * word + order[nibble];
}

}  // namespace detail

/// One linear layer as an AWQ checkpoint in the GEMM layout stores it, ready to be written.
///
/// Shapes    q (out, in), G groups. <name>.qweight I32 [in, out / 8], .qzeros I32 [G, out / 8]:
///           eight outputs in a word, interleaved; .scales [G, out] in q's scale type
/// Errors    ShapeError unless out is a multiple of 8 and in of the group size; ArgumentError for
///           a group index
/// Edge      scales are stored as they are: readers expect F16, so quantize with ScaleType::f16
/// Source    AutoAWQ, `version: gemm`
[[nodiscard]] inline std::vector<NamedTensor> awq_tensors(const std::string& name,
                                                          const QuantizedMatrix<UInt<4>>& q) {
  const Index out = q.rows(), in = q.cols();
  if (out % 8 != 0 || out == 0 || in == 0 || in % q.group_length() != 0)
    throw ShapeError(detail::layer_label(name) + ": weight of shape " +
                     to_string(Shape<2>{out, in}) +
                     " cannot be an AWQ checkpoint: rows must be a multiple of 8, columns of the "
                     "group size " +
                     std::to_string(q.group_size()));
  if (!q.group_index().empty())
    throw ArgumentError(detail::layer_label(name) +
                        ": an AWQ checkpoint cannot hold the group index that act_order without "
                        "static groups needs");

  Matrix<std::uint32_t> qweight({in, out / 8}), qzeros({q.groups(), out / 8});
  Matrix<std::uint8_t> codes({8, in});
  for (Index c = 0; c < out / 8; ++c) {
    for (Index i = 0; i < 8; ++i)
      detail::store_row(q, detail::awq_output(c, i), {&codes(i, 0), static_cast<std::size_t>(in)});
    for (Index k = 0; k < in; ++k) {
      std::uint32_t word = 0;
      for (Index i = 0; i < 8; ++i) word |= std::uint32_t{codes.data()[i * in + k]} << 4 * i;
      qweight(k, c) = word;
    }
    for (Index g = 0; g < q.groups(); ++g)
      for (Index i = 0; i < 8; ++i) {
        const Index n = detail::awq_output(c, i);
        const std::uint32_t zero = detail::stored_zero<UInt<4>>(q.parameters()(n, g), n, g);
        qzeros(g, c) |= zero << 4 * i;
      }
  }

  std::vector<NamedTensor> tensors;
  tensors.push_back(detail::make_tensor(name + ".qweight", DType::I32, qweight));
  tensors.push_back(detail::make_tensor(name + ".qzeros", DType::I32, qzeros));
  tensors.push_back(
      detail::make_scale_tensor(name + ".scales", detail::transposed_scales(q), q.scale_type()));
  return tensors;
}

/// As above, for a format known at run time; ArgumentError for another than uint4.
[[nodiscard]] inline std::vector<NamedTensor> awq_tensors(const std::string& name,
                                                          const AnyQuantizedMatrix& matrix) {
  return matrix.visit([&]<class F>(const QuantizedMatrix<F>& q) -> std::vector<NamedTensor> {
    if constexpr (std::is_same_v<F, UInt<4>>)
      return awq_tensors(name, q);
    else
      throw ArgumentError(detail::layer_label(name) + ": " + std::string(F::name) +
                          " cannot be an AWQ checkpoint; uint4 can");
  });
}

/// Reads the layer that awq_tensors or another writer of this layout stored under `name`.
///
/// Errors    FormatError naming the layer and the tensor for anything missing or malformed
/// Edge      a group_size of at least `in` is the whole row
template <TensorSource Source>
[[nodiscard]] QuantizedMatrix<UInt<4>> read_awq_layer(Source& source, const std::string& name,
                                                      const AwqConfig& config) {
  const TensorInfo& weight_info = source.info(name + ".qweight");
  const TensorInfo& zero_info = source.info(name + ".qzeros");
  const TensorInfo& scale_info = source.info(name + ".scales");
  const auto read = [&] {
    detail::require_rank(weight_info, 2);
    const Index in = weight_info.shape[0], words = weight_info.shape[1];
    if (in == 0 || words == 0)
      throw FormatError("qweight has shape " + to_string(weight_info.shape) + ": it is empty");
    const Index group_size = config.group_size >= in ? -1 : config.group_size;
    const Index groups = QuantizedMatrix<UInt<4>>::group_count(in, group_size);
    if (group_size > 0 && in % group_size != 0)
      throw FormatError("qweight has " + std::to_string(in) +
                        " rows, no multiple of the group size " + std::to_string(group_size));
    const auto qweight =
        detail::read_elements<std::uint32_t>(weight_info, "qweight", DType::I32, {in, words});
    const auto qzeros =
        detail::read_elements<std::uint32_t>(zero_info, "qzeros", DType::I32, {groups, words});
    const ScaleType scale_type = detail::require_scale_type(scale_info);
    const Matrix<float> scales = detail::read_scales(scale_info, {groups, 8 * words});

    QuantizedMatrix<UInt<4>> q(8 * words, in, group_size, scale_type);
    for (Index i = 0; i < q.rows(); ++i) {
      const Index c = i / 8, shift = 4 * (i % 8), n = detail::awq_output(c, i % 8);
      std::uint8_t* codes = &q.codes()(n, 0);
      for (Index k = 0; k < in; ++k)
        codes[k] = static_cast<std::uint8_t>(qweight.data()[k * words + c] >> shift & 15u);
      for (Index g = 0; g < groups; ++g)
        q.parameters()(n, g) = {scales(g, n),
                                static_cast<std::int32_t>(qzeros(g, c) >> shift & 15u)};
    }
    return q;
  };
  return with_context(detail::layer_label(name), [&] { return detail::blame_file(read); });
}

}  // namespace pare
