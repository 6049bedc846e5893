#include <algorithm>
#include <cmath>
#include <filesystem>

#include "engine/checkpoint.hpp"
#include "engine/encoder.hpp"
#include "example/gradient_checks.hpp"
#include "oracle_models.hpp"
#include "pare/core/random.hpp"
#include "pare/core/thread_pool.hpp"
#include "pare/io/safetensors_reader.hpp"
#include "pare/quantization/quantize.hpp"
#include "support/catch.hpp"
#include "support/temporary_directory.hpp"
#include "training/classifier.hpp"
#include "training/trainer.hpp"

using namespace pare;
using training::Classifier;
using training::LabelledBatches;
using training::Trainer;

namespace {

engine::Model load_oracle(const char* name) {
  return engine::Checkpoint(directory_of(test::OracleModel{name, name})).load();
}

/// Inputs with labels for a tiny encoder.
struct Labelled {
  engine::ModelInputs inputs;
  std::vector<std::int64_t> labels;
  Index classes;

  explicit Labelled(const engine::Model& model, Index count = 12)
      : classes(training::classes_of(model)) {
    Random random(4);
    inputs.length = 6;
    if (const auto& image = model.config.encoder->image) {
      inputs.length = image->tokens();
      inputs.pixels = Matrix<float>({count, image->pixels()});
      for (float& pixel : inputs.pixels) pixel = random.normal();
    }
    for (Index i = 0; i < count; ++i) {
      labels.push_back(i % classes);
      for (Index t = 0; inputs.pixels.empty() && t < inputs.length; ++t) {
        inputs.ids.push_back(static_cast<std::int32_t>(
            random.below(static_cast<std::uint32_t>(model.config.vocab_size))));
        inputs.visible.push_back(t < 3 + i % 4);
      }
    }
  }
  [[nodiscard]] LabelledBatches batches(Index size) const {
    return {inputs, labels, classes, size, 1};
  }
};

/// The digits that ship.
struct Digits {
  engine::ModelInputs inputs;
  std::vector<std::int64_t> labels;

  explicit Digits(const char* name) {
    const auto file = SafetensorsReader::open(std::filesystem::path(PARE_DEMO_MODEL_DIR) /
                                              "../demo-digits" / name);
    const auto pixels = file.read_as<float>("pixel_values");
    inputs.length = 17;
    inputs.pixels = Matrix<float>({std::ssize(pixels) / 64, 64});
    std::copy(pixels.begin(), pixels.end(), inputs.pixels.begin());
    labels = file.read_as<std::int64_t>("labels");
  }
  [[nodiscard]] double accuracy(const engine::Model& model) const {
    const Matrix<float> logits = engine::Encoder(model, {}).run(inputs).logits.at("logits");
    Index right = 0;
    for (Index i = 0; i < logits.rows(); ++i) {
      const float* const row = &logits(i, 0);
      right +=
          std::max_element(row, row + logits.cols()) - row == labels[static_cast<std::size_t>(i)];
    }
    return static_cast<double>(right) / static_cast<double>(logits.rows());
  }
};

engine::Model tiny_teacher(const char* name) {
  engine::Model model = load_oracle(name);
  for (engine::Block& block : model.blocks)
    for (engine::Linear& linear : block.linears)
      for (float& w : linear.dense()) w *= 0.5f;
  return model;
}

}  // namespace

TEST_CASE("gradients of a classifier's objective agree with differences of its loss") {
  for (const char* name : {"bert", "vit"}) {
    const engine::Model model = load_oracle(name), teacher = tiny_teacher(name);
    const Labelled labelled(model);
    const LabelledBatches batches = labelled.batches(4);
    Classifier<float> student(model);
    for (const char* text : {"ce", "ce:smoothing=0.1", "kd:T=2", "reverse-kd", "logits", "hidden:3",
                             "ce:0.5,kd:0.5"}) {
      CAPTURE(name, text);
      Trainer trainer(student, batches, training::parse_objective(text), {&teacher},
                      training::make_sgd(), {.rate = {.peak = 1e-30, .warm_up = 0}, .clip = 0.0});
      test::check_objective(trainer);
    }
  }
}

