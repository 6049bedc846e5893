#pragma once

#include <variant>

#include "cli/recipe.hpp"
#include "pare/calibration/entropy_observer.hpp"
#include "pare/calibration/min_max_observer.hpp"
#include "pare/calibration/moving_average_observer.hpp"
#include "pare/calibration/mse_observer.hpp"
#include "pare/calibration/percentile_observer.hpp"
#include "pare/formats/int.hpp"
#include "pare/formats/uint.hpp"
#include "pare/kernels/quantized_activations.hpp"

namespace cli {

/// The observer a recipe names, of one site's activations.
class ActivationObserver {
 public:
  explicit ActivationObserver(ObserverKind kind) {
    switch (kind) {
      case ObserverKind::min_max:
        break;
      case ObserverKind::moving_average:
        observer_ = pare::MovingAverageObserver();
        break;
      case ObserverKind::percentile:
        observer_ = pare::PercentileObserver();
        break;
      case ObserverKind::entropy:
        observer_ = pare::EntropyObserver();
        break;
      case ObserverKind::mse:
        observer_ = pare::MseObserver();
        break;
    }
  }

  void observe(pare::MatrixView<const float> x) {
    std::visit([&](auto& observer) { observer.observe(x); }, observer_);
  }

  /// Static int8 parameters: symmetric, or with the zero point moved from [0, 255] to int8.
  [[nodiscard]] pare::ActivationOptions options(bool zero_point) const {
    return std::visit(
        [&](const auto& observer) -> pare::ActivationOptions {
          if (!zero_point) return {.scale = observer.template params<pare::Int<8>>().scale};
          const auto p = observer.template params<pare::UInt<8>>();
          return {.scale = p.scale, .zero_point = p.zero_point - 128};
        },
        observer_);
  }

 private:
  std::variant<pare::MinMaxObserver, pare::MovingAverageObserver, pare::PercentileObserver,
               pare::EntropyObserver, pare::MseObserver>
      observer_;
};

}  // namespace cli
