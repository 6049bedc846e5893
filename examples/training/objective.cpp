#include "training/objective.hpp"

#include <charconv>
#include <cmath>
#include <map>

#include "pare/core/error.hpp"
#include "pare/distillation/attention_relation.hpp"
#include "pare/distillation/cross_entropy.hpp"
#include "pare/distillation/kl.hpp"
#include "pare/distillation/logit_mse.hpp"
#include "pare/distillation/reverse_kl.hpp"

namespace training {
namespace {

using pare::SampleOptions;

/// Options of a term, "T" -> 2.
using Values = std::map<std::string, double>;

/// Takes an option out, so that what is left is unknown.
double take(Values& values, const std::string& name, double otherwise) {
  const auto found = values.find(name);
  if (found == values.end()) return otherwise;
  const double value = found->second;
  values.erase(found);
  return value;
}

/// Where gradients of the logits go.
pare::MatrixView<float> logits_of(const Lesson& lesson, PassGradients<float>& gradients) {
  if (gradients.logits.shape() != lesson.student.logits.shape())
    gradients.logits = pare::Matrix<float>(lesson.student.logits.shape());
  return gradients.logits;
}

/// Teachers count alike.
template <class Loss>
double mean_over_teachers(const Lesson& lesson, double weight, const Loss& loss) {
  double sum = 0.0;
  const double share = 1.0 / static_cast<double>(lesson.teachers.size());
  for (const Lesson::Teacher& teacher : lesson.teachers) sum += loss(teacher, weight * share);
  return weight == 0.0 ? 0.0 : sum / weight;
}

class CrossEntropy final : public LossTerm {
 public:
  explicit CrossEntropy(Values& values) : smoothing_(take(values, "smoothing", 0.0)) {}
  [[nodiscard]] bool needs_teacher() const override { return false; }
  double add(const Lesson& lesson, double weight, PassGradients<float>& gradients,
             const pare::Execution& execution) override {
    const std::vector<Index> labels(lesson.labels.begin(), lesson.labels.end());
    return pare::cross_entropy_loss(
               lesson.student.logits, labels,
               {.label_smoothing = smoothing_,
                .common = {.weight = weight, .add_gradient = true, .divisor = lesson.divisor}},
               logits_of(lesson, gradients), execution) /
           weight;
  }

 private:
  double smoothing_;
};

/// A loss between logits, with its options.
template <class Call>
class LogitTerm : public LossTerm {
 public:
  LogitTerm(pare::ResponseOptions options, Call call) : options_(options), call_(call) {}
  void require_fit(const ComparedModel& student, const ComparedModel& teacher) const override {
    if (student.classes == teacher.classes) return;
    if (student.config.encoder)
      throw pare::ArgumentError("the teacher knows " + std::to_string(teacher.classes) +
                                " classes, the student " + std::to_string(student.classes));
    throw pare::ArgumentError("the teacher's vocabulary has " + std::to_string(teacher.classes) +
                              " tokens, the student's " + std::to_string(student.classes));
  }
  double add(const Lesson& lesson, double weight, PassGradients<float>& gradients,
             const pare::Execution& execution) override {
    const auto gradient = logits_of(lesson, gradients);
    return mean_over_teachers(lesson, weight, [&](const Lesson::Teacher& teacher, double own) {
      pare::ResponseOptions options = options_;
      options.common = {.weight = own, .add_gradient = true, .divisor = lesson.divisor};
      return call_(lesson.student.logits, teacher.logits, options, gradient, execution);
    });
  }

 protected:
  [[nodiscard]] const pare::ResponseOptions& options() const noexcept { return options_; }