TEST_CASE("labelled batches that are accumulated make the step of the large one") {
  const engine::Model model = load_oracle("bert"), teacher = tiny_teacher("bert");
  const Labelled labelled(model);
  const auto losses_of = [&](const char* objective, Index size, Index accumulate) {
    Classifier<float> student(model);
    const LabelledBatches batches = labelled.batches(size);
    Trainer trainer(student, batches, training::parse_objective(objective), {&teacher},
                    training::make_sgd(),
                    {.rate = {.peak = 0.0}, .clip = 0.0, .accumulate = accumulate});
    std::vector<double> numbers{trainer.step(0, {}).loss};
    for (const auto& p : student.parameters())
      numbers.insert(numbers.end(), p.gradient.begin(), p.gradient.end());
    return numbers;
  };
  // Of the hidden states each batch divides by squares of its own.
  const std::vector<double> large = losses_of("ce,kd", 6, 1), small = losses_of("ce,kd", 2, 3);
  REQUIRE(large.size() == small.size());
  for (std::size_t i = 0; i < large.size(); ++i)
    if (std::fabs(large[i] - small[i]) > 1e-5 * std::fabs(large[i]) + 1e-6) {
      CAPTURE(i, large[i], small[i]);
      FAIL("the steps differ");
    }
  CHECK(losses_of("hidden", 2, 3)[0] == Approx(losses_of("hidden", 6, 1)[0]).epsilon(0.1));
}

TEST_CASE("a classifier that was damaged is taught to read digits again") {
  const Digits some("calib.safetensors"), others("eval.safetensors");
  const engine::Model teacher =
      engine::Checkpoint(std::filesystem::path(PARE_DEMO_MODEL_DIR) / "../demo-digits").load();
  const LabelledBatches batches(some.inputs, some.labels, 10, 16, 1);
  // Some noise in every layer.
  engine::Model damaged = teacher;
  Random random(3);
  for (engine::Block& block : damaged.blocks)
    for (engine::Linear& linear : block.linears)
      for (float& w : linear.dense()) w += 0.12f * random.normal();
  const double before = others.accuracy(damaged);
  const auto learn = [&](const char* objective, std::int64_t steps, const Execution& execution) {
    Classifier<float> student(damaged);
    Trainer trainer(student, batches, training::parse_objective(objective), {&teacher},
                    training::make_adamw({.weight_decay = 0.0}),
                    {.rate = {.peak = 1e-3, .warm_up = 0, .steps = steps}});
    for (std::int64_t step = 0; step < steps; ++step) (void)trainer.step(step, execution);
    trainer.settle(execution);
    return student.to_engine(damaged);
  };
  CAPTURE(before);
  CHECK(others.accuracy(teacher) > 0.99);
  CHECK(before < 0.9);
  for (const char* objective : {"ce", "kd:T=2"}) {
    CAPTURE(objective);
    const double after = others.accuracy(learn(objective, 8, {}));
    CHECK(after > before + 0.05);
  }
  ThreadPool pool(3);
  const engine::Model one = learn("ce:0.5,kd:0.5", 2, {});
  const engine::Model other = learn("ce:0.5,kd:0.5", 2, {.parallel_for = pool});
  CHECK(one.embedding->projection.dense() == other.embedding->projection.dense());
  for (std::size_t b = 0; b < one.blocks.size(); ++b)
    for (std::size_t i = 0; i < one.blocks[b].linears.size(); ++i)
      CHECK(one.blocks[b].linears[i].dense() == other.blocks[b].linears[i].dense());
}

