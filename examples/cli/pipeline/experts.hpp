#pragma once

#include <vector>

#include "cli/pipeline/step.hpp"
#include "engine/routing.hpp"

namespace cli {

/// The rows of `inputs` that a router sends to each expert; all of them where those are fewer than
/// `least`. The inputs must outlive this.
class ExpertTokens {
 public:
  ExpertTokens(const engine::ExpertsDescription& experts, const pare::Matrix<float>& router,
               pare::MatrixView<const float> inputs, Index least);

  [[nodiscard]] pare::Matrix<float> of(Index expert) const;
  [[nodiscard]] Index experts_with_few() const;

 private:
  [[nodiscard]] bool has_few(Index expert) const;

  pare::MatrixView<const float> inputs_;
  std::vector<std::vector<engine::Route>> routes_;
  Index least_;
};

/// Where finished experts go, and come from when the block is run, that are not to be in memory
/// together.
class ExpertStore {
 public:
  ExpertStore() = default;
  ExpertStore(const ExpertStore&) = delete;
  ExpertStore& operator=(const ExpertStore&) = delete;
  virtual ~ExpertStore() = default;

  /// Rounds weights and biases to the types in which they are written: what comes after a block
  /// sees what a resumed run reads.
  virtual void round_as_stored(BlockInWork& /*work*/) const {}
  virtual void write_expert(const BlockInWork& expert, Index number) = 0;
  [[nodiscard]] virtual engine::Block read_expert(Index block, Index number) const = 0;
};

/// An expert as a block of its own: its layers are read, or leave `work` until they are given back.
[[nodiscard]] BlockInWork take_expert(const engine::ModelConfig& config, BlockInWork& work,
                                      Index expert);
void give_expert_back(BlockInWork& own, BlockInWork& work, Index expert);

/// What the float activations of an expert look like, of the tokens x that it gets.
[[nodiscard]] BlockStatistics expert_statistics(const engine::BlockRunner& runner,
                                                const BlockInWork& own, Index expert,
                                                const pare::Matrix<float>& x);

}  // namespace cli
