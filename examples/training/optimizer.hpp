#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pare/core/tensor.hpp"
#include "pare/kernels/execution.hpp"

namespace training {

using pare::Index;

/// What an optimizer changes.
struct Trainable {
  std::string name;
  std::span<float> value, gradient;
  bool decays = true;
  double rate_factor = 1.0;  ///< on the learning rate
};

/// The square root of the sum of all squared gradients, in float64 and in a fixed order.
[[nodiscard]] double gradient_norm(std::span<const Trainable> parameters,
                                   const pare::Execution& execution);

/// Changes parameters by their gradients. All arithmetic is element by element: the same bits for
/// any number of threads.
class Optimizer {
 public:
  Optimizer() = default;
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;
  virtual ~Optimizer() = default;

  /// Step `step`, from 0, with gradients multiplied by `scale` (of clipping). The parameters are
  /// the same in every call.
  virtual void step(std::span<const Trainable> parameters, std::int64_t step, double rate,
                    double scale, const pare::Execution& execution) = 0;

  /// What it remembers of each parameter, by name ("mean", "square"), for files: after the first
  /// step, or where a file is read before it.
  struct Memory {
    std::string_view name;
    std::vector<pare::AlignedVector<float>> of_parameter;
  };
  [[nodiscard]] std::vector<Memory>& memories() noexcept { return memories_; }
  /// Zeroed memories, as many as parameters, unless they are there.
  void allocate(std::span<const Trainable> parameters);

 protected:
  std::vector<Memory> memories_;
};

struct AdamWOptions {
  double beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8, weight_decay = 0.1;
};
struct SgdOptions {
  double momentum = 0.9, weight_decay = 0.0;
  bool nesterov = false;
};

/// w -= rate (m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon) + decay w), as PyTorch's
/// AdamW. Source: Loshchilov, Hutter, "Decoupled weight decay regularization", 2019
[[nodiscard]] std::unique_ptr<Optimizer> make_adamw(const AdamWOptions& options = {});

/// v = momentum v + (g + decay w); w -= rate v, or rate (g + momentum v) with Nesterov's, as
/// PyTorch's.
[[nodiscard]] std::unique_ptr<Optimizer> make_sgd(const SgdOptions& options = {});

}  // namespace training
