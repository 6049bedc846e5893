#pragma once

#include <concepts>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pare/formats/any_quantized_matrix.hpp"
#include "pare/io/layer_tensors.hpp"
#include "pare/io/parameter_tensors.hpp"
#include "pare/io/quantization_config.hpp"

namespace pare {

/// The library's own checkpoint layout: every format, any shape, without loss.
///
/// Shapes    weight (rows, cols) of b bits in a grid of R x G blocks: rows x groups, unless blocks
///           have more than a row. <name>.codes U8 [rows, ceil(cols b / 8)]: each row a dense bit
///           stream, first code in the lowest bits; .scales [R, G] in the scale type; .zero_points
///           U8 [R, ceil(G b / 8)], packed alike, for formats that have them; .group_index I32
///           [cols], if there is one. A format that stores its own parameters has a tensor a field
///           instead of scales and zero points: see StoredParameters
///
/// Format and extents of each layer are in config.json:
///
///     "quantization_config": {"quant_method": "pare", "version": 1, "layers": {name:
///         {"format": "int4", "group_size": 64, "rows": 256, "cols": 768}}}
///
/// Blocks that are more than a part of a row add "block_rows": r (-1: all), or "flat": true where
/// they are runs of group_size weights of the flattened matrix.
/// Callers add fields of their own to a layer's object; reading ignores what it does not know.
/// Errors    ArgumentError for a code or zero point that is outside its bits, and for parameters
///           that differ inside a block
template <Format F>
[[nodiscard]] std::vector<NamedTensor> pare_tensors(const std::string& name,
                                                    const QuantizedMatrix<F>& q) {
  constexpr int b = F::code_bits;
  const auto size = [](Index n) { return static_cast<std::size_t>(n); };
  Matrix<std::uint8_t> codes({q.rows(), packed_words<std::uint8_t>(q.cols(), b)});
  std::vector<std::uint8_t> row_codes(size(q.cols()));
  for (Index i = 0; i < q.rows() && !q.codes().empty(); ++i) {
    detail::store_row(q, i, row_codes);
    pack_bits<std::uint8_t>(row_codes, b, {&codes(i, 0), size(codes.cols())});
  }
  std::vector<NamedTensor> tensors;
  tensors.push_back(detail::make_tensor(name + ".codes", DType::U8, codes));
  if constexpr (StoresOwnParameters<F>) {
    detail::store_parameter_tensors(name, q, tensors);
  } else {
    detail::require_same_in_blocks(q);
    const auto [rows, groups] = q.block_grid();
    Matrix<std::uint8_t> zeros({rows, packed_words<std::uint8_t>(groups, b)});
    Matrix<float> scales({rows, groups});
    std::vector<std::uint8_t> row_zeros(size(groups));
    for (Index i = 0; i < rows && !q.codes().empty(); ++i) {
      for (Index g = 0; g < groups; ++g) {
        scales(i, g) = q.block(i, g).scale;
        row_zeros[size(g)] = detail::stored_zero<F>(q.block(i, g), i, g);
      }
      pack_bits<std::uint8_t>(row_zeros, b, {&zeros(i, 0), size(zeros.cols())});
    }
    tensors.push_back(detail::make_scale_tensor(name + ".scales", scales, q.scale_type()));
    if (F::has_zero_point)
      tensors.push_back(detail::make_tensor(name + ".zero_points", DType::U8, zeros));
  }
  if (!q.group_index().empty())
    tensors.push_back(detail::make_tensor<std::int32_t>(name + ".group_index", DType::I32,
                                                        {q.cols()}, q.group_index()));
  return tensors;
}

template <std::same_as<AnyQuantizedMatrix> Q>
[[nodiscard]] std::vector<NamedTensor> pare_tensors(const std::string& name, const Q& matrix) {
  return matrix.visit([&](const auto& q) { return pare_tensors(name, q); });
}

/// A layer's object in the settings.
template <Format F>
[[nodiscard]] nlohmann::json pare_layer_config(const QuantizedMatrix<F>& q) {
  const BlockShape& blocks = q.blocks();
  nlohmann::json config{
      {"format", F::name}, {"group_size", blocks.cols}, {"rows", q.rows()}, {"cols", q.cols()}};
  if (blocks.rows != 1) config["block_rows"] = blocks.rows;
  if (blocks.flat) config["flat"] = true;
  return config;
}
template <std::same_as<AnyQuantizedMatrix> Q>
[[nodiscard]] nlohmann::json pare_layer_config(const Q& matrix) {
  return matrix.visit([](const auto& q) { return pare_layer_config(q); });
}

/// The settings from an object of layers by name.
[[nodiscard]] inline nlohmann::json pare_config(nlohmann::json layers) {
  return {{"quant_method", "pare"}, {"version", 1}, {"layers", std::move(layers)}};
}

namespace detail {

inline void require_pare_version(const nlohmann::json& config) {
  require_method(config, "pare");
  if (const auto number = field_as<int>(config, {"version"}); number != 1)
    throw FormatError("field \"version\" of the pare checkpoint is " +
                      (number ? std::to_string(*number) : "missing") + ", but 1 can be read");
}

}  // namespace detail

/// The object of layers in the settings. Throws FormatError for other settings or a later version.
[[nodiscard]] inline const nlohmann::json& pare_layers(const nlohmann::json& config) {
  detail::require_pare_version(config);
  const nlohmann::json* layers = find_field(config, {"layers"});
  if (!layers || !layers->is_object())
    throw FormatError("field \"layers\" is missing or not an object");
  return *layers;
}

namespace detail {

/// Where a layer's tensors are; the last two are null when absent.
struct PareLayer {
  const TensorInfo& codes;
  const TensorInfo& scales;
  const TensorInfo* zero_points;
  const TensorInfo* group_index;
};

/// Row i of a tensor of packed numbers. The bits that fill up the last byte must be zero.
inline void unpack_row(const Matrix<std::uint8_t>& packed, Index i, int b, std::string_view what,
                       std::span<std::uint8_t> numbers) {
  unpack_bits<std::uint8_t>({&packed(i, 0), static_cast<std::size_t>(packed.cols())}, b, numbers);
  const Index used = (static_cast<Index>(numbers.size()) * b) % 8;
  if (used != 0 && packed(i, packed.cols() - 1) >> used != 0)
    throw FormatError(std::string(what) + " of row " + std::to_string(i) +
                      " end with bits that are not zero");
}

/// Format and extents of a layer.
struct PareLayerConfig {
  std::string format;
  BlockShape blocks;
  Index rows, cols;

