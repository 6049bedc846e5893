#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <cstdlib>
#include <span>
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
      const std::uint8_t zero = detail::stored_zero<F>(q.parameters()(n, g), n, g);
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

struct GptqShape {
  Index out = 0, in = 0, group_size = -1, groups = 1;
};

/// Extents need not be multiples of 32 to be read: words that are filled up in part tell with
/// g_idx how many columns there are.
[[nodiscard]] inline GptqShape gptq_shape(const GptqLayer& layer, const GptqConfig& config) {
  require_dtype(layer.qweight, "qweight", DType::I32);
  require_rank(layer.qweight, 2);
  const Index words = layer.qweight.shape[0], b = config.bits;
  GptqShape shape{.out = layer.qweight.shape[1]};
  if (layer.g_idx) {
    require_rank(*layer.g_idx, 1);
    shape.in = layer.g_idx->shape[0];
  } else if (words * 32 % b == 0) {
    shape.in = words * 32 / b;
  }
  if (shape.in == 0 || shape.out == 0 ||
      words != packed_words<std::uint32_t>(shape.in, static_cast<int>(b)))
    throw FormatError(
        "qweight has shape " + to_string(layer.qweight.shape) + ", which is no weight of " +
        std::to_string(b) + " bits" +
        (layer.g_idx ? " with " + std::to_string(shape.in) + " columns, as g_idx has" : ""));
  shape.group_size = config.group_size >= shape.in ? -1 : config.group_size;
  shape.groups = group_count(shape.in, shape.group_size);
  return shape;
}

/// Zero points (groups, out) as unsigned numbers. v1 stores them less one, field by field.
[[nodiscard]] inline Matrix<std::uint8_t> read_gptq_zeros(const GptqLayer& layer,
                                                          const GptqConfig& config,
                                                          const GptqShape& shape) {
  const int b = config.bits, shift = config.version == GptqVersion::v1 ? 1 : 0;
  const auto qzeros =
      read_elements<std::uint32_t>(layer.qzeros, "qzeros", DType::I32,
                                   {shape.groups, packed_words<std::uint32_t>(shape.out, b)});
  Matrix<std::uint8_t> zeros({shape.groups, shape.out});
  for (Index g = 0; g < shape.groups; ++g) {
    const std::span<std::uint8_t> row(&zeros(g, 0), static_cast<std::size_t>(shape.out));
    unpack_bits<std::uint32_t>({&qzeros(g, 0), static_cast<std::size_t>(qzeros.cols())}, b, row);
    for (std::uint8_t& zero : row)
      zero = static_cast<std::uint8_t>((zero + shift) & ((1 << b) - 1));
  }
  return zeros;
}

/// True when a layer that is called symmetric has zero points of its own. One beside the middle
/// for all groups is a version misnamed: FormatError.
[[nodiscard]] inline bool has_own_zeros(const Matrix<std::uint8_t>& zeros, int bits) {
  const int middle = 1 << (bits - 1);
  bool own = false, constant = true;
  for (Index k = 0; k < zeros.size(); ++k) {
    own = own || zeros.data()[k] != middle;
    constant = constant && zeros.data()[k] == zeros.data()[0];
  }
  if (const int zero = zeros.data()[0]; own && constant && std::abs(zero - middle) == 1)
    throw FormatError("every zero point is " + std::to_string(zero) + ", not the " +
                      std::to_string(middle) +
                      " of a symmetric layer: is \"sym\" or \"checkpoint_format\" wrong?");
  return own;
}

/// Columns to groups, as g_idx says it; notes what had to be assumed.
template <Format F>
void read_gptq_groups(const GptqLayer& layer, const GptqConfig& config, QuantizedMatrix<F>& q,
                      std::vector<std::string>& notices) {
  if (!layer.g_idx) {
    if (config.desc_act && !config.static_groups && q.groups() > 1)
      notices.push_back(
          "desc_act is set but there is no g_idx: groups are taken for neighbouring columns");
    return;
  }
  const auto index = elements_as<std::int32_t>(*layer.g_idx);
  const auto is_zero = [](std::int32_t g) { return g == 0; };
  if (q.groups() > 1 && std::all_of(index.begin(), index.end(), is_zero))
    notices.push_back(
        "g_idx holds only zeros, a placeholder: groups are taken for neighbouring columns");
  else
    q.set_group_index(index);
}