 private:
  pare::ResponseOptions options_;
  Call call_;
};

/// KL to the teacher's logits, or to what a cache keeps of them.
template <class Call>
class DivergenceTerm final : public LogitTerm<Call> {
 public:
  using LogitTerm<Call>::LogitTerm;
  [[nodiscard]] std::optional<double> top_k_temperature() const override {
    return this->options().temperature;
  }
  double add(const Lesson& lesson, double weight, PassGradients<float>& gradients,
             const pare::Execution& execution) override {
    if (!lesson.teachers[0].top) return LogitTerm<Call>::add(lesson, weight, gradients, execution);
    const auto gradient = logits_of(lesson, gradients);
    return mean_over_teachers(lesson, weight, [&](const Lesson::Teacher& teacher, double own) {
      return pare::top_k_kl_loss<float>(
          lesson.student.logits, *teacher.top,
          {.common = {.weight = own, .add_gradient = true, .divisor = lesson.divisor}}, gradient,
          execution);
    });
  }
};

template <template <class> class Term = LogitTerm, class Call>
std::unique_ptr<LossTerm> logit_term(Values& values, double temperature, Call call) {
  pare::ResponseOptions options;
  options.temperature = take(values, "T", temperature);
  return std::make_unique<Term<Call>>(options, call);
}

/// Hidden states of blocks that are as far into their models: student's i of n is teacher's i N /
/// n.
class HiddenStates final : public LossTerm {
 public:
  explicit HiddenStates(Values&) {}
  [[nodiscard]] bool needs_hidden() const override { return true; }
  void require_fit(const ComparedModel& of_student,
                   const ComparedModel& of_teacher) const override {
    const engine::ModelConfig &student = of_student.config, &teacher = of_teacher.config;
    if (student.encoder && student.encoder->image && teacher.encoder && teacher.encoder->image &&
        student.encoder->image->tokens() != teacher.encoder->image->tokens())
      throw pare::ArgumentError(
          "the teacher cuts an image into " + std::to_string(teacher.encoder->image->tokens()) +
          " tokens, the student into " + std::to_string(student.encoder->image->tokens()));
    if (student.hidden_size != teacher.hidden_size)
      throw pare::ArgumentError("hidden states of " + std::to_string(student.hidden_size) +
                                " and " + std::to_string(teacher.hidden_size) +
                                " features cannot be compared");
    if (teacher.layers % student.layers != 0)
      throw pare::ArgumentError("the teacher's " + std::to_string(teacher.layers) +
                                " blocks are no multiple of the student's " +
                                std::to_string(student.layers));
  }
  double add(const Lesson& lesson, double weight, PassGradients<float>& gradients,
             const pare::Execution& execution) override {
    const auto& own = lesson.student.hidden;
    gradients.hidden.resize(own.size());
    return mean_over_teachers(lesson, weight, [&](const Lesson::Teacher& teacher, double factor) {
      double loss = 0.0;
      const std::size_t every = (teacher.hidden.size() - 1) / (own.size() - 1);
      for (std::size_t b = 0; b < own.size(); ++b) {
        const pare::Matrix<float>& wanted = teacher.hidden[b * every];
        pare::Matrix<float>& d = gradients.hidden[b];
        if (d.shape() != own[b].shape()) d = pare::Matrix<float>(own[b].shape());
        // Sums in an order of their own, whatever the threads: row by row.
        pare::Vector<double> squares({wanted.rows()}), differences({wanted.rows()});
        execution.parallel_for(wanted.rows(), [&](Index t) {
          for (Index j = 0; j < wanted.cols(); ++j) {
            const auto w = static_cast<double>(wanted(t, j));
            const double difference = static_cast<double>(own[b](t, j)) - w;
            squares[t] += w * w;
            differences[t] += difference * difference;
          }
        });
        double square = 0.0, difference = 0.0;
        for (Index t = 0; t < wanted.rows(); ++t) {
          square += squares[t];
          difference += differences[t];
        }
        const double scale = factor * lesson.share() / square;
        loss += scale * difference;
        execution.parallel_for(wanted.rows(), [&](Index t) {
          for (Index j = 0; j < wanted.cols(); ++j)
            d(t, j) += static_cast<float>(
                2.0 * scale *
                (static_cast<double>(own[b](t, j)) - static_cast<double>(wanted(t, j))));
        });
      }
      return loss;
    });
  }
};

/// MiniLMv2 on the last blocks, causal: see pare::self_relation_loss.
class Relations final : public LossTerm {
 public:
  explicit Relations(Values& values)
      : heads_(static_cast<Index>(std::lround(take(values, "heads", 8.0)))) {}
  [[nodiscard]] bool needs_attention() const override { return true; }
  void require_fit(const ComparedModel& student, const ComparedModel& teacher) const override {
    if (student.config.encoder)
      throw pare::ArgumentError(
          "the loss relations compares decoders; classifiers learn by ce, kd, "
          "reverse-kd, logits and hidden");
    for (const engine::ModelConfig* config : {&student.config, &teacher.config})
      if (config->q_size() % heads_ != 0 || config->kv_size() % heads_ != 0)
        throw pare::ArgumentError(
            std::to_string(heads_) + " relation heads do not divide queries of " +
            std::to_string(config->q_size()) + " and keys of " + std::to_string(config->kv_size()) +
            " features: relations:heads=N");
  }
  double add(const Lesson& lesson, double weight, PassGradients<float>& gradients,
             const pare::Execution& execution) override {
    using Kept = pare::Matrix<float> BlockState<float>::*;
    const BlockState<float>& own = lesson.student.blocks.back();
    AttentionGradients<float>& d = gradients.attention[lesson.student.hidden.size() - 2];
    return mean_over_teachers(lesson, weight, [&](const Lesson::Teacher& teacher, double factor) {
      double loss = 0.0;
      const auto match = [&](Kept kept, pare::Matrix<float>& gradient) {
        const auto states = [&](const pare::Matrix<float>& m) {
          return pare::TensorView<const float, 3>(
              m.data(), {m.rows() / lesson.length, lesson.length, m.cols()});
        };
        const pare::Matrix<float>& x = own.*kept;
        if (gradient.shape() != x.shape()) gradient = pare::Matrix<float>(x.shape());
        loss += pare::self_relation_loss(
            states(x), states(teacher.last_block->*kept),
            {.heads = heads_,
             .causal = true,
             .common = {.weight = factor * lesson.share(), .add_gradient = true}},
            pare::TensorView<float, 3>(gradient.data(), states(x).shape()), execution);
      };
      match(&BlockState<float>::queries, d.queries);
      match(&BlockState<float>::keys, d.keys);
      match(&BlockState<float>::values, d.values);
      return loss;
    });
  }

