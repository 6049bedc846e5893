#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pare/core/random.hpp"
#include "pare/formats/quantized_matrix.hpp"
#include "pare/io/stored_tensor.hpp"

namespace pare::test {

/// A TensorSource in memory: what was exported, without a file in between.
class StoredTensors {
 public:
  explicit StoredTensors(std::vector<NamedTensor> tensors) : tensors_(std::move(tensors)) {
    for (const NamedTensor& tensor : tensors_) infos_.push_back(tensor.info());
  }

  [[nodiscard]] bool contains(std::string_view name) const { return find(name) < infos_.size(); }
  [[nodiscard]] const TensorInfo& info(std::string_view name) const {
    if (!contains(name)) throw FormatError("no tensor named " + detail::in_quotes(name));
    return infos_[find(name)];
  }

 private:
  [[nodiscard]] std::size_t find(std::string_view name) const {
    std::size_t i = 0;
    while (i < tensors_.size() && tensors_[i].name != name) ++i;
    return i;
  }

  std::vector<NamedTensor> tensors_;
  std::vector<TensorInfo> infos_;
};

/// The 32-bit words of a stored tensor.
[[nodiscard]] inline std::vector<std::uint32_t> words_of(const NamedTensor& tensor) {
  std::vector<std::uint32_t> words(tensor.data.size() / 4);
  std::memcpy(words.data(), tensor.data.data(), words.size() * 4);
  return words;
}

/// Any code and zero point of the format, scales of mixed magnitude and sign, some of them zero.
template <Format F>
[[nodiscard]] QuantizedMatrix<F> random_quantized(Index rows, Index cols, Index group_size,
                                                  ScaleType type, std::uint64_t seed,
                                                  bool group_index = false) {
  Random random(seed);
  QuantizedMatrix<F> q(rows, cols, group_size, type);
  const auto number = [&] {
    return static_cast<std::uint8_t>(random.below(std::uint32_t{code_count<F>()}));
  };
  for (Index i = 0; i < rows; ++i) {
    for (Index j = 0; j < cols; ++j) q.codes()(i, j) = from_stored<F>(number());
    for (Index g = 0; g < q.groups(); ++g) {
      const std::uint32_t kind = random.below(8);
      const float magnitude = store_scale(random.uniform(0.001f, 2.0f), type);
      q.parameters()(i, g).scale = kind == 0 ? 0.0f : kind <= 2 ? -magnitude : magnitude;
      F::set_zero_point(q.parameters()(i, g), number());
    }
  }
  if (!group_index) return q;
  std::vector<std::int32_t> index;
  for (Index j = 0; j < cols; ++j) index.push_back(static_cast<std::int32_t>(q.group_of(j)));
  for (std::size_t j = index.size(); j > 1; --j)
    std::swap(index[j - 1], index[random.below(static_cast<std::uint32_t>(j))]);
  q.set_group_index(index);
  return q;
}

}  // namespace pare::test
