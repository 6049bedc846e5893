#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/attention.hpp"
#include "engine/config.hpp"
#include "engine/linear.hpp"
#include "engine/norm.hpp"
#include "engine/rope.hpp"
#include "pare/core/function_ref.hpp"

namespace engine {

/// A block of a model in memory.
struct Block {
  BlockDescription description;
  std::array<Norm, norm_places> norms;  // by NormPlace; empty where there is none
  Norm query_norm, key_norm;
  std::vector<Linear> linears;      // as in the description
  pare::Matrix<float> router;       // (experts, hidden)
  pare::Matrix<float> shared_gate;  // (1, hidden)
  /// Reads an expert, as a block of its layers alone, each time that it is used: then `linears` has
  /// empty ones for experts. Where this is empty they are there.
  std::function<Block(Index expert)> read_expert;

  [[nodiscard]] Norm& norm(NormPlace place) { return norms[static_cast<std::size_t>(place)]; }
  [[nodiscard]] const Norm& norm(NormPlace place) const {
    return norms[static_cast<std::size_t>(place)];
  }
  /// The layer that computes `role`, among others perhaps; there must be one.
  [[nodiscard]] const Linear& layer(Role role, Index expert = Site::all_tokens) const {
    return linears[description.find(role, expert).value().linear];
  }
  [[nodiscard]] const Linear& operator[](Role role) const { return layer(role); }
};

/// Keys and values of the positions seen so far, of one block and one sequence.
struct KeyValueCache {
  pare::Matrix<float> keys, values;  // (capacity, kv_heads * head_dim)

  KeyValueCache(Index capacity, Index kv_size)
      : keys({capacity, kv_size}), values({capacity, kv_size}) {}
};

/// Called with the input of the linear layers at each site: this is how calibration sees
/// activations. Rows are tokens. Sites of experts are not shown: all of them read what enters the
/// feed-forward half, and which rows the router tells (`route`).
using Capture = pare::FunctionRef<void(Site, pare::MatrixView<const float>)>;

/// Runs blocks of one model. Intermediate results lie in the execution's workspace: with one, a
/// step allocates next to nothing.
class BlockRunner {
 public:
  BlockRunner(const ModelConfig& config, pare::Execution execution);

  [[nodiscard]] const ModelConfig& config() const noexcept { return config_; }
  [[nodiscard]] const pare::Execution& execution() const noexcept { return execution_; }

  /// For each row of x, 0 where no other token sees it; empty where all are seen. Of encoders.
  using Visible = std::span<const std::uint8_t>;

  /// Sequences of `length` tokens each, stacked in the rows of x (sequences * length, hidden),
  /// which is updated in place.
  void prefill(const Block& block, pare::MatrixView<float> x, Index length,
               std::optional<Capture> capture = {}, Visible visible = {}) const {
    run(block, x, {.length = length, .visible = visible}, capture);
  }

  /// Shows what enters the layers as `prefill` does, without running the experts: x is of no use
  /// afterwards.
  void show(const Block& block, pare::MatrixView<float> x, Index length, Capture capture,
            Visible visible = {}) const {
    run(block, x, {.length = length, .visible = visible, .runs_experts = false}, capture);
  }

  /// The next tokens, at positions start, start + 1, ..., of the sequence in `cache`.
  void extend(const Block& block, pare::MatrixView<float> x, Index start,
              KeyValueCache& cache) const {
    run(block, x, {.length = x.rows(), .start = start, .cache = &cache}, {});
  }

  /// What the halves of a block that read a site make of it, before it is normed and added: what
  /// AWQ compares. Where one layer reads the site, its output.
  ///
  /// Shapes    x (sequences * length, in_features) of the layers at the site
  [[nodiscard]] pare::Matrix<float> output_behind(const Block& block, Site site,
                                                  pare::MatrixView<const float> x, Index length,
                                                  Visible visible = {}) const;

  /// What enters the last layer of an expert, of the tokens x that it is given.
  [[nodiscard]] pare::Matrix<float> expert_hidden(const Block& block, Index expert,
                                                  pare::MatrixView<const float> x) const;

 private:
  /// What the rows of x are: sequences that begin at position 0, or one that continues `cache`.
  struct Sequences {
    Index length = 0, start = 0;
    KeyValueCache* cache = nullptr;
    Visible visible{};
    bool runs_experts = true;
  };
  /// Where outputs of layers go.
  struct Target {
    Role role;
    pare::MatrixView<float> y;
  };

  void run(const Block& block, pare::MatrixView<float> x, const Sequences& sequences,
           std::optional<Capture> capture) const;
  /// The layers that compute the targets' roles, of x.
  void project(const Block& block, pare::MatrixView<const float> x, std::span<const Target> targets,
               Index expert = Site::all_tokens) const;
  /// What enters the attention's output layer: the attention over values.
  void attend(const Block& block, pare::MatrixView<const float> input, const Sequences& sequences,
              pare::MatrixView<float> mixed, std::optional<Capture> capture) const;
  /// What enters the feed-forward half's last layer.
  void activate(const Block& block, pare::MatrixView<const float> input,
                pare::MatrixView<float> hidden, std::optional<Capture> capture,
                Index expert = Site::all_tokens) const;
  /// x += what a half's last layer makes of its input.
  void add_half(const Block& block, Role last, NormPlace norm, pare::MatrixView<const float> input,
                pare::MatrixView<float> x) const;
  /// x += the feed-forward half of `input`.
  void feed_forward(const Block& block, pare::MatrixView<const float> input,
                    pare::MatrixView<float> x, std::optional<Capture> capture,
                    bool runs_experts) const;
  void mix_experts(const Block& block, pare::MatrixView<const float> input,
                   pare::MatrixView<float> sum, std::optional<Capture> capture,
                   bool runs_experts = true) const;
  /// x += y, normed and scaled.
  void add_normed(const Block& block, NormPlace place, pare::MatrixView<float> y,
                  pare::MatrixView<float> x) const;
  void norm_sum(const Block& block, NormPlace place, pare::MatrixView<float> x) const;

  ModelConfig config_;
  std::vector<Rope> ropes_;
  Attention attention_;
  pare::Execution execution_;
};

}  // namespace engine
