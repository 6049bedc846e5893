#include "training/optimizer.hpp"

#include <algorithm>
#include <cmath>

namespace training {
namespace {

/// Elements that are changed together.
constexpr Index piece = Index{1} << 15;

/// Calls body(parameter, begin, end) for pieces of all parameters, concurrently.
template <class Body>
void for_each_piece(std::span<const Trainable> parameters, const pare::Execution& execution,
                    const Body& body) {
  struct Piece {
    std::size_t parameter;
    Index begin, end;
  };
  std::vector<Piece> pieces;
  for (std::size_t p = 0; p < parameters.size(); ++p)
    for (Index begin = 0; begin < std::ssize(parameters[p].value); begin += piece)
      pieces.push_back({p, begin, std::min(begin + piece, std::ssize(parameters[p].value))});
  execution.parallel_for(std::ssize(pieces), [&](Index i) {
    const Piece& own = pieces[static_cast<std::size_t>(i)];
    body(static_cast<std::size_t>(i), own.parameter, own.begin, own.end);
  });
}

class AdamW final : public Optimizer {
 public:
  explicit AdamW(const AdamWOptions& options) : options_(options) {
    memories_ = {{"mean", {}}, {"square", {}}};
  }

  void step(std::span<const Trainable> parameters, std::int64_t step, double rate, double scale,
            const pare::Execution& execution) override {
    allocate(parameters);
    const auto t = static_cast<double>(step + 1);
    const double mean_correction = 1.0 - std::pow(options_.beta1, t);
    const auto root_correction = static_cast<float>(std::sqrt(1.0 - std::pow(options_.beta2, t)));
    const auto beta1 = static_cast<float>(options_.beta1);
    const auto beta2 = static_cast<float>(options_.beta2);
    // 1 - 0.999 in float is wrong in its fifth digit.
    const auto new1 = static_cast<float>(1.0 - options_.beta1);
    const auto new2 = static_cast<float>(1.0 - options_.beta2);
    const auto epsilon = static_cast<float>(options_.epsilon);
    const auto factor = static_cast<float>(scale);
    for_each_piece(parameters, execution, [&](std::size_t, std::size_t p, Index begin, Index end) {
      const Trainable& parameter = parameters[p];
      const double own_rate = rate * parameter.rate_factor;
      const auto kept =
          static_cast<float>(1.0 - (parameter.decays ? own_rate * options_.weight_decay : 0.0));
      const auto size = static_cast<float>(own_rate / mean_correction);
      float* const w = parameter.value.data();
      const float* const gradient = parameter.gradient.data();
      float* const mean = memories_[0].of_parameter[p].data();
      float* const square = memories_[1].of_parameter[p].data();
      for (Index i = begin; i < end; ++i) {
        const float g = gradient[i] * factor;
        mean[i] = beta1 * mean[i] + new1 * g;
        square[i] = beta2 * square[i] + new2 * g * g;
        w[i] = w[i] * kept - size * mean[i] / (std::sqrt(square[i]) / root_correction + epsilon);
      }
    });
  }

 private:
  AdamWOptions options_;
};

class Sgd final : public Optimizer {
 public:
  explicit Sgd(const SgdOptions& options) : options_(options) { memories_ = {{"momentum", {}}}; }

  void step(std::span<const Trainable> parameters, std::int64_t step, double rate, double scale,
            const pare::Execution& execution) override {
    allocate(parameters);
    const auto momentum = static_cast<float>(options_.momentum);
    const auto factor = static_cast<float>(scale);
    for_each_piece(parameters, execution, [&](std::size_t, std::size_t p, Index begin, Index end) {
      const Trainable& parameter = parameters[p];
      const auto own_rate = static_cast<float>(rate * parameter.rate_factor);
      const auto decay = static_cast<float>(parameter.decays ? options_.weight_decay : 0.0);
      float* const w = parameter.value.data();
      float* const velocity = memories_[0].of_parameter[p].data();
      for (Index i = begin; i < end; ++i) {
        const float g = parameter.gradient[static_cast<std::size_t>(i)] * factor + decay * w[i];
        velocity[i] = step == 0 ? g : momentum * velocity[i] + g;
        w[i] -= own_rate * (options_.nesterov ? g + momentum * velocity[i] : velocity[i]);
      }
    });
  }

 private:
  SgdOptions options_;
};

}  // namespace

void Optimizer::allocate(std::span<const Trainable> parameters) {
  for (Memory& memory : memories_) {
    if (memory.of_parameter.size() == parameters.size()) continue;
    memory.of_parameter.clear();
    for (const Trainable& parameter : parameters)
      memory.of_parameter.emplace_back(parameter.value.size());
  }
}

double gradient_norm(std::span<const Trainable> parameters, const pare::Execution& execution) {
  std::size_t pieces = 0;
  for (const Trainable& parameter : parameters)
    pieces += static_cast<std::size_t>(pare::ceil_div(std::ssize(parameter.value), piece));
  std::vector<double> sums(pieces);
  for_each_piece(parameters, execution, [&](std::size_t i, std::size_t p, Index begin, Index end) {
    double sum = 0.0;
    for (const float g : parameters[p].gradient.subspan(static_cast<std::size_t>(begin),
                                                        static_cast<std::size_t>(end - begin)))
      sum += static_cast<double>(g) * static_cast<double>(g);
    sums[i] = sum;
  });
  double total = 0.0;
  for (const double sum : sums) total += sum;
  return std::sqrt(total);
}

std::unique_ptr<Optimizer> make_adamw(const AdamWOptions& options) {
  return std::make_unique<AdamW>(options);
}
std::unique_ptr<Optimizer> make_sgd(const SgdOptions& options) {
  return std::make_unique<Sgd>(options);
}

}  // namespace training
