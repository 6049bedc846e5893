// Magnitude pruning of the demo language model, 50 to 90 %: each matrix by itself, and all of them
// by one threshold. Prints bits per byte of held-out text, beside PyTorch's where there is a
// reference. Takes half a minute; with one of the sparsities, 0.7, a third of it.
//
//   magnitude_pruning [MODEL [SPARSITY]]

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <vector>

#include "engine/checkpoint.hpp"
#include "engine/model.hpp"
#include "labs/bits_per_byte.hpp"
#include "labs/texts.hpp"
#include "pare/core/thread_pool.hpp"
#include "pare/pruning/global_selection.hpp"
#include "pare/pruning/scores/magnitude.hpp"

namespace {

using pare::Index;

/// All weights of the blocks, in order.
std::vector<pare::Matrix<float>*> weights_of(engine::Model& model) {
  std::vector<pare::Matrix<float>*> weights;
  for (engine::Block& block : model.blocks)
    for (engine::Linear& layer : block.linears) weights.push_back(&layer.dense());
  return weights;
}

void prune_each(engine::Model& model, double sparsity) {
  for (pare::Matrix<float>* w : weights_of(model))
    pare::select(pare::magnitude_scores(*w), {.sparsity = sparsity}).apply(*w);
}

void prune_together(engine::Model& model, double sparsity) {
  const auto weights = weights_of(model);
  const auto at = [&](Index i) -> pare::Matrix<float>& {
    return *weights[static_cast<std::size_t>(i)];
  };
  // Masks come while scores are still read: they are applied afterwards.
  std::vector<pare::Mask> masks;
  pare::select_global<float>(
      std::ssize(weights), [&](Index i) { return pare::magnitude_scores(at(i)); },
      {.sparsity = sparsity}, [&](Index, pare::Mask mask) { masks.push_back(std::move(mask)); });
  for (Index i = 0; i < std::ssize(weights); ++i) masks[static_cast<std::size_t>(i)].apply(at(i));
}

struct Case {
  double sparsity, each = 0.0, together = 0.0;
};

/// PyTorch's answers for the demo model, float32, one ranking per matrix and one for all; of the
/// sparsity `only` if it is not empty.
std::vector<Case> choose_cases(const std::string& only) {
  std::vector<Case> cases = {{0.5, 1.5854, 1.5820}, {0.7, 2.0198, 2.4673}, {0.9}};
  if (only.empty()) return cases;
  const double sparsity = std::strtod(only.c_str(), nullptr);
  std::erase_if(cases, [&](const Case& c) { return c.sparsity != sparsity; });
  if (cases.empty()) throw pare::ArgumentError("sparsity " + only + "; there are 0.5, 0.7 and 0.9");
  return cases;
}

int run(const std::filesystem::path& directory, const std::string& only) {
  const std::vector<Case> cases = choose_cases(only);
  pare::ThreadPool pool;
  const pare::Execution execution{.parallel_for = pool};
  const engine::Model model = engine::Checkpoint(directory).load(execution);
  const std::string text = lab::read_text(directory / "eval.txt");
  std::printf("float: %.4f bits per byte\n", lab::bits_per_byte(model, text, execution));
  std::printf("sparsity   each matrix  expected   one threshold  expected\n");
  bool agrees = true;
  for (const Case& c : cases) {
    std::printf("%7.0f %%", 100.0 * c.sparsity);
    for (const bool together : {false, true}) {
      engine::Model pruned = model;
      (together ? prune_together : prune_each)(pruned, c.sparsity);
      const double bits = lab::bits_per_byte(pruned, text, execution);
      const double expected = together ? c.together : c.each;
      std::printf(together ? "%16.4f" : "%14.4f", bits);
      if (expected > 0.0)
        std::printf("%10.4f", expected);
      else
        std::printf("%10s", "-");
      agrees = agrees && (expected == 0.0 || std::fabs(bits / expected - 1.0) < 0.005);
    }
    std::printf("\n");
    std::fflush(stdout);
  }
  std::printf("agrees with the references: %s\n", agrees ? "yes" : "no");
  return agrees ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc > 1 ? argv[1] : PARE_DEMO_MODEL_DIR, argc > 2 ? argv[2] : "");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "magnitude_pruning: %s\n", error.what());
    return 1;
  }
}
