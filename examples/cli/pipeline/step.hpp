#pragma once

#include <algorithm>
#include <functional>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cli/pipeline/float_calibration.hpp"
#include "cli/pipeline/layer.hpp"
#include "engine/quantization_settings.hpp"
#include "pare/calibration/hessian.hpp"

namespace cli {

/// What steps ask of calibration. The pipeline gathers it once for all steps of a run.
struct Needs {
  /// Statistics and a sample of what enters the layers of the float model.
  bool float_statistics = false;
  /// The Hessian of what enters each layer.
  bool hessians = false;
  /// Step::observe is shown everything that enters the layers.
  bool inputs = false;
  /// What enters the block and what the float block would make of float inputs: see BlockWindows.
  /// Of sequential steps.
  bool windows = false;
  /// The blocks before this one are as the steps left them, not as they were: what enters a layer
  /// carries the errors made so far.
  bool sequential = false;

  /// True when calibration text has to pass through the blocks beside the float statistics.
  [[nodiscard]] bool stream() const { return layer_inputs() || windows; }
  [[nodiscard]] bool layer_inputs() const { return hessians || inputs; }
  [[nodiscard]] bool calibration() const { return float_statistics || stream(); }

  Needs& operator|=(const Needs& other) {
    float_statistics |= other.float_statistics;
    hessians |= other.hessians;
    inputs |= other.inputs;
    windows |= other.windows;
    sequential |= other.sequential;
    return *this;
  }
};

/// A block on its way through the steps.
struct BlockInWork {
  Index index = 0;
  /// In float32. Weights, norms and biases that a step changes here are saved in the types that the
  /// checkpoint has them in.
  engine::Block block;
  std::vector<Layer> layers;
  /// What replaces weights of `block`, by the layer's name.
  std::map<std::string, engine::QuantizedLinear> quantized;
  /// What was taken out of it, so that tensors have other shapes: a list, for Output::Smaller.
  nlohmann::json edits = nlohmann::json::array();
  /// What a step's `prepare` divided the activations of sites by.
  std::map<engine::Site, pare::Vector<float>> input_scales;
  /// What the user should know, in a line each.
  std::vector<std::string> notices;
  /// Summed over all blocks and printed at the end: "scales raised ..." -> how many.
  std::map<std::string, Index> counts;

  [[nodiscard]] pare::Matrix<float>& weight(const Layer& layer) {
    return block.linears[layer.index].dense();
  }
  /// What became of an expert, or of other layers, that were a block of their own.
  void take_notes(BlockInWork& other) {
    std::move(other.notices.begin(), other.notices.end(), std::back_inserter(notices));
    for (auto& edit : other.edits) edits.push_back(std::move(edit));
    for (const auto& [what, count] : other.counts) counts[what] += count;
  }
};

/// All calibration windows on either side of a block, (windows * length, hidden).
struct BlockWindows {
  pare::MatrixView<const float> inputs;   ///< with the errors made so far if a step is sequential
  pare::MatrixView<const float> outputs;  ///< of the float model
  Index length = 0;
};

/// What one pass of the calibration text through a block gathers.
class Observations {
 public:
  /// Of what enters the layers at a site. Only where a step asked for Hessians and wants a layer.
  [[nodiscard]] pare::Hessian& hessian(engine::Site site) { return hessians_.at(site); }
  [[nodiscard]] const pare::Hessian& hessian(engine::Site site) const { return hessians_.at(site); }
  void add(engine::Site site, Index width) { hessians_.emplace(site, width); }
  /// Only where a step asked for them.
  [[nodiscard]] const BlockWindows& windows() const { return windows_; }
  void set_windows(const BlockWindows& windows) { windows_ = windows; }

 private:
  BlockWindows windows_;
  std::map<engine::Site, pare::Hessian> hessians_;
};

/// Called with what is next and the share of the block that is done.
using Listener = std::function<void(const std::string& layer, double fraction)>;

/// What is done to the blocks of a model, one after the other: see README.md in this folder.
///
/// For a block the pipeline calls `prepare` of all steps, shows what enters the layers to
/// `observe`, and calls `compress` of all steps. After a kill finished blocks are read, not made
/// again: a step keeps nothing from one block that a later one's result depends on.
class Step {
 public:
  Step() = default;
  Step(const Step&) = delete;
  Step& operator=(const Step&) = delete;
  virtual ~Step() = default;

  [[nodiscard]] virtual Needs needs() const = 0;
  /// False for layers that are left as they are: for them nothing is gathered.
  [[nodiscard]] virtual bool wants(const std::string& layer) const = 0;

  /// Rewrites of the block that change its function by nothing but rounding. `statistics` are those
  /// of the block as it was; null when the step needs none.
  virtual void prepare(BlockInWork&, const BlockStatistics* /*statistics*/, const Listener&) {}
  /// Rows of x (tokens, in_features) enter the layers at `site`, in the order of the text.
  virtual void observe(const BlockInWork&, engine::Site /*site*/,
                       pare::MatrixView<const float> /*x*/) {}
  /// Replaces weights: changes them in `block`, or sets `quantized`.
  virtual void compress(BlockInWork& work, const Observations& observations,
                        const Listener& listener) = 0;
  /// The output layer, where `wants` it: nothing is observed there.
  [[nodiscard]] virtual engine::QuantizedLinear compress_output_layer(
      const std::string& name, pare::MatrixView<const float> weight) = 0;
};

}  // namespace cli
