#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pare/distillation/top_k.hpp"
#include "training/transformer.hpp"

namespace training {

/// What is learned from: a batch, what the student makes of it, and what its teachers do, if there
/// are any.
struct Lesson {
  Index length = 0;
  std::span<const std::int32_t> labels;
  const Pass<float>& student;
  struct Teacher {
    pare::Matrix<float> logits;               ///< empty where `top` is there
    std::vector<pare::Matrix<float>> hidden;  ///< as Pass::hidden; empty unless a term asks for it
    std::optional<pare::TopKLogits<float>> top{};  ///< in place of logits: of a cache
    /// Of the last block, as attention reads them; null unless a term asks for it.
    const BlockState<float>* last_block = nullptr;
  };
  std::span<const Teacher> teachers;
  /// Rows of logits of all micro batches of a step: what a mean is divided by.
  double divisor = 0.0;

  /// What this batch is of the step.
  [[nodiscard]] double share() const {
    return divisor > 0.0 ? static_cast<double>(student.logits.rows()) / divisor : 1.0;
  }
};

/// What terms ask of models that they compare.
struct ComparedModel {
  const engine::ModelConfig& config;
  Index classes = 0;  ///< or tokens of the vocabulary
};

/// A part of what is minimized.
class LossTerm {
 public:
  LossTerm() = default;
  LossTerm(const LossTerm&) = delete;
  LossTerm& operator=(const LossTerm&) = delete;
  virtual ~LossTerm() = default;

  [[nodiscard]] virtual bool needs_teacher() const { return true; }
  [[nodiscard]] virtual bool needs_hidden() const { return false; }
  /// Where a teacher's most likely classes are enough: at which temperature.
  [[nodiscard]] virtual std::optional<double> top_k_temperature() const { return std::nullopt; }
  /// Queries, keys and values of the teacher's last block.
  [[nodiscard]] virtual bool needs_attention() const { return false; }
  /// Throws pare::ArgumentError for models that it cannot compare.
  virtual void require_fit(const ComparedModel& /*student*/,
                           const ComparedModel& /*teacher*/) const {}
  /// Its value; its gradients times `weight` are added.
  virtual double add(const Lesson& lesson, double weight, PassGradients<float>& gradients,
                     const pare::Execution& execution) = 0;
};

/// A term of an objective and how much it counts.
struct WeightedTerm {
  std::string name;  ///< "kd"
  double weight = 1.0;
  std::unique_ptr<LossTerm> term;
};

/// "ce:0.5,kd:0.5:T=2": names of terms, separated by commas, each perhaps with its weight and
/// options.
///
///     ce         cross entropy with the next token, or with the label of the input
///     kd         T^2 KL(teacher || student) of logits at temperature T
///     reverse-kd T^2 KL(student || teacher)
///     logits     the mean squared difference of logits
///     hidden     the mean squared difference of hidden states over the mean square of the
///     teacher's
///
/// Throws pare::ArgumentError that lists what there is.
[[nodiscard]] std::vector<WeightedTerm> parse_objective(const std::string& text);

/// The temperature of what a cache of the teacher must hold. Throws pare::ArgumentError naming a
/// term that reads more of a teacher, and when terms differ or none reads any.
[[nodiscard]] double top_k_temperature(std::span<const WeightedTerm> objective);

}  // namespace training
