#include "training/trainer.hpp"

#include <cmath>
#include <fstream>
#include <iterator>
#include <numeric>

#include "engine/checkpoint.hpp"
#include "example/gradient_checks.hpp"
#include "oracle_models.hpp"
#include "pare/quantization/gptq.hpp"
#include "pare/quantization/quantize.hpp"
#include "support/catch.hpp"
#include "support/temporary_directory.hpp"
#include "training/teacher_cache.hpp"
#include "training/training_state.hpp"

using namespace pare;

namespace {

/// A text in which every token says the next one.
std::vector<std::int32_t> counting_text(Index tokens, std::int32_t vocabulary) {
  std::vector<std::int32_t> ids(static_cast<std::size_t>(tokens));
  for (std::size_t t = 0; t < ids.size(); ++t) ids[t] = static_cast<std::int32_t>(t) % vocabulary;
  return ids;
}

engine::Model tiny_llama() {
  return engine::Checkpoint(directory_of(test::OracleModel{"llama", "llama"})).load();
}

struct OptimizerCase {
  const char* name;
  std::unique_ptr<training::Optimizer> (*make)();
  std::vector<float> expected;
};

}  // namespace

TEST_CASE("optimizers do what PyTorch's do") {
  // torch 2.15: five steps from {0.5, -1, 2, 0} with gradients {0.1 (s + 1), -0.3, 0.02 s, 1e-4},
  // lr 0.01.
  const OptimizerCase cases[] = {
      {"AdamW, decay 0.1",
       [] { return training::make_adamw(); },
       {0.44975197f, -0.94511002f, 1.95738041f, -0.04989511f}},
      {"SGD, momentum 0.9, decay 0.05",
       [] { return training::make_sgd({.momentum = 0.9, .weight_decay = 0.05}); },
       {0.46504006f, -0.95404994f, 1.98316145f, -1.31286e-05f}},
      {"the same with Nesterov's momentum",
       [] { return training::make_sgd({.momentum = 0.9, .weight_decay = 0.05, .nesterov = true}); },
       {0.45232850f, -0.94121593f, 1.97786903f, -1.67955e-05f}},
  };
  for (const OptimizerCase& c : cases) {
    CAPTURE(c.name);
    std::vector<float> w{0.5f, -1.0f, 2.0f, 0.0f}, g(4);
    const training::Trainable parameter{"w", w, g};
    const auto optimizer = c.make();
    for (int s = 0; s < 5; ++s) {
      // Twice the gradients, scaled by a half.
      g = {0.2f * static_cast<float>(s + 1), -0.6f, 0.04f * static_cast<float>(s), 2e-4f};
      optimizer->step(std::span(&parameter, 1), s, 1e-2, 0.5, {});
    }
    for (std::size_t i = 0; i < w.size(); ++i)
      CHECK(w[i] == Approx(c.expected[i]).epsilon(2e-6).margin(1e-9));
  }
}

TEST_CASE("groups of parameters have rates and decays of their own, under a clipped gradient") {
  // torch 2.15: five steps of two groups, the second without decay and at a fifth of the rate,
  // which is 0.1 / (step + 1).
  struct Case {
    const char* name;
    std::unique_ptr<training::Optimizer> (*make)();
    double clip;  ///< of the norm of both gradients; 0 for none
    std::vector<float> expected;
  };
  const Case cases[] = {
      {"AdamW",
       [] { return training::make_adamw(); },
       0.0,
       {0.615456462f, -0.191365212f, 0.811442614f, 0.158431113f, -2.02763772f}},
      {"AdamW with a large epsilon",
       [] { return training::make_adamw({.beta1 = 0.8, .beta2 = 0.999, .epsilon = 1e-2}); },
       0.0,
       {0.603340864f, -0.192433149f, 0.823594153f, 0.154666439f, -2.02515006f}},
      {"AdamW, clipped",
       [] { return training::make_adamw(); },
       0.3,
       {0.610800683f, -0.193152517f, 0.814944565f, 0.157885477f, -2.02638149f}},
      {"SGD",
       [] { return training::make_sgd({.weight_decay = 0.1}); },
       0.0,
       {0.520139277f, -0.214824751f, 0.888215244f, 0.132742867f, -2.00792837f}},
      {"SGD with Nesterov's momentum",
       [] { return training::make_sgd({.weight_decay = 0.1, .nesterov = true}); },
       0.0,
       {0.525814652f, -0.199014261f, 0.844399631f, 0.134885281f, -2.01115608f}},
      {"SGD without momentum",
       [] { return training::make_sgd({.momentum = 0.0, .weight_decay = 0.1}); },
       0.0,
       {0.508427441f, -0.230348572f, 0.943386436f, 0.127916664f, -2.00402069f}},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    std::vector<float> w{0.5f, -0.25f, 1.0f}, b{0.125f, -2.0f}, dw(3), db(2);
    const std::vector<training::Trainable> parameters{{"w", w, dw}, {"b", b, db, false, 0.2}};
    const auto optimizer = c.make();
    for (int s = 0; s < 5; ++s) {
      for (int i = 0; i < 5; ++i)
        (i < 3 ? dw[static_cast<std::size_t>(i)] : db[static_cast<std::size_t>(i - 3)]) =
            static_cast<float>((s * 7 + i * 5) % 11 - 5) / 16.0f;
      const double norm = training::gradient_norm(parameters, {});
      const double scale = c.clip > 0.0 && norm > c.clip ? c.clip / norm : 1.0;
      optimizer->step(parameters, s, 0.1 / (s + 1), scale, {});
    }
    for (std::size_t i = 0; i < 5; ++i)
      CHECK((i < 3 ? w[i] : b[i - 3]) == Approx(c.expected[i]).epsilon(1e-6));
  }
}