template <GptqFormat F>
[[nodiscard]] QuantizedMatrix<F> read_gptq(const GptqLayer& layer, const GptqConfig& config,
                                           const GptqShape& shape,
                                           const Matrix<std::uint8_t>& zeros,
                                           std::vector<std::string>& notices) {
  const Index words = layer.qweight.shape[0];
  const auto qweight =
      read_elements<std::uint32_t>(layer.qweight, "qweight", DType::I32, {words, shape.out});
  const ScaleType scale_type = require_scale_type(layer.scales);
  const Matrix<float> scales = read_scales(layer.scales, {shape.groups, shape.out});

  QuantizedMatrix<F> q(shape.out, shape.in, shape.group_size, scale_type);
  std::vector<std::uint32_t> column(static_cast<std::size_t>(words));
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(shape.in));
  for (Index n = 0; n < shape.out; ++n) {
    for (Index w = 0; w < words; ++w) column[static_cast<std::size_t>(w)] = qweight(w, n);
    unpack_bits<std::uint32_t>(column, F::code_bits, codes);
    load_row<F>(codes, n, q);
    for (Index g = 0; g < shape.groups; ++g) {
      q.parameters()(n, g).scale = scales(g, n);
      F::set_zero_point(q.parameters()(n, g), zeros(g, n) - F::code_offset);
    }
  }
  read_gptq_groups(layer, config, q, notices);
  return q;
}

}  // namespace detail

/// Reads the layer that gptq_tensors or another writer of this layout stored under `name`:
/// Int<b> where the settings say symmetric, UInt<b> otherwise.
///
/// `config` holds for this layer: see gptq_layer_config where settings differ between layers.
/// Errors    FormatError naming the layer and the tensor for anything missing or malformed, and for
///           scales that are NaN or infinite
/// Edge      a stored v1 field of all ones is the zero point 0; a group_size of at least `in` is
///           the whole row. What had to be assumed is added to `notices`: a g_idx of zeros alone
///           is a placeholder; a layer called symmetric whose zero points differ is UInt<b>
template <TensorSource Source>
[[nodiscard]] AnyQuantizedMatrix read_gptq_layer(Source& source, const std::string& name,
                                                 const GptqConfig& config,
                                                 std::vector<std::string>* notices = nullptr) {
  const detail::GptqLayer layer{
      source.info(name + ".qweight"), source.info(name + ".qzeros"), source.info(name + ".scales"),
      source.contains(name + ".g_idx") ? &source.info(name + ".g_idx") : nullptr};
  std::vector<std::string> noted;
  auto result = with_context(detail::layer_label(name), [&] {
    return detail::blame_file([&] {
      const std::string bits = std::to_string(config.bits);
      return with_format(
          "int" + bits, [&]<class Symmetric>(TypeTag<Symmetric>) -> AnyQuantizedMatrix {
            if constexpr (GptqFormat<Symmetric>) {
              const detail::GptqShape shape = detail::gptq_shape(layer, config);
              const Matrix<std::uint8_t> zeros = detail::read_gptq_zeros(layer, config, shape);
              if (config.sym && !detail::has_own_zeros(zeros, config.bits))
                return detail::read_gptq<Symmetric>(layer, config, shape, zeros, noted);
              if (config.sym)
                noted.push_back(
                    "the layer is called symmetric but has zero points of its own, which are used");
              return detail::read_gptq<UInt<Symmetric::code_bits>>(layer, config, shape, zeros,
                                                                   noted);
            } else {
              throw ArgumentError("GPTQ checkpoints of " + bits +
                                  " bits cannot be read; 2, 3, 4 and 8 can");
            }
          });
    });
  });
  if (notices) notices->insert(notices->end(), noted.begin(), noted.end());
  return result;
}

}  // namespace pare