 private:
  Index heads_;
};

struct TermKind {
  std::string_view name;
  std::unique_ptr<LossTerm> (*make)(Values& values);
};

/// All terms, in the order of the help.
constexpr TermKind term_kinds[] = {
    {"ce",
     [](Values& v) -> std::unique_ptr<LossTerm> { return std::make_unique<CrossEntropy>(v); }},
    {"kd",
     [](Values& v) {
       return logit_term<DivergenceTerm>(
           v, 1.0, [](const auto& s, const auto& t, const auto& o, auto g, const auto& e) {
             return pare::kl_loss(s, t, o, g, e);
           });
     }},
    {"reverse-kd",
     [](Values& v) {
       return logit_term(v, 1.0,
                         [](const auto& s, const auto& t, const auto& o, auto g, const auto& e) {
                           return pare::reverse_kl_loss(s, t, o, g, e);
                         });
     }},
    {"logits",
     [](Values& v) {
       return logit_term(v, 1.0,
                         [](const auto& s, const auto& t, const auto& o, auto g, const auto& e) {
                           return pare::logit_mse_loss(s, t, o, g, e);
                         });
     }},
    {"hidden",
     [](Values& v) -> std::unique_ptr<LossTerm> { return std::make_unique<HiddenStates>(v); }},
    {"relations",
     [](Values& v) -> std::unique_ptr<LossTerm> { return std::make_unique<Relations>(v); }},
};

std::string known_terms() {
  std::string names;
  for (const TermKind& kind : term_kinds)
    names += (names.empty() ? "" : ", ") + std::string(kind.name);
  return names;
}

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts{""};
  for (const char c : text)
    if (c == at)
      parts.emplace_back();
    else
      parts.back() += c;
  return parts;
}

double number(const std::string& text, const std::string& term) {
  double value = 0.0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value) ||
      value <= 0.0)
    throw pare::ArgumentError("the loss \"" + term + "\" says \"" + text +
                              "\", which is no positive number");
  return value;
}

}  // namespace

std::vector<WeightedTerm> parse_objective(const std::string& text) {
  std::vector<WeightedTerm> terms;
  for (const std::string& part : split(text, ',')) {
    const std::vector<std::string> words = split(part, ':');
    WeightedTerm term{words[0], 1.0, nullptr};
    Values values;
    for (std::size_t i = 1; i < words.size(); ++i)
      if (const auto equals = words[i].find('='); equals != std::string::npos)
        values[words[i].substr(0, equals)] = number(words[i].substr(equals + 1), part);
      else
        term.weight = number(words[i], part);
    for (const TermKind& kind : term_kinds)
      if (kind.name == term.name) term.term = kind.make(values);
    if (!term.term)
      throw pare::ArgumentError("there is no loss \"" + term.name + "\"; there are " +
                                known_terms());
    if (!values.empty())
      throw pare::ArgumentError("the loss " + term.name + " has no option \"" +
                                values.begin()->first + "\"");
    for (const WeightedTerm& other : terms)
      if (other.name == term.name)
        throw pare::ArgumentError("the loss " + term.name + " is named twice");
    terms.push_back(std::move(term));
  }
  return terms;
}

double top_k_temperature(std::span<const WeightedTerm> objective) {
  std::optional<double> temperature;
  for (const WeightedTerm& term : objective) {
    if (!term.term->needs_teacher()) continue;
    const auto its = term.term->top_k_temperature();
    if (!its)
      throw pare::ArgumentError("the loss " + term.name +
                                " reads more of a teacher than a cache holds; kd does not");
    if (temperature && *temperature != *its)
      throw pare::ArgumentError("a cache holds a teacher's probabilities at one temperature");
    temperature = its;
  }
  if (!temperature) throw pare::ArgumentError("no loss reads what a cache of a teacher holds");
  return *temperature;
}

}  // namespace training
