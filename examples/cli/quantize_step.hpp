#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>

#include "cli/activation_observer.hpp"
#include "cli/pipeline/step.hpp"
#include "cli/recipe.hpp"
#include "cli/weight_update.hpp"
#include "pare/io/dtype.hpp"
#include "pare/solvers/obs_factor.hpp"

namespace cli {

/// Quantizes layers following one recipe.
///
/// AWQ and SmoothQuant see the original model and scale what enters the layers at a site, where all
/// layers that this changes are quantized in one format: layers that are skipped keep every bit.
/// GPTQ's Hessians see the blocks already quantized, as its authors do.
class QuantizeStep final : public Step {
 public:
  /// The type a tensor has in the checkpoint, by name.
  using StoredType = std::function<pare::DType(const std::string& tensor)>;

  /// Norms and biases that are folded into are rounded to their stored type before anything is
  /// evaluated. `formats` has all layers of the model.
  /// With `prune`, which has an update, the sweep of GPTQ prunes too.
  QuantizeStep(const Recipe& recipe, LayerFormats formats, const engine::BlockRunner& runner,
               StoredType stored_type, std::optional<PruneRecipe> prune = {});

  [[nodiscard]] Needs needs() const override;
  [[nodiscard]] bool wants(const std::string& layer) const override;
  void prepare(BlockInWork& work, const BlockStatistics* statistics,
               const Listener& listener) override;
  void observe(const BlockInWork& work, engine::Site site,
               pare::MatrixView<const float> x) override;
  void compress(BlockInWork& work, const Observations& observations,
                const Listener& listener) override;
  [[nodiscard]] engine::QuantizedLinear compress_output_layer(
      const std::string& name, pare::MatrixView<const float> weight) override;

 private:
  [[nodiscard]] const LayerFormat& format(const std::string& layer) const {
    return formats_.at(layer);
  }
  [[nodiscard]] std::optional<LayerFormat> common_format(const BlockInWork& work,
                                                         engine::Site site) const;
  [[nodiscard]] bool can_scale(BlockInWork& work, engine::Site site) const;
  [[nodiscard]] pare::Vector<float> smooth_scales(const BlockInWork& work, engine::Site site,
                                                  const BlockStatistics& statistics) const;
  template <class F>
  [[nodiscard]] pare::Vector<float> awq_scales_at(const BlockInWork& work, engine::Site site,
                                                  const BlockStatistics& statistics,
                                                  Index group_size) const;
  void smooth(BlockInWork& work, const BlockStatistics& statistics) const;
  void search_awq(BlockInWork& work, const BlockStatistics& statistics,
                  const Listener& listener) const;
  void clip(BlockInWork& work, const BlockStatistics& statistics, const Listener& listener) const;
  void fold(BlockInWork& work, engine::Site site, const pare::Vector<float>& scales) const;
  [[nodiscard]] std::optional<pare::ActivationOptions> activations(const Layer& layer) const;
  void learn(BlockInWork& work, const BlockWindows& windows, const Listener& listener) const;
  /// What layers that share their input share.
  struct SharedByInputs {
    std::optional<pare::ObsFactor> factor{};
    std::optional<WeightUpdate> update{};
  };
  /// Adds to the notices and counts of `work`.
  [[nodiscard]] pare::AnyQuantizedMatrix quantize_weight(BlockInWork& work, const Layer& layer,
                                                         const Observations& observations,
                                                         SharedByInputs& shared) const;

  Recipe recipe_;
  LayerFormats formats_;
  const engine::BlockRunner& runner_;
  StoredType stored_type_;
  std::optional<PruneRecipe> prune_;
  std::map<engine::Site, ActivationObserver> observers_;  // of the block in work
};

}  // namespace cli
