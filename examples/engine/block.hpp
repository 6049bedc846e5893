#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "engine/attention.hpp"
#include "engine/config.hpp"
#include "engine/linear.hpp"
#include "engine/rope.hpp"
#include "pare/core/function_ref.hpp"

namespace engine {

/// The linear layers of a block, in the order of their names below.
enum class LinearId { q, k, v, o, gate, up, down };

inline constexpr std::array<std::string_view, 7> linear_names{
    "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
    "mlp.gate_proj",    "mlp.up_proj",      "mlp.down_proj"};

/// Where in a block activations enter linear layers.
enum class Site { attention_input, attention_output, mlp_input, mlp_hidden };
inline constexpr std::array<Site, 4> sites{Site::attention_input, Site::attention_output,
                                           Site::mlp_input, Site::mlp_hidden};

/// The linear layers fed at a site.
[[nodiscard]] inline std::span<const LinearId> linears_at(Site site) {
  static constexpr std::array<LinearId, 7> all{LinearId::q,   LinearId::k,    LinearId::v,
                                               LinearId::o,   LinearId::gate, LinearId::up,
                                               LinearId::down};
  const std::span<const LinearId> ids(all);
  switch (site) {
    case Site::attention_input:
      return ids.subspan(0, 3);
    case Site::attention_output:
      return ids.subspan(3, 1);
    case Site::mlp_input:
      return ids.subspan(4, 2);
    case Site::mlp_hidden:
      break;
  }
  return ids.subspan(6, 1);
}

/// (out_features, in_features) that the configuration gives a layer.
[[nodiscard]] inline pare::Shape<2> linear_shape(const ModelConfig& c, LinearId id) {
  switch (id) {
    case LinearId::q:
      return {c.q_size(), c.hidden_size};
    case LinearId::k:
    case LinearId::v:
      return {c.kv_size(), c.hidden_size};
    case LinearId::o:
      return {c.hidden_size, c.q_size()};
    case LinearId::gate:
    case LinearId::up:
      return {c.intermediate_size, c.hidden_size};
    case LinearId::down:
      break;
  }
  return {c.hidden_size, c.intermediate_size};
}

[[nodiscard]] inline std::string block_prefix(Index block) {
  return "model.layers." + std::to_string(block) + ".";
}

/// What the output layer is called in checkpoints.
inline constexpr std::string_view output_layer_name = "lm_head";

[[nodiscard]] inline std::string linear_name(Index block, LinearId id) {
  return block_prefix(block) + std::string(linear_names[static_cast<std::size_t>(id)]);
}

/// What enters the layers at a site, for messages: "input of model.layers.3.mlp.down_proj".
[[nodiscard]] inline std::string input_name(Index block, Site site) {
  return "input of " + linear_name(block, linears_at(site).front());
}

/// One decoder layer: x += attention(norm(x)); x += mlp(norm(x)).
struct Block {
  pare::Vector<float> input_norm;
  pare::Vector<float> post_attention_norm;
  std::array<Linear, 7> linears;
  Index window = no_window;

  [[nodiscard]] Linear& operator[](LinearId id) { return linears[static_cast<std::size_t>(id)]; }
  [[nodiscard]] const Linear& operator[](LinearId id) const {
    return linears[static_cast<std::size_t>(id)];
  }
};

/// Keys and values of the positions seen so far, of one block and one sequence.
struct KeyValueCache {
  pare::Matrix<float> keys, values;  // (capacity, kv_heads * head_dim)

  KeyValueCache(Index capacity, Index kv_size)
      : keys({capacity, kv_size}), values({capacity, kv_size}) {}
};

/// Called with the input of the linear layers at each site: this is how calibration sees
/// activations. Rows are tokens.
using Capture = pare::FunctionRef<void(Site, pare::MatrixView<const float>)>;

/// Runs blocks of one model. Intermediate results lie in the execution's workspace: with one, a
/// step allocates next to nothing.
class BlockRunner {
 public:
  BlockRunner(const ModelConfig& config, pare::Execution execution)
      : config_(config), rope_(config), attention_(config), execution_(execution) {}

  [[nodiscard]] const ModelConfig& config() const noexcept { return config_; }
  [[nodiscard]] const pare::Execution& execution() const noexcept { return execution_; }

  /// Sequences of `length` tokens each, stacked in the rows of x (sequences * length, hidden),
  /// which is updated in place.
  void prefill(const Block& block, pare::MatrixView<float> x, Index length,
               std::optional<Capture> capture = {}) const {
    run(block, x, {.length = length}, capture);
  }

  /// The next tokens, at positions start, start + 1, ..., of the sequence in `cache`.
  void extend(const Block& block, pare::MatrixView<float> x, Index start,
              KeyValueCache& cache) const {
    run(block, x, {.length = x.rows(), .start = start, .cache = &cache}, {});
  }

  /// Self-attention of normed sequences of `length` tokens: the module AWQ inspects.
  [[nodiscard]] pare::Matrix<float> attention(const Block& block,
                                              pare::MatrixView<const float> normed,
                                              Index length) const;

  /// down(silu(gate(x)) * up(x)): the other module AWQ inspects.
  [[nodiscard]] pare::Matrix<float> mlp(const Block& block,
                                        pare::MatrixView<const float> normed) const;

 private:
  /// What the rows of x are: sequences that begin at position 0, or one that continues `cache`.
  struct Sequences {
    Index length = 0, start = 0;
    KeyValueCache* cache = nullptr;
  };

  void run(const Block& block, pare::MatrixView<float> x, const Sequences& sequences,
           std::optional<Capture> capture) const;
  /// What enters o: the attention over values.
  void attend(const Block& block, pare::MatrixView<const float> normed, const Sequences& sequences,
              pare::MatrixView<float> mixed, std::optional<Capture> capture) const;
  /// What enters down.
  void activate(const Block& block, pare::MatrixView<const float> normed,
                pare::MatrixView<float> hidden, std::optional<Capture> capture) const;

  ModelConfig config_;
  Rope rope_;
  Attention attention_;
  pare::Execution execution_;
};

}  // namespace engine
