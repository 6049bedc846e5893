#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <vector>

#include "pare/formats/any_quantized_matrix.hpp"
#include "pare/io/gptq_config.hpp"
#include "pare/io/layer_tensors.hpp"

namespace pare {

/// What a GPTQ checkpoint can hold: integers of 2, 3, 4 or 8 bits.
template <class F>
concept GptqFormat =
    Format<F> && F::is_integer && 1 << F::code_bits == code_count<F>() &&
    (F::code_bits == 2 || F::code_bits == 3 || F::code_bits == 4 || F::code_bits == 8);

/// v1, which every reader knows, where zero points are constant; v2 where 0 may occur.
template <GptqFormat F>
inline constexpr GptqVersion default_gptq_version =
    F::has_zero_point ? GptqVersion::v2 : GptqVersion::v1;

/// The settings that the tensors of such a matrix need; the method's own options are the caller's.
template <GptqFormat F>
[[nodiscard]] GptqConfig gptq_config(const QuantizedMatrix<F>& q) {
  return {.bits = F::code_bits,
          .group_size = q.group_size(),
          .sym = !F::has_zero_point,
          .version = default_gptq_version<F>,
          .desc_act = !q.group_index().empty()};
}

/// One linear layer as a GPTQ checkpoint stores it, ready to be written.
///
/// Shapes    q (out, in), G groups. <name>.qweight I32 [in / 32 * b, out]: codes of a column, dense
///           from the lowest bit of the first word; .qzeros I32 [G, out / 32 * b]: zero points,
///           packed alike along out; .scales [G, out] in q's scale type; .g_idx I32 [in]
/// Errors    ShapeError unless in and out are multiples of 32; ArgumentError for a zero point of 0
///           in v1, on which readers disagree
/// Edge      scales are stored as they are: readers expect F16, so quantize with ScaleType::f16
/// Source    AutoGPTQ and GPTQModel, the layout called "gptq" and "gptq_v2"
template <GptqFormat F>
[[nodiscard]] std::vector<NamedTensor> gptq_tensors(
    const std::string& name, const QuantizedMatrix<F>& q,
    GptqVersion stored_as = default_gptq_version<F>) {
  constexpr int b = F::code_bits;
  const Index out = q.rows(), in = q.cols();
  if (in % 32 != 0 || out % 32 != 0 || in == 0 || out == 0)
    throw ShapeError(detail::layer_label(name) + ": weight of shape " +
                     to_string(Shape<2>{out, in}) +
                     " cannot be a GPTQ checkpoint: both extents must be multiples of 32");

  Matrix<std::uint32_t> qweight({in / 32 * b, out});
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(in));
  std::vector<std::uint32_t> words(static_cast<std::size_t>(qweight.rows()));
  for (Index n = 0; n < out; ++n) {
    detail::store_row(q, n, codes);
    pack_bits<std::uint32_t>(codes, b, words);
    for (Index w = 0; w < qweight.rows(); ++w) qweight(w, n) = words[static_cast<std::size_t>(w)];
  }

  Matrix<std::uint32_t> qzeros({q.groups(), out / 32 * b});
  std::vector<std::uint8_t> zeros(static_cast<std::size_t>(out));
  for (Index g = 0; g < q.groups(); ++g) {
    for (Index n = 0; n < out; ++n) {
      const std::uint8_t zero = detail::stored_zero(q, n, g);
      if (stored_as == GptqVersion::v1 && zero == 0)
        throw ArgumentError(detail::layer_label(name) + ": the zero point 0 of row " +
                            std::to_string(n) + ", group " + std::to_string(g) +
                            " cannot be stored as \"gptq\"; \"gptq_v2\" can");
      zeros[static_cast<std::size_t>(n)] =
          static_cast<std::uint8_t>(stored_as == GptqVersion::v1 ? zero - 1 : zero);
    }
    pack_bits<std::uint32_t>(zeros, b, {&qzeros(g, 0), static_cast<std::size_t>(qzeros.cols())});
  }

  std::vector<std::int32_t> g_idx(static_cast<std::size_t>(in));
  for (Index k = 0; k < in; ++k)
    g_idx[static_cast<std::size_t>(k)] = static_cast<std::int32_t>(q.group_of(k));

  std::vector<NamedTensor> tensors;
  tensors.push_back(detail::make_tensor(name + ".qweight", DType::I32, qweight));
  tensors.push_back(detail::make_tensor(name + ".qzeros", DType::I32, qzeros));
  tensors.push_back(
      detail::make_scale_tensor(name + ".scales", detail::transposed_scales(q), q.scale_type()));
  tensors.push_back(detail::make_tensor<std::int32_t>(name + ".g_idx", DType::I32, {in}, g_idx));
  return tensors;
}

