#include "training/classifier.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>

#include "engine/checkpoint.hpp"
#include "engine/encoder.hpp"
#include "example/gradient_checks.hpp"
#include "oracle_models.hpp"
#include "pare/core/random.hpp"
#include "pare/io/safetensors_reader.hpp"
#include "support/catch.hpp"
#include "training/language_model.hpp"
#include "training/operations/cross_entropy.hpp"

using namespace pare;
using training::Classifier;
using training::Pass;
using training::PassGradients;

namespace {

engine::Model load(const char* name) {
  return engine::Checkpoint(directory_of(test::OracleModel{name, name})).load();
}

/// Encoders that classify: after the embedding and behind halves normed, before them, with and
/// without poolers, token types, positions that count, several heads, and layers in heads.
constexpr const char* classifiers[] = {"bert", "roberta", "distilbert", "vit", "deit"};

/// Some sequences: of texts, with types and with tokens that are not seen; or images.
engine::ModelInputs random_inputs(const engine::Model& model, Index count, std::uint64_t seed) {
  Random random(seed);
  if (const auto& image = model.config.encoder->image) {
    engine::ModelInputs inputs{.length = image->tokens()};
    inputs.pixels = Matrix<float>({count, image->pixels()});
    for (float& pixel : inputs.pixels) pixel = random.normal();
    return inputs;
  }
  engine::ModelInputs inputs{.length = 7};
  const auto vocabulary = static_cast<std::uint32_t>(model.config.vocab_size);
  for (Index i = 0; i < count; ++i)
    for (Index t = 0; t < inputs.length; ++t) {
      const bool padding = t >= 3 + i % 5;
      const auto pad = static_cast<std::int32_t>(model.config.encoder->pad_token.value_or(0));
      inputs.ids.push_back(padding ? pad : static_cast<std::int32_t>(random.below(vocabulary)));
      if (model.config.encoder->type_count > 1) inputs.types.push_back(t > 2);
      inputs.visible.push_back(!padding);
    }
  return inputs;
}

/// A loss that reads all that a pass shows: labels and every hidden state.
template <training::Scalar S>
S loss_of(Classifier<S>& model, Pass<S>& pass, const engine::ModelInputs& inputs,
          PassGradients<S>* gradients, bool again = false, const Execution& execution = {}) {
  model.forward(inputs, pass, execution, again);
  std::vector<std::int32_t> labels;
  for (Index i = 0; i < pass.logits.rows(); ++i)
    labels.push_back(static_cast<std::int32_t>(i % model.classes()));
  if (gradients) gradients->logits = Matrix<S>(pass.logits.shape());
  S loss = training::cross_entropy<S>(
      pass.logits, labels, gradients ? gradients->logits.view() : MatrixView<S>(), 1.0, execution);
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

TEST_CASE("classifiers compute the engine's logits") {
  for (const char* name : classifiers) {
    CAPTURE(name);
    const engine::Model model = load(name);
    const engine::ModelInputs inputs = random_inputs(model, 6, 4);
    const Matrix<float> expected = engine::Encoder(model, {}).run(inputs).logits.at("logits");
    float largest = 0.0f;
    for (const float x : expected) largest = std::max(largest, std::fabs(x));
    const auto check = [&]<class S>(S) {
      Classifier<S> trained(model);
      Pass<S> pass;
      trained.forward(inputs, pass, {});
      REQUIRE(pass.logits.shape() == expected.shape());
      REQUIRE(trained.classes() == expected.cols());
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

TEST_CASE("classifiers that ship compute the logits that are expected of them") {
  const std::filesystem::path examples = std::filesystem::path(PARE_DEMO_MODEL_DIR) / "..";
  for (const char* name : {"demo-digits", "demo-classifier"}) {
    CAPTURE(name);
    const engine::Model model = engine::Checkpoint(examples / name).load();
    const auto file = SafetensorsReader::open(examples / name / "eval.safetensors");
    const auto answers = SafetensorsReader::open(examples / name / "expected_logits.safetensors");
    const Matrix<float> expected = answers.read_matrix("logits");
    const auto count = static_cast<std::size_t>(expected.rows());
    engine::ModelInputs inputs;
    if (file.contains("pixel_values")) {
      const auto pixels = file.read_as<float>("pixel_values");
      inputs.pixels = Matrix<float>({expected.rows(), 64});
      std::copy_n(pixels.begin(), inputs.pixels.size(), inputs.pixels.begin());
    } else {
      inputs.length = file.info("input_ids").shape[1];
      const auto ids = file.read_as<std::int64_t>("input_ids");
      const auto seen = file.read_as<std::int64_t>("attention_mask");
      for (std::size_t t = 0; t < count * static_cast<std::size_t>(inputs.length); ++t) {
        inputs.ids.push_back(static_cast<std::int32_t>(ids[t]));
        inputs.visible.push_back(seen[t] != 0);
      }
    }
    Classifier<float> trained(model);
    Pass<float> pass;
    trained.forward(inputs, pass, {});
    float worst = 0.0f, largest = 0.0f;
    for (Index i = 0; i < expected.size(); ++i) {
      worst = std::max(worst, std::fabs(pass.logits.data()[i] - expected.data()[i]));
      largest = std::max(largest, std::fabs(expected.data()[i]));
    }
    CHECK(worst <= 1e-5f * largest);
  }
}

TEST_CASE("gradients of every classifier agree with central differences") {
  for (const char* name : classifiers) {
    CAPTURE(name);
    const engine::Model model = load(name);
    const engine::ModelInputs inputs = random_inputs(model, 3, 5);
    Classifier<double> trained(model);
    Pass<double> pass;
    PassGradients<double> gradients;
    static_cast<void>(loss_of(trained, pass, inputs, &gradients));
    trained.zero_gradients();
    trained.backward(pass, gradients, {});
    Random random(9);
    for (auto& parameter : trained.parameters()) {
      const double size = test::check_along_direction(
          parameter, random, [&] { return loss_of<double>(trained, pass, inputs, nullptr); });
      // Keys' biases change nothing; whatever else is a parameter does.
      if (parameter.name.find("key") == std::string::npos &&
          parameter.name.find("k_lin") == std::string::npos)
        CHECK(size > 0.0);
    }
  }
}

TEST_CASE("classifiers' products with the Hessian agree with differences of gradients") {
  for (const char* name : {"bert", "vit"}) {
    CAPTURE(name);
    using D = training::Dual<double>;
    const engine::Model model = load(name);
    const engine::ModelInputs inputs = random_inputs(model, 2, 6);
    Classifier<D> dual(model);
    Classifier<double> real(model);
    test::check_hessian_product(dual, real, [&]<class S>(Classifier<S>& trained) {
      Pass<S> pass;
      PassGradients<S> gradients;
      static_cast<void>(loss_of(trained, pass, inputs, &gradients));
      trained.zero_gradients();
      trained.backward(pass, gradients, {});
    });
  }
}

TEST_CASE("classifiers' gradients are the same for any threads, and computed again") {
  for (const char* name : {"bert", "deit"}) {
    CAPTURE(name);
    const engine::Model model = load(name);
    const engine::ModelInputs inputs = random_inputs(model, 9, 7);
    test::check_same_bits(
        [&] { return std::make_unique<Classifier<float>>(model); },
        [&](Classifier<float>& trained, const Execution& execution, bool again) {
          Pass<float> pass;
          PassGradients<float> gradients;
          static_cast<void>(loss_of(trained, pass, inputs, &gradients, again, execution));
          trained.backward(pass, gradients, execution);
        });
  }
}

TEST_CASE("the engine runs what a classifier has learned") {
  for (const char* name : classifiers) {
    CAPTURE(name);
    const engine::Model model = load(name);
    const engine::ModelInputs inputs = random_inputs(model, 4, 3);
    Classifier<float> trained(model);
    Random random(2);
    for (auto& parameter : trained.parameters())
      for (float& w : parameter.value) w += 0.05f * random.normal();
    Pass<float> pass;
    trained.forward(inputs, pass, {});
    const engine::Model learned = trained.to_engine(model);
    const Matrix<float> own = engine::Encoder(learned, {}).run(inputs).logits.at("logits");
    for (Index i = 0; i < own.size(); ++i)
      CHECK(own.data()[i] == Approx(pass.logits.data()[i]).epsilon(1e-4).margin(1e-5));
    CHECK(own != engine::Encoder(model, {}).run(inputs).logits.at("logits"));
  }
}

TEST_CASE("what cannot be classified is refused") {
  CHECK_THROWS_WITH(Classifier<float>(load("llama")), ContainsSubstring("is a decoder"));
  CHECK_THROWS_WITH(Classifier<float>(load("bert_mean")), ContainsSubstring("no head"));
  CHECK_THROWS_WITH(Classifier<float>(load("bert_mlm")), ContainsSubstring("no head"));
  Pass<float> pass;
  Classifier<float> text(load("bert")), images(load("vit"));
  const auto refuses = [&](Classifier<float>& model, engine::ModelInputs inputs, const char* why) {
    CHECK_THROWS_WITH(model.forward(inputs, pass, {}), ContainsSubstring(why));
  };
  refuses(text, {.length = 2}, "0 tokens are no sequences of 2");
  refuses(text, {.length = 2, .ids = {1, 2, 3}}, "3 tokens are no sequences");
  refuses(text, {.length = 2, .ids = {1, -1}}, "token -1 is outside the vocabulary");
  refuses(text, {.length = 2, .ids = {1, 2}, .types = {0, 9}}, "token type 9 is none");
  refuses(text, {.length = 2, .ids = {1, 2}, .types = {0}}, "1 types for 2 tokens");
  refuses(text, {.length = 1, .ids = {1, 2}, .visible = {1, 0}}, "no token of sequence 1");
  refuses(text, {.length = 5000, .ids = std::vector<std::int32_t>(5000, 1)},
          "exceed the positions");
  refuses(images, {}, "0 images");
  engine::ModelInputs small;
  small.pixels = Matrix<float>({2, 5});
  refuses(images, std::move(small), "2 images of 5 values; the model wants");
}
