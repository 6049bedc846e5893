#include <cmath>
#include <memory>
#include <numeric>

#include "engine/checkpoint.hpp"
#include "example/gradient_checks.hpp"
#include "oracle_models.hpp"
#include "pare/core/random.hpp"
#include "support/catch.hpp"
#include "training/language_model.hpp"
#include "training/operations/cross_entropy.hpp"

using namespace pare;
using training::LanguageModel;
using training::Pass;
using training::PassGradients;

namespace {

/// Families that can be trained: decoders without experts.
std::vector<test::OracleModel> trainable_models() {
  std::vector<test::OracleModel> models;
  for (const test::OracleModel& model : test::oracle_models)
    if (!model.is_encoder && std::string(model.name).find("moe") == std::string::npos &&
        std::string(model.name) != "mixtral")
      models.push_back(model);
  return models;
}

std::vector<std::int32_t> random_ids(Index count, Index vocabulary, std::uint64_t seed) {
  Random random(seed);
  std::vector<std::int32_t> ids(static_cast<std::size_t>(count));
  for (std::int32_t& id : ids)
    id = static_cast<std::int32_t>(random.below(static_cast<std::uint32_t>(vocabulary)));
  return ids;
}

/// Next tokens of sequences of `length`; the last of each has none.
std::vector<std::int32_t> next_ids(const std::vector<std::int32_t>& ids, Index length) {
  std::vector<std::int32_t> labels(ids.size(), training::ignored_label);
  for (std::size_t t = 0; t + 1 < ids.size(); ++t)
    if ((static_cast<Index>(t) + 1) % length != 0) labels[t] = ids[t + 1];
  return labels;
}

/// A loss that reads all that a pass shows: labels, every hidden state, and queries of a block.
template <training::Scalar S>
S loss_of(LanguageModel<S>& model, Pass<S>& pass, const std::vector<std::int32_t>& ids,
          Index length, PassGradients<S>* gradients, bool again = false,
          const Execution& execution = {}) {
  model.forward(ids, length, pass, execution, again);
  if (gradients) gradients->logits = Matrix<S>(pass.logits.shape());
  S loss = training::cross_entropy<S>(pass.logits, next_ids(ids, length),
                                      gradients ? gradients->logits.view() : MatrixView<S>(), 1.0,
                                      execution);
  if (gradients) gradients->hidden.resize(pass.hidden.size());
  for (std::size_t b = 0; b < pass.hidden.size(); ++b) {
    if (gradients) gradients->hidden[b] = Matrix<S>(pass.hidden[b].shape());
    for (Index i = 0; i < pass.hidden[b].size(); ++i) {
      const auto weight =
          S(static_cast<float>(0.01 * std::sin(static_cast<double>(i) + static_cast<double>(b))));
      loss += weight * pass.hidden[b].data()[i];
      if (gradients) gradients->hidden[b].data()[i] = weight;
    }
  }
  return loss;
}

}  // namespace

TEST_CASE("trained models compute the engine's logits") {
  for (const test::OracleModel& oracle : trainable_models()) {
    CAPTURE(oracle.name);
    const engine::Model model = engine::Checkpoint(directory_of(oracle)).load();
    const Index length = 11;
    const std::vector<std::int32_t> ids = random_ids(2 * length, model.config.vocab_size, 4);
    const Matrix<float> expected = engine::Decoder(model, {}).logits(ids, length);
    float largest = 0.0f;
    for (const float x : expected) largest = std::max(largest, std::fabs(x));
    const auto check = [&]<class S>(S) {
      LanguageModel<S> trained(model);
      Pass<S> pass;
      trained.forward(ids, length, pass, {});
      double worst = 0.0;
      for (Index i = 0; i < expected.size(); ++i)
        worst = std::max(worst, std::fabs(training::value_of(pass.logits.data()[i]) -
                                          static_cast<double>(expected.data()[i])));
      CHECK(worst <= 1e-5 * static_cast<double>(largest));
    };
    check(0.0f);
    check(0.0);
  }
}

TEST_CASE("gradients of every family agree with central differences") {
  for (const test::OracleModel& oracle : trainable_models()) {
    CAPTURE(oracle.name);
    const engine::Model model = engine::Checkpoint(directory_of(oracle)).load();
    const Index length = 7;
    const std::vector<std::int32_t> ids = random_ids(2 * length, model.config.vocab_size, 5);
    LanguageModel<double> trained(model);
    Pass<double> pass;
    PassGradients<double> gradients;
    static_cast<void>(loss_of(trained, pass, ids, length, &gradients));
    trained.zero_gradients();
    trained.backward(pass, gradients, {});
    Random random(9);
    for (auto& parameter : trained.parameters())
      (void)test::check_along_direction(
          parameter, random, [&] { return loss_of<double>(trained, pass, ids, length, nullptr); });
  }
}

TEST_CASE("products with the Hessian agree with differences of gradients") {
  for (const char* name : {"llama", "gemma2", "gpt2"}) {
    CAPTURE(name);
    const engine::Model model =
        engine::Checkpoint(directory_of(test::OracleModel{name, name})).load();
    const Index length = 6;
    const std::vector<std::int32_t> ids = random_ids(length, model.config.vocab_size, 6);
    using D = training::Dual<double>;
    LanguageModel<D> dual(model);
    LanguageModel<double> real(model);
    test::check_hessian_product(dual, real, [&]<class S>(LanguageModel<S>& trained) {
      Pass<S> pass;
      PassGradients<S> gradients;
      static_cast<void>(loss_of(trained, pass, ids, length, &gradients));
      trained.zero_gradients();
      trained.backward(pass, gradients, {});
    });
  }
}

TEST_CASE("gradients are the same for any threads, and where blocks are computed again") {
  const engine::Model model = engine::Checkpoint(std::filesystem::path(PARE_DEMO_MODEL_DIR)).load();
  const Index length = 33;
  const std::vector<std::int32_t> ids = random_ids(2 * length, 256, 7);
  test::check_same_bits(
      [&] { return std::make_unique<LanguageModel<float>>(model); },
      [&](LanguageModel<float>& trained, const Execution& execution, bool again) {
        Pass<float> pass;
        PassGradients<float> gradients;
        static_cast<void>(loss_of(trained, pass, ids, length, &gradients, again, execution));
        trained.backward(pass, gradients, execution);
      });
}

TEST_CASE("what cannot be trained is refused") {
  const auto load = [](const char* name) {
    return engine::Checkpoint(directory_of(test::OracleModel{name, name})).load();
  };
  CHECK_THROWS_WITH(LanguageModel<float>(load("mixtral")), ContainsSubstring("mixture of experts"));
  CHECK_THROWS_WITH(LanguageModel<float>(load("bert")), ContainsSubstring("is an encoder"));
  LanguageModel<float> model(load("llama"));
  Pass<float> pass;
  CHECK_THROWS_AS(model.forward(std::vector<std::int32_t>{}, 4, pass, {}), ArgumentError);
  CHECK_THROWS_AS(model.forward(std::vector<std::int32_t>{1, 2, 3}, 2, pass, {}), ArgumentError);
  CHECK_THROWS_AS(model.forward(std::vector<std::int32_t>{1, -2}, 2, pass, {}), ArgumentError);
}
