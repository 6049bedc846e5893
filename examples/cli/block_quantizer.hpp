#pragma once

#include <array>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cli/calibration_stream.hpp"
#include "cli/float_calibration.hpp"
#include "cli/recipe.hpp"
#include "engine/checkpoint.hpp"
#include "pare/io/dtype.hpp"
#include "pare/quantization/gptq.hpp"

namespace cli {

/// A block after quantization: ready to run, and as it is saved.
struct QuantizedBlock {
  engine::Block block;
  std::vector<engine::QuantizedLinear> linears;  // by engine::LinearId
  /// What its maker should know: raised damping, dead inputs, scales that did not fit their type.
  std::vector<std::string> notices;
  /// Scales that would have been stored as 0 in files that know only F16.
  Index scales_raised = 0;
};

/// Quantizes a model block by block, in order, following one recipe.
///
/// AWQ and SmoothQuant see the original model (`FloatCalibration`); GPTQ's Hessians and static
/// activation ranges are taken from a stream of the recipe's own, which GPTQ passes through the
/// blocks already quantized, as its authors do.
class BlockQuantizer {
 public:
  /// Called before each layer with its name and the share of the block that is done.
  using Listener = std::function<void(const std::string& layer, double fraction)>;

  /// The type a tensor has in the checkpoint, by name.
  using StoredType = std::function<pare::DType(const std::string& tensor)>;

  /// `windows` may be null when the recipe needs no calibration. Norms and biases that are folded
  /// into are rounded to their stored type before anything is evaluated.
  BlockQuantizer(const Recipe& recipe, const engine::BlockRunner& runner,
                 const CalibrationWindows* windows, pare::MatrixView<const float> embedding,
                 FloatCalibration* float_calibration, StoredType stored_type);

  /// Throws NumericError and ShapeError naming the layer.
  [[nodiscard]] QuantizedBlock quantize(Index index, engine::Block block, const Listener& listener);

  /// Passes by block `index`, quantized earlier: of the two forms only what is needed is read.
  void skip(Index index, const std::function<engine::Block()>& original,
            const std::function<engine::Block()>& quantized);

 private:
  struct Observations;

  void smooth(Index index, engine::Block& block);
  void fold_producer(Index index, engine::Block& block, engine::Site site,
                     const pare::Vector<float>& scales) const;
  void fold_vector(const std::string& tensor, pare::Vector<float>& values,
                   const pare::Vector<float>& scales) const;
  void search_awq(Index index, engine::Block& block, const Listener& listener);
  [[nodiscard]] Observations observe(Index index, const engine::Block& block) const;
  /// Adds to the notices and counts of `result`.
  [[nodiscard]] pare::AnyQuantizedMatrix quantize_weight(const std::string& name,
                                                         pare::MatrixView<const float> weight,
                                                         const Observations& observations,
                                                         engine::Site site,
                                                         std::optional<pare::GptqFactor>& factor,
                                                         QuantizedBlock& result) const;
  [[nodiscard]] bool needs_stream() const {
    return recipe_.uses_gptq() || recipe_.activations() == Activations::static_int8;
  }

  Recipe recipe_;
  engine::BlockRunner runner_;
  FloatCalibration* float_calibration_;
  StoredType stored_type_;
  std::optional<CalibrationStream> stream_;
};

}  // namespace cli