TEST_CASE("the learning rate climbs, then falls as it is told") {
  const training::LearningRate rate{.peak = 2.0, .warm_up = 4, .steps = 104, .last_share = 0.1};
  CHECK(rate.at(0) == 0.5);
  CHECK(rate.at(3) == 2.0);
  CHECK(rate.at(4) == 2.0);
  CHECK(rate.at(54) == Approx(1.1));
  CHECK(rate.at(104) == Approx(0.2));
  CHECK(rate.at(1000) == Approx(0.2));
  training::LearningRate other = rate;
  other.fall = training::RateFall::linear;
  CHECK(other.at(3) == 2.0);
  CHECK(other.at(29) == Approx(2.0 * (0.1 + 0.9 * 0.75)));
  CHECK(other.at(104) == Approx(0.2));
  CHECK(other.at(1000) == Approx(0.2));
  other.fall = training::RateFall::none;
  CHECK(other.at(0) == 0.5);
  CHECK(other.at(1000) == 2.0);
}

TEST_CASE("a batch is a function of its number, and its labels are the next tokens") {
  const std::vector<std::int32_t> ids = counting_text(100, 1000);
  const training::TextBatches batches(ids, 10, 3, 5);
  const training::TextBatch one = batches.at(7), other = batches.at(8);
  CHECK(one.inputs == batches.at(7).inputs);
  CHECK(one.inputs != other.inputs);
  CHECK(training::TextBatches(ids, 10, 3, 6).at(6).inputs != one.inputs);
  REQUIRE(one.inputs.size() == 30);
  for (std::size_t t = 0; t < 30; ++t) CHECK(one.labels[t] == one.inputs[t] + 1);
  CHECK_THROWS_WITH(training::TextBatches(ids, 100, 1, 1), ContainsSubstring("too short"));
}