/// As above, for a format known at run time; ArgumentError for one that GPTQ files cannot hold.
template <std::same_as<AnyQuantizedMatrix> Q>
[[nodiscard]] std::vector<NamedTensor> gptq_tensors(const std::string& name, const Q& matrix) {
  return matrix.visit([&]<class F>(const QuantizedMatrix<F>& q) -> std::vector<NamedTensor> {
    if constexpr (GptqFormat<F>)
      return gptq_tensors(name, q);
    else
      throw ArgumentError(detail::layer_label(name) + ": " + std::string(F::name) +
                          " cannot be a GPTQ checkpoint; int and uint of 2, 3, 4 or 8 bits can");
  });
}

namespace detail {

struct GptqLayer {
  const TensorInfo& qweight;
  const TensorInfo& qzeros;
  const TensorInfo& scales;
  const TensorInfo* g_idx;  ///< some writers leave a trivial one out
};

template <GptqFormat F>
[[nodiscard]] QuantizedMatrix<F> read_gptq(const GptqLayer& layer, const GptqConfig& config) {
  constexpr int b = F::code_bits;
  require_dtype(layer.qweight, "qweight", DType::I32);
  require_rank(layer.qweight, 2);
  const Index packed_rows = layer.qweight.shape[0], out = layer.qweight.shape[1];
  if (packed_rows == 0 || packed_rows % b != 0 || out == 0 || out % 32 != 0)
    throw FormatError("qweight has shape " + to_string(layer.qweight.shape) +
                      ", which is no weight of " + std::to_string(b) +
                      " bits with extents that are multiples of 32");
  const Index in = packed_rows / b * 32;
  const Index group_size = config.group_size >= in ? -1 : config.group_size;
  const Index groups = QuantizedMatrix<F>::group_count(in, group_size);
  const auto qweight =
      read_elements<std::uint32_t>(layer.qweight, "qweight", DType::I32, {packed_rows, out});
  const auto qzeros =
      read_elements<std::uint32_t>(layer.qzeros, "qzeros", DType::I32, {groups, out / 32 * b});
  const ScaleType scale_type = require_scale_type(layer.scales);
  const Matrix<float> scales = read_scales(layer.scales, {groups, out});

  QuantizedMatrix<F> q(out, in, group_size, scale_type);
  std::vector<std::uint32_t> words(static_cast<std::size_t>(packed_rows));
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(in));
  for (Index n = 0; n < out; ++n) {
    for (Index w = 0; w < packed_rows; ++w) words[static_cast<std::size_t>(w)] = qweight(w, n);
    unpack_bits<std::uint32_t>(words, b, codes);
    load_row<F>(codes, n, q);
  }

  const int shift = config.version == GptqVersion::v1 ? 1 : 0;
  std::vector<std::uint8_t> zeros(static_cast<std::size_t>(out));
  for (Index g = 0; g < groups; ++g) {
    unpack_bits<std::uint32_t>({&qzeros(g, 0), static_cast<std::size_t>(qzeros.cols())}, b, zeros);
    for (Index n = 0; n < out; ++n) {
      const int zero = (zeros[static_cast<std::size_t>(n)] + shift) & ((1 << b) - 1);
      if (!F::has_zero_point && zero != F::code_offset)
        throw FormatError("zero point " + std::to_string(zero) + " of row " + std::to_string(n) +
                          ", group " + std::to_string(g) + " is not the " +
                          std::to_string(F::code_offset) +
                          " of a symmetric layer: is \"sym\" or \"checkpoint_format\" wrong?");
      q.parameters()(n, g).scale = scales(g, n);
      F::set_zero_point(q.parameters()(n, g), zero - F::code_offset);
    }
  }
  if (layer.g_idx) {
    require_shape(*layer.g_idx, "g_idx", {in});
    q.set_group_index(elements_as<std::int32_t>(*layer.g_idx));
  }
  return q;
}

}  // namespace detail

/// Reads the layer that gptq_tensors or another writer of this layout stored under `name`:
/// Int<b> where the settings say symmetric, UInt<b> otherwise.
///
/// Errors    FormatError naming the layer and the tensor for anything missing or malformed
/// Edge      a stored v1 field of all ones is the zero point 0; a group_size of at least `in` is
///           the whole row
template <TensorSource Source>
[[nodiscard]] AnyQuantizedMatrix read_gptq_layer(Source& source, const std::string& name,
                                                 const GptqConfig& config) {
  const detail::GptqLayer layer{
      source.info(name + ".qweight"), source.info(name + ".qzeros"), source.info(name + ".scales"),
      source.contains(name + ".g_idx") ? &source.info(name + ".g_idx") : nullptr};
  return with_context(detail::layer_label(name), [&] {
    return detail::blame_file([&] {
      const std::string format = (config.sym ? "int" : "uint") + std::to_string(config.bits);
      return with_format(format, [&]<class F>(TypeTag<F>) -> AnyQuantizedMatrix {
        if constexpr (GptqFormat<F>)
          return detail::read_gptq<F>(layer, config);
        else
          throw ArgumentError("GPTQ checkpoints of " + std::to_string(config.bits) +
                              " bits cannot be read; 2, 3, 4 and 8 can");
      });
    });
  });
}

}  // namespace pare
