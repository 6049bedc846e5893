#include "cli/learned_block.hpp"

#include <functional>
#include <memory>
#include <utility>

#include "cli/block_output_error.hpp"
#include "cli/round_weight.hpp"
#include "pare/quantization/autoround.hpp"

namespace cli {
namespace {

/// A layer while it learns, of whatever format.
struct Learner {
  std::unique_ptr<pare::LearnedRounding> rounding;
  std::function<pare::AnyQuantizedMatrix()> best;
};

template <class F>
Learner learner_of(const Recipe& recipe, pare::MatrixView<const float> weight,
                   const pare::QuantizedMatrix<F>& begin, const pare::Execution& execution) {
  pare::AutoRoundOptions options{.group_size = begin.group_size(),
                                 .scale_type = begin.scale_type(),
                                 .range = range_options(recipe),
                                 .iterations = recipe.iterations,
                                 .learning_rate = recipe.learning_rate};
  // Codes of a sweep make up for each other: those that move together spoil that. Ranges can move.
  if (recipe.begin_with == BeginWith::gptq) options.bound = 0.0;
  auto own = recipe.begin_with == BeginWith::gptq
                 ? std::make_unique<pare::AutoRound<F>>(weight, begin, options, execution)
                 : std::make_unique<pare::AutoRound<F>>(weight, options, execution);
  const auto best = [layer = own.get()] { return pare::AnyQuantizedMatrix(layer->best()); };
  return {std::move(own), best};
}

Learner learner_of(const Recipe& recipe, pare::MatrixView<const float> weight,
                   const pare::AnyQuantizedMatrix& begin, const pare::Execution& execution) {
  return begin.visit([&]<class F>(const pare::QuantizedMatrix<F>& codes) -> Learner {
    if constexpr (F::is_integer)
      return learner_of<F>(recipe, weight, codes, execution);
    else
      throw pare::ArgumentError("the rounding of " + std::string(F::name) +
                                " cannot be learned; that of integer formats can");
  });
}

}  // namespace

LearnedBlock learn_block(const Recipe& recipe, const engine::ModelConfig& config,
                         const engine::Block& block, std::span<const RoundedLayer> layers,
                         const BlockWindows& windows, std::uint64_t seed, const Listener& listener,
                         const pare::Execution& execution) {
  BlockOutputError error(config, block, windows, seed, execution);
  std::vector<Learner> learners;
  std::vector<pare::LearnedRounding*> roundings;
  std::vector<std::size_t> places;
  for (const RoundedLayer& layer : layers) {
    pare::with_context(layer.name, [&] {
      learners.push_back(
          learner_of(recipe, block.linears[layer.index].dense(), *layer.begin, execution));
    });
    roundings.push_back(learners.back().rounding.get());
    places.push_back(layer.index);
  }
  const auto error_of = [&](const std::vector<pare::AnyQuantizedMatrix>& weights) {
    std::vector<pare::Matrix<float>> values;
    for (const auto& weight : weights) values.push_back(weight.dequantize());
    return error.of_all(places,
                        std::vector<pare::MatrixView<const float>>(values.begin(), values.end()));
  };
  LearnedBlock result;
  for (const RoundedLayer& layer : layers) result.weights.push_back(*layer.begin);
  result.begin_error = result.error = error_of(result.weights);

  const auto loss = [&](Index iteration, std::span<const pare::MatrixView<const float>> weights,
                        std::span<const pare::MatrixView<float>> gradients) {
    listener(
        "iteration " + std::to_string(iteration + 1) + " of " + std::to_string(recipe.iterations),
        static_cast<double>(iteration) / static_cast<double>(recipe.iterations));
    return error.of_batch(iteration, places, weights, gradients);
  };
  (void)pare::learn_rounding(roundings, recipe.iterations, loss, execution);

  std::vector<pare::AnyQuantizedMatrix> learned;
  for (const Learner& learner : learners) learned.push_back(learner.best());
  if (const double now = error_of(learned); now < result.begin_error) {
    result.error = now;
    result.weights = std::move(learned);
    result.is_better = true;
  }
  return result;
}

}  // namespace cli