TEST_CASE("classifiers are quantized and masked while they learn, and teachers' answers are kept") {
  const engine::Model model = load_oracle("bert"), teacher = tiny_teacher("bert");
  const Labelled labelled(model);
  const LabelledBatches batches = labelled.batches(4);
  const training::TrainerOptions options{.rate = {.peak = 1e-3, .warm_up = 0}};
  {
    Classifier<float> student(model);
    training::QuantizedWeights weights;
    for (const std::size_t p : student.layers())
      weights.add(p, quantize<Int<3>>(student.parameters()[p].value, {.group_size = 4}));
    Trainer trainer(student, batches, training::parse_objective("kd"), {&teacher},
                    training::make_adamw(), options);
    trainer.quantize(std::move(weights));
    for (std::int64_t step = 0; step < 3; ++step) (void)trainer.step(step, {});
    trainer.settle({});
    std::size_t layers = 0;
    trainer.quantized().finish(student, [&](const std::string& name, AnyQuantizedMatrix codes) {
      for (const auto& parameter : student.parameters())
        if (parameter.name == name) layers += codes.dequantize() == parameter.used;
    });
    CHECK(layers == student.layers().size());
  }
  {
    Classifier<float> student(model);
    for (const std::size_t p : student.layers())
      for (Index i = 0; i < student.parameters()[p].value.size(); i += 2)
        student.parameters()[p].value.data()[i] = 0.0f;
    Trainer trainer(student, batches, training::parse_objective("ce"), {}, training::make_adamw(),
                    options);
    training::WeightMasks masks;
    masks.keep_zeros(student);
    trainer.mask(std::move(masks));
    for (std::int64_t step = 0; step < 3; ++step) (void)trainer.step(step, {});
    for (const std::size_t p : student.layers())
      for (Index i = 0; i < student.parameters()[p].value.size(); i += 2)
        REQUIRE(student.parameters()[p].value.data()[i] == 0.0f);
  }
  const test::TemporaryDirectory directory;
  const auto learn = [&](const engine::Model& from, bool cached) {
    Classifier<float> student(model);
    Trainer trainer(student, batches, training::parse_objective("kd:T=2"), {&from},
                    training::make_adamw(), options);
    if (cached)
      trainer.cache(std::make_unique<training::TeacherCache>(
          directory / "answers", "key",
          training::TeacherCacheOptions{
              .tokens = 4, .classes = 3, .kept = 3, .temperature = 2.0, .is_half = false}));
    return trainer.step(0, {}).loss;
  };
  const double whole = learn(teacher, false), first = learn(teacher, true);
  CHECK(first == Approx(whole).epsilon(1e-5));
  // What is there is not asked again.
  CHECK(learn(model, true) == first);
  CHECK(learn(model, false) < 1e-6);
}

TEST_CASE("batches and teachers that a model cannot learn from are refused") {
  const engine::Model bert = load_oracle("bert"), vit = load_oracle("vit"),
                      llama = load_oracle("llama");
  const Labelled labelled(bert);
  const LabelledBatches batches = labelled.batches(4);
  const std::vector<std::int32_t> ids(40, 1);
  const training::TextBatches text(ids, 4, 2, 1);
  Classifier<float> classifier(bert);
  training::LanguageModel<float> language_model(llama);
  const auto refuses = [](training::Transformer<float>& model, training::BatchSource from,
                          const char* objective, std::vector<const engine::Model*> teachers,
                          const char* why) {
    CHECK_THROWS_WITH(Trainer(model, from, training::parse_objective(objective),
                              std::move(teachers), training::make_sgd(), {}),
                      ContainsSubstring(why));
  };
  refuses(classifier, text, "ce", {}, "a classifier learns from labelled inputs");
  refuses(language_model, batches, "ce", {}, "a language model learns from a text");
  refuses(classifier, batches, "kd", {}, "there is none");
  refuses(classifier, batches, "kd", {&llama}, "does not classify as the student does");
  refuses(classifier, batches, "kd", {&vit}, "does not classify as the student does");
  refuses(language_model, text, "kd", {&bert}, "is no language model");
  refuses(classifier, batches, "relations", {&bert}, "compares decoders");
  engine::Model other = bert;
  other.heads[0].layers[0].linear = engine::Linear(Matrix<float>({5, bert.config.hidden_size}));
  refuses(classifier, batches, "kd", {&other}, "the teacher knows 5 classes, the student 3");
}