TEST_CASE("objectives that are none are refused with what there is") {
  const auto refusal = [](const char* text) {
    try {
      (void)training::parse_objective(text);
    } catch (const ArgumentError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  CHECK_THAT(refusal("crossentropy"), ContainsSubstring("there are ce, kd"));
  CHECK_THAT(refusal("kd:T=0"), ContainsSubstring("no positive number"));
  CHECK_THAT(refusal("kd:-1"), ContainsSubstring("no positive number"));
  CHECK_THAT(refusal("ce:T=2"), ContainsSubstring("no option \"T\""));
  CHECK_THAT(refusal("ce,ce"), ContainsSubstring("twice"));
  CHECK_THAT(refusal(""), ContainsSubstring("there is no loss \"\""));
  CHECK(training::parse_objective("ce:0.5,kd:0.5:T=2,hidden").size() == 3);
}

TEST_CASE("gradients of an objective agree with differences of its loss") {
  const engine::Model teacher = tiny_llama();
  engine::Model other = teacher;
  for (engine::Block& block : other.blocks)
    for (engine::Linear& linear : block.linears)
      for (float& w : linear.dense()) w *= 0.8f;
  training::LanguageModel<float> student(other);
  const std::vector<std::int32_t> ids = counting_text(40, 90);
  const training::TextBatches batches(ids, 8, 2, 1);
  for (const char* text : {"ce", "kd:T=2", "reverse-kd", "logits", "hidden:3",
                           "relations:2:heads=4", "ce:0.5,kd:0.5"}) {
    CAPTURE(text);
    training::TrainerOptions options{.rate = {.peak = 1e-30, .warm_up = 0}, .clip = 0.0};
    training::Trainer trainer(student, batches, training::parse_objective(text), {&teacher},
                              training::make_sgd(), options);
    test::check_objective(trainer);
  }
}

TEST_CASE("batches that are accumulated make the step of the large one") {
  const std::vector<std::int32_t> ids = counting_text(60, 90);
  const engine::Model model = tiny_llama();
  const auto gradient_of = [&](Index accumulate) {
    training::LanguageModel<float> student(model);
    const training::TextBatches batches(ids, 8, 1, 1);
    training::Trainer trainer(student, batches, training::parse_objective("ce,kd,hidden"), {&model},
                              training::make_sgd(),
                              {.rate = {.peak = 0.0}, .clip = 0.0, .accumulate = accumulate});
    (void)trainer.step(0, {});
    const auto& gradient = student.parameters()[0].gradient;
    return std::vector<float>(gradient.begin(), gradient.end());
  };
  // Step 0 of two batches is the mean of the batches 0 and 1.
  const std::vector<float> both = gradient_of(2), first = gradient_of(1);
  training::LanguageModel<float> student(model);
  const training::TextBatches batches(ids, 8, 1, 1);
  training::Trainer trainer(student, batches, training::parse_objective("ce,kd,hidden"), {&model},
                            training::make_sgd(), {.rate = {.peak = 0.0}, .clip = 0.0});
  (void)trainer.step(1, {});
  for (std::size_t i = 0; i < both.size(); ++i)
    CHECK(both[i] == Approx(0.5f * (first[i] + student.parameters()[0].gradient.data()[i]))
                         .epsilon(1e-4)
                         .margin(1e-7));
}

TEST_CASE("what quantized layers ship is what was trained, bit for bit") {
  const engine::Model model = tiny_llama();
  const std::vector<std::int32_t> ids = counting_text(60, 90);
  const training::TextBatches batches(ids, 8, 2, 1);
  const auto check = [&]<Format F>(TypeTag<F>, bool act_order) {
    CAPTURE(F::name, act_order);
    training::LanguageModel<float> student(model);
    training::QuantizedWeights weights;
    for (const std::size_t p : student.layers()) {
      const Matrix<float>& w = student.parameters()[p].value;
      Hessian h(w.cols());
      Matrix<float> x({3 * w.cols(), w.cols()});
      for (Index i = 0; i < x.size(); ++i)
        x.data()[i] = std::sin(static_cast<float>(i)) * static_cast<float>(1 + i % w.cols());
      h.add(x);
      if (act_order)
        weights.add(p, gptq<F>(w, h, {.group_size = 8, .act_order = true}));
      else
        weights.add(p, quantize<F>(w, {.group_size = 8}));
    }
    training::Trainer trainer(
        student, batches, training::parse_objective("kd"), {&model}, training::make_adamw(),
        {.rate = {.peak = 1e-4, .warm_up = 0}, .trained = training::Trained::layers});
    trainer.quantize(std::move(weights));
    const double before = trainer.step(0, {}).loss;
    for (std::int64_t step = 1; step < 20; ++step) (void)trainer.step(step, {});
    CHECK(trainer.step(0, {}).loss < before);
    trainer.settle({});
    int layers = 0;
    trainer.quantized().finish(student, [&](const std::string& name, AnyQuantizedMatrix codes) {
      for (const auto& parameter : student.parameters())
        if (parameter.name == name) {
          CHECK(codes.dequantize() == parameter.used);
          ++layers;
        }
    });
    CHECK(layers == std::ssize(student.layers()));
  };
  check(TypeTag<Int<3>>{}, false);
  check(TypeTag<UInt<2>>{}, false);
  check(TypeTag<UInt<4>>{}, true);
  const Matrix<float> w({4, 8});
  CHECK_THROWS_WITH(training::make_quantized_layer(quantize<NF4>(w)),
                    ContainsSubstring("integer formats"));
  CHECK_THROWS_WITH(training::make_quantized_layer(quantize<Int<4>>(w, {.group_size = 3})),
                    ContainsSubstring("do not divide"));
}

TEST_CASE("zeros that are kept stay, and other weights learn") {
  engine::Model model = tiny_llama();
  for (engine::Block& block : model.blocks)
    for (engine::Linear& linear : block.linears)
      for (Index i = 0; i < linear.dense().size(); i += 2) linear.dense().data()[i] = 0.0f;
  training::LanguageModel<float> student(model);
  const std::vector<std::int32_t> ids = counting_text(60, 90);
  const training::TextBatches batches(ids, 8, 2, 1);
  training::Trainer trainer(student, batches, training::parse_objective("ce"), {},
                            training::make_adamw(), {});
  training::WeightMasks masks;
  masks.keep_zeros(student);
  trainer.mask(std::move(masks));
  for (std::int64_t step = 0; step < 3; ++step) (void)trainer.step(step, {});
  for (const std::size_t p : student.layers()) {
    const Matrix<float>& w = student.parameters()[p].value;
    Index moved = 0;
    for (Index i = 0; i < w.size(); ++i)
      if (i % 2 == 0)
        REQUIRE(w.data()[i] == 0.0f);
      else
        moved += w.data()[i] != 0.0f;
    CHECK(moved > w.size() / 3);
  }
}

TEST_CASE("the gradient of a term is measured alone, with its weight") {
  const engine::Model teacher = tiny_llama();
  const std::vector<std::int32_t> ids = counting_text(60, 90);
  const training::TextBatches batches(ids, 8, 2, 1);
  const auto terms_of = [&](const char* objective) {
    training::LanguageModel<float> student(teacher);
    for (const std::size_t p : student.layers())
      for (float& w : student.parameters()[p].value) w *= 0.7f;
    training::Trainer trainer(student, batches, training::parse_objective(objective), {&teacher},
                              training::make_adamw(), {.accumulate = 2});
    return trainer.step(0, {}).terms;
  };
  const auto all = terms_of("ce:0.5,kd:0.25,hidden:3");
  REQUIRE(all.size() == 3);
  const std::pair<const char*, double> alone[] = {{"ce", 0.5}, {"kd", 0.25}, {"hidden", 3.0}};
  for (std::size_t i = 0; i < 3; ++i) {
    CAPTURE(all[i].name);
    const auto term = terms_of(alone[i].first)[0];
    CHECK(term.gradient_norm > 0.0);
    CHECK(all[i].gradient_norm == Approx(alone[i].second * term.gradient_norm).epsilon(1e-5));
    CHECK(all[i].value == Approx(term.value));
  }
}

TEST_CASE("a teacher whose answers are cached is not asked again, and teaches the same") {
  const test::TemporaryDirectory directory;
  const engine::Model teacher = tiny_llama();
  engine::Model silent = teacher;
  for (float& w : silent.final_norm.weight) w = 0.0f;
  const std::vector<std::int32_t> ids = counting_text(60, 90);
  const training::TextBatches batches(ids, 8, 2, 1);
  // Three steps of two batches each; losses, then what was learned.
  const auto learn = [&](const char* objective, const engine::Model& from, Index kept) {
    training::LanguageModel<float> student(tiny_llama());
    for (const std::size_t p : student.layers())
      for (float& w : student.parameters()[p].value) w *= 0.7f;
    training::Trainer trainer(student, batches, training::parse_objective(objective), {&from},
                              training::make_adamw(), {.accumulate = 2});
    if (kept > 0)
      trainer.cache(std::make_unique<training::TeacherCache>(
          directory / std::to_string(kept), "key",
          training::TeacherCacheOptions{.tokens = 16,
                                        .classes = teacher.config.vocab_size,
                                        .kept = kept,
                                        .temperature = 2.0,
                                        .is_half = false}));
    std::vector<double> numbers;
    for (std::int64_t step = 0; step < 3; ++step) numbers.push_back(trainer.step(step, {}).loss);
    for (const auto& parameter : student.parameters())
      numbers.insert(numbers.end(), parameter.value.begin(), parameter.value.end());
    return numbers;
  };
  const char* const objective = "ce:0.5,kd:0.5:T=2";
  const std::vector<double> whole = learn(objective, teacher, 0);
  for (const Index kept : {Index{1000}, Index{8}}) {
    CAPTURE(kept);
    const std::vector<double> first = learn(objective, teacher, kept);
    CHECK(learn(objective, silent, kept) == first);
    CHECK((first[0] == Approx(whole[0]).epsilon(1e-5)) == (kept == 1000));
    CHECK(first[0] <= whole[0] * (1.0 + 1e-5));  // some of the divergence is within the rest
  }
  CHECK_THROWS_WITH(learn("kd:T=2,hidden", teacher, 8), ContainsSubstring("hidden reads more"));
  CHECK_THROWS_WITH(learn("kd:T=3", teacher, 8), ContainsSubstring("another temperature"));
  CHECK_THROWS_WITH(learn("ce", teacher, 8), ContainsSubstring("no loss reads"));
}

TEST_CASE("a loss that is not finite stops the step before anything changes") {
  training::LanguageModel<float> student(tiny_llama());
  auto& norm = student.parameters()[1];
  norm.value.data()[0] = std::numeric_limits<float>::quiet_NaN();
  const std::vector<std::int32_t> ids = counting_text(60, 90);
  const training::TextBatches batches(ids, 8, 2, 1);
  training::Trainer trainer(student, batches, training::parse_objective("ce"), {},
                            training::make_adamw(), {});
  const Matrix<float> before = student.parameters()[0].value;
  CHECK_THROWS_AS(trainer.step(0, {}), NumericError);
  CHECK(student.parameters()[0].value == before);
}

TEST_CASE("a state brings back values, memories and steps, or says why not") {
  const test::TemporaryDirectory directory;
  const auto file = directory / "state.safetensors";
  std::vector<float> w{1.0f, 2.0f}, g{0.5f, -0.5f};
  const std::vector<training::Trainable> parameters{{"w", w, g}};
  const auto optimizer = training::make_adamw();
  CHECK(training::load_state(file, "key", parameters, *optimizer) == std::nullopt);
  optimizer->step(parameters, 0, 0.1, 1.0, {});
  training::save_state(file, "key", parameters, *optimizer, 1);
  const std::vector<float> saved = w;
  optimizer->step(parameters, 1, 0.1, 1.0, {});
  const std::vector<float> expected = w;

  w = {7.0f, 7.0f};
  const auto again = training::make_adamw();
  CHECK(training::load_state(file, "key", parameters, *again) == 1);
  CHECK(w == saved);
  again->step(parameters, 1, 0.1, 1.0, {});
  CHECK(w == expected);

  CHECK_THROWS_WITH(training::load_state(file, "other", parameters, *again),
                    ContainsSubstring("another training"));
  std::vector<float> longer(3);
  const std::vector<training::Trainable> others{{"w", longer, longer}};
  const auto fresh = training::make_adamw();
  CHECK_THROWS_WITH(training::load_state(file, "key", others, *fresh),
                    ContainsSubstring("no fitting tensor"));

  // Whatever becomes of the file, a line names it, and nothing is taken.
  std::string whole;
  {
    std::ifstream stream(file, std::ios::binary);
    whole.assign(std::istreambuf_iterator<char>(stream), {});
  }
  const auto refusal_of = [&](const std::string& bytes) {
    std::ofstream(file, std::ios::binary) << bytes;
    const auto optimizer_of_file = training::make_adamw();
    try {
      (void)training::load_state(file, "key", parameters, *optimizer_of_file);
    } catch (const Error& error_of_file) {
      return std::string(error_of_file.what());
    }
    return std::string();
  };
  CHECK(refusal_of(whole).empty());
  w = {7.0f, 7.0f};
  for (std::size_t at = whole.size() - 24; at < whole.size(); ++at) {
    std::string damaged = whole;
    damaged[at] ^= 1;
    CHECK_THAT(refusal_of(damaged),
               ContainsSubstring(file.string()) && ContainsSubstring("is damaged: remove it"));
  }
  for (const std::string& bytes :
       {std::string(), std::string("text\n"), whole.substr(0, whole.size() - 1),
        whole.substr(0, 20), whole + "x"}) {
    const std::string says = refusal_of(bytes);
    CHECK_THAT(says, ContainsSubstring(file.string()));
    CHECK(says.find('\n') == std::string::npos);
  }
  std::string later = whole;
  later.replace(later.find("\"steps\":\"1\"") + 9, 1, "2");
  CHECK_THAT(refusal_of(later), ContainsSubstring("is damaged"));
  CHECK(w == std::vector<float>{7.0f, 7.0f});
}