  explicit PareLayerConfig(const nlohmann::json& layer) {
    const auto named = field_as<std::string>(layer, {"format"});
    const auto group = field_as<Index>(layer, {"group_size"});
    const auto height = field_as<Index>(layer, {"rows"}), width = field_as<Index>(layer, {"cols"});
    if (!named || !group || !height || !width)
      throw FormatError("\"format\", \"group_size\", \"rows\" or \"cols\" is missing");
    constexpr Index limit = Index{1} << 40;  // keeps every product of extent and bits in range
    if (*height < 0 || *width < 0 || *height > limit || *width > limit)
      throw FormatError("shape " + to_string(Shape<2>{*height, *width}) + " is absurd");
    format = *named;
    blocks = {field_as<Index>(layer, {"block_rows"}).value_or(1), *group,
              field_as<bool>(layer, {"flat"}).value_or(false)};
    rows = *height;
    cols = *width;
  }
};

/// A matrix of the codes; the rest is the caller's.
template <Format F>
[[nodiscard]] QuantizedMatrix<F> read_pare_codes(const TensorInfo& codes_tensor,
                                                 const PareLayerConfig& config,
                                                 ScaleType scale_type) {
  constexpr int b = F::code_bits;
  const auto codes = read_elements<std::uint8_t>(
      codes_tensor, "codes", DType::U8, {config.rows, packed_words<std::uint8_t>(config.cols, b)});
  QuantizedMatrix<F> q(config.rows, config.cols, config.blocks, scale_type);
  std::vector<std::uint8_t> numbers(static_cast<std::size_t>(config.cols));
  for (Index i = 0; i < config.rows && !codes.empty(); ++i) {
    unpack_row(codes, i, b, "codes", numbers);
    load_row<F>(numbers, i, q);
  }
  return q;
}

/// The group index, if there is one.
template <Format F>
void read_group_index(const TensorInfo* group_index, QuantizedMatrix<F>& q) {
  if (!group_index) return;
  require_shape(*group_index, "group_index", {q.cols()});
  q.set_group_index(elements_as<std::int32_t>(*group_index));
}

template <Format F>
requires(!StoresOwnParameters<F>)
    [[nodiscard]] QuantizedMatrix<F> read_pare(const PareLayer& layer,
                                               const PareLayerConfig& config) {
  constexpr int b = F::code_bits;
  QuantizedMatrix<F> q = read_pare_codes<F>(
      layer.codes, config, scale_type_of(layer.scales.dtype).value_or(ScaleType::f32));
  (void)require_scale_type(layer.scales);
  const auto [rows, groups] = q.block_grid();
  const Matrix<float> scales = read_scales(layer.scales, {rows, groups});
  if (F::has_zero_point != (layer.zero_points != nullptr))
    throw FormatError(std::string("zero_points are ") +
                      (F::has_zero_point ? "missing" : "of no use") + " with format " +
                      std::string(F::name));
  Matrix<std::uint8_t> zeros;
  if (layer.zero_points)
    zeros = read_elements<std::uint8_t>(*layer.zero_points, "zero_points", DType::U8,
                                        {rows, packed_words<std::uint8_t>(groups, b)});

  std::vector<std::uint8_t> numbers(static_cast<std::size_t>(groups));
  for (Index i = 0; i < rows && !q.codes().empty(); ++i) {
    if (layer.zero_points) unpack_row(zeros, i, b, "zero_points", numbers);
    for (Index g = 0; g < groups; ++g) {
      typename F::Parameters parameters{};
      parameters.scale = scales(i, g);
      F::set_zero_point(parameters, numbers[static_cast<std::size_t>(g)]);
      q.set_block(i, g, parameters);
    }
  }
  read_group_index(layer.group_index, q);
  return q;
}

template <TensorSource Source>
[[nodiscard]] const TensorInfo* find_tensor(Source& source, const std::string& tensor) {
  return source.contains(tensor) ? &source.info(tensor) : nullptr;
}

template <TensorSource Source>
[[nodiscard]] PareLayer find_pare_layer(Source& source, const std::string& name) {
  return {source.info(name + ".codes"), source.info(name + ".scales"),
          find_tensor(source, name + ".zero_points"), find_tensor(source, name + ".group_index")};
}

}  // namespace detail

/// Reads the layer that pare_tensors stored under `name`; `layer` is its object in the settings.
///
/// Errors    FormatError naming the layer for anything missing, malformed or out of range
template <TensorSource Source>
[[nodiscard]] AnyQuantizedMatrix read_pare_layer(Source& source, const std::string& name,
                                                 const nlohmann::json& layer) {
  const detail::PareLayer tensors = detail::find_pare_layer(source, name);
  const auto read = [&] {
    const detail::PareLayerConfig config(layer);
    return with_format(config.format, [&]<class F>(TypeTag<F>) -> AnyQuantizedMatrix {
      return detail::read_pare<F>(tensors, config);
    });
  };
  return with_context(detail::layer_label(name), [&] { return detail::blame_file(read); });
}

/// The same for a layer of format F, one of the library's or any other.
///
///     const QuantizedMatrix<MyFormat> q = read_pare_layer<MyFormat>(source, name, layer);
///
/// Errors    also FormatError for a layer of another format
template <Format F, TensorSource Source>
[[nodiscard]] QuantizedMatrix<F> read_pare_layer(Source& source, const std::string& name,
                                                 const nlohmann::json& layer) {
  const auto read = [&] {
    const detail::PareLayerConfig config(layer);
    if (config.format != F::name)
      throw FormatError("it is " + config.format + ", not " + std::string(F::name));
    if constexpr (StoresOwnParameters<F>) {
      QuantizedMatrix<F> q =
          detail::read_pare_codes<F>(source.info(name + ".codes"), config, ScaleType::f32);
      detail::load_parameter_tensors(source, name, q);
      detail::read_group_index(detail::find_tensor(source, name + ".group_index"), q);
      return q;
    } else {
      return detail::read_pare<F>(detail::find_pare_layer(source, name), config);
    }
  };
  return with_context(detail::layer_label(name), [&] { return detail::blame_file(read); });
}

}  // namespace pare
