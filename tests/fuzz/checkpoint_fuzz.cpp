#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <vector>

#include "pare/io/awq_checkpoint.hpp"
#include "pare/io/gptq_checkpoint.hpp"
#include "pare/io/pare_checkpoint.hpp"
#include "pare/io/safetensors_reader.hpp"
#include "pare/io/safetensors_writer.hpp"

/// Layers as the exporters write them, then damaged: importing gives a layer or a pare::Error, and
/// an intact one comes back as it was.
namespace {

using namespace pare;

/// Runs `f`; only a pare::Error may leave it.
template <class F>
void attempt(F&& f) {
  try {
    f();
  } catch (const Error&) {
  }
}

void require(bool holds) {
  if (!holds) std::abort();
}

/// Settings as text that need not even be JSON.
void read_settings(const std::string& text) {
  attempt([&] { (void)GptqConfig::from_json(parse_json(text)); });
  attempt([&] { (void)AwqConfig::from_json(parse_json(text)); });
  attempt([&] { (void)pare_layers(parse_json(text)).size(); });
}

Index pick(FuzzedDataProvider& input, std::initializer_list<Index> choices) {
  return *(choices.begin() + input.ConsumeIntegralInRange<std::size_t>(0, choices.size() - 1));
}

template <Format F>
QuantizedMatrix<F> pick_layer(FuzzedDataProvider& input, Index rows, Index cols) {
  const Index group_size =
      cols == 0 ? -1 : pick(input, {-1, 1, std::min<Index>(cols, 8), (cols + 1) / 2, cols});
  const ScaleType types[] = {ScaleType::f32, ScaleType::f16, ScaleType::bf16};
  QuantizedMatrix<F> q(rows, cols, group_size, types[pick(input, {0, 1, 2})]);
  const std::string codes = input.ConsumeRandomLengthString();
  for (std::size_t k = 0; k < codes.size() && rows * cols > 0; ++k) {
    const Index at = static_cast<Index>(k) % (rows * cols);
    const auto number =
        static_cast<std::uint8_t>(static_cast<unsigned char>(codes[k]) % code_count<F>());
    q.codes()(at / cols, at % cols) = from_stored<F>(number);
    F::set_zero_point(q.parameters()(at / cols, q.group_of(at % cols)), number);
  }
  if (input.ConsumeBool()) {
    std::vector<std::int32_t> index;
    for (Index j = cols; j-- > 0;) index.push_back(static_cast<std::int32_t>(q.group_of(j)));
    attempt([&] { q.set_group_index(index); });
  }
  return q;
}

/// Up to four damages; returns whether there was any.
bool damage(FuzzedDataProvider& input, std::vector<NamedTensor>& tensors) {
  const int count = input.ConsumeIntegralInRange(0, 4);
  for (int i = 0; i < count && !tensors.empty(); ++i) {
    const auto which = input.ConsumeIntegralInRange<std::size_t>(0, tensors.size() - 1);
    NamedTensor& tensor = tensors[which];
    const int kind = input.ConsumeIntegralInRange(0, 4);
    if (kind == 0) {
      tensors.erase(tensors.begin() + static_cast<std::ptrdiff_t>(which));
      continue;
    }
    if (kind == 1) tensor.dtype = static_cast<DType>(input.ConsumeIntegralInRange(0, 21));
    if (kind == 2 && !tensor.shape.empty())
      tensor.shape[input.ConsumeIntegralInRange<std::size_t>(0, tensor.shape.size() - 1)] =
          pick(input, {0, 1, 2, 3, 31, 32, 33, Index{1} << 40});
    if (kind == 3) tensor.shape.push_back(1);
    if (kind == 4 && !tensor.data.empty())
      tensor.data[input.ConsumeIntegralInRange<std::size_t>(0, tensor.data.size() - 1)] =
          static_cast<std::byte>(input.ConsumeIntegral<std::uint8_t>());
    const auto bytes = detail::stored_bytes(tensor.dtype, tensor.shape);
    if (bytes && *bytes <= 1 << 20)
      tensor.data.resize(*bytes);
    else
      tensors.erase(tensors.begin() + static_cast<std::ptrdiff_t>(which));
  }
  return count > 0;
}

std::string file_of(const std::vector<NamedTensor>& tensors) {
  std::vector<TensorSpec> specs;
  for (const NamedTensor& tensor : tensors) specs.push_back(tensor.spec());
  const auto entries = detail::place_tensors(specs);
  std::string file = detail::safetensors_head(entries, {});
  for (const auto& entry : entries)
    for (const NamedTensor& tensor : tensors)
      if (tensor.name == entry.name)
        file.append(reinterpret_cast<const char*>(tensor.data.data()), tensor.data.size());
  return file;
}

/// Exports with `write`, damages, and imports with `read(reader, group_size)`.
template <Format F, class Write, class Read>
void round_trip(FuzzedDataProvider& input, Index rows, Index cols, Write&& write, Read&& read) {
  attempt([&] {
    const auto q = pick_layer<F>(input, rows, cols);
    auto tensors = write(q);
    bool damaged = damage(input, tensors);
    Index group_size = q.group_size();
    if (input.ConsumeIntegralInRange(0, 3) == 0) {
      group_size = input.ConsumeIntegralInRange<int>(-2, 200);
      damaged = true;
    }
    const std::string file = file_of(tensors);
    const auto reader = SafetensorsReader::from_bytes(std::as_bytes(std::span(file)));
    const AnyQuantizedMatrix again = read(reader, group_size);
    require(damaged || again.dequantize() == dequantize(q));
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzedDataProvider input(data, size);
  const int layout = input.ConsumeIntegralInRange(0, 3);
  if (layout == 3) {
    read_settings(input.ConsumeRemainingBytesAsString());
    return 0;
  }
  std::string format = "uint4";
  int skip = input.ConsumeIntegralInRange(0, 20);
  for_each_type(AllFormats{}, [&]<class F>(TypeTag<F>) {
    if (skip-- == 0) format = F::name;
  });
  with_format(format, [&]<class F>(TypeTag<F>) {
    if (layout == 0) {
      // Extents in the settings that the tensors do not have can only be an error.
      const Index rows = pick(input, {0, 1, 3, 8}), cols = pick(input, {0, 1, 17, 32, 33});
      const Index claimed = pick(input, {cols, cols, cols, 0, Index{1} << 40});
      round_trip<F>(
          input, rows, cols, [](const auto& q) { return pare_tensors("l", q); },
          [&](const auto& reader, Index group_size) {
            const nlohmann::json layer{
                {"format", format}, {"group_size", group_size}, {"rows", rows}, {"cols", claimed}};
            return read_pare_layer(reader, "l", layer);
          });
    } else if constexpr (GptqFormat<F>) {
      const auto stored_as = input.ConsumeBool() ? GptqVersion::v1 : GptqVersion::v2;
      GptqConfig config = gptq_config(QuantizedMatrix<F>());
      config.version = stored_as;
      const Index rows = pick(input, {32, 64}), cols = pick(input, {32, 64, 96});
      round_trip<F>(
          input, rows, cols, [&](const auto& q) { return gptq_tensors("l", q, stored_as); },
          [&](const auto& reader, Index group_size) {
            config.group_size = group_size;
            return read_gptq_layer(reader, "l", config);
          });
    } else {
      round_trip<UInt<4>>(
          input, pick(input, {8, 16}), pick(input, {1, 8, 34}),
          [](const auto& q) { return awq_tensors("l", q); },
          [](const auto& reader, Index group_size) {
            return read_awq_layer(reader, "l", {.group_size = group_size});
          });
    }
  });
  return 0;
}
