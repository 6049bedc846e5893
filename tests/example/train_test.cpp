#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "engine/checkpoint.hpp"
#include "support/catch.hpp"
#include "support/directory_content.hpp"
#include "support/killed_run.hpp"
#include "support/program.hpp"
#include "support/tiny_model.hpp"

namespace {

using namespace pare;
using namespace pare::test;

class TrainFixture {
 public:
  TrainFixture() { model.write(directory / "m"); }
  [[nodiscard]] std::vector<std::string> command(const std::vector<std::string>& more,
                                                 const std::string& out = "t",
                                                 const std::string& from = "m") const {
    std::vector<std::string> words{"train", (directory / from).string(), "--out",
                                   (directory / out).string()};
    for (const auto& [flag, value] :
         {std::pair("--steps", "12"), {"--batch", "2"}, {"--window", "16"}, {"--lr", "0.01"}})
      if (std::find(more.begin(), more.end(), flag) == more.end()) {
        words.emplace_back(flag);
        words.emplace_back(value);
      }
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  [[nodiscard]] std::string teacher() const { return (directory / "m").string(); }

  TinyModel model{{.layers = 2}};
  TemporaryDirectory directory;
};

}  // namespace

TEST_CASE("training is the same for any threads, and after kills") {
  const TrainFixture fixture;
  const std::vector<std::vector<std::string>> recipes{
      {},
      {"--teacher", fixture.teacher(), "--quantize", "int3:16", "--masks", "cubic:0.5"},
      {"--teacher", fixture.teacher(), "--teacher-cache", (fixture.directory / "cache").string(),
       "--masks", "movement:0.5", "--average", "0.9", "--log",
       (fixture.directory / "log").string()}};
  for (const auto& recipe : recipes) {
    CAPTURE(recipe);
    auto with = [&](std::vector<std::string> more) {
      more.insert(more.end(), recipe.begin(), recipe.end());
      return more;
    };
    std::filesystem::remove_all(fixture.directory / "one");
    (void)output_of(fixture.command(with({"--threads", "1"}), "one"));
    const auto expected = directory_content(fixture.directory / "one");
    std::filesystem::remove_all(fixture.directory / "t");
    std::filesystem::remove_all(fixture.directory / "cache");
    // A state after each step; whenever the kill comes, the rest is the same.
    const auto killed = fixture.command(with({"--threads", "3", "--save-every", "1"}));
    (void)killed_run(killed, fixture.directory / "t", ".safetensors", 1);
    const Outcome outcome = run_pare(killed);
    CAPTURE(outcome.err);
    if (outcome.status != 0) CHECK(exists(fixture.directory / "t"));  // it was done before
    CHECK(directory_content(fixture.directory / "t") == expected);
    std::filesystem::remove_all(fixture.directory / "t");
  }
}

TEST_CASE("a model that is trained learns its text, and other tools' files stay") {
  const TrainFixture fixture;
  const auto bits = [&](const std::string& model) {
    const std::string text = output_of({"eval", (fixture.directory / model).string(), "--text",
                                        std::string(PARE_DEMO_MODEL_DIR) + "/calib.txt", "--window",
                                        "16", "--no-speed"});
    return std::stod(text.substr(text.find("bits per byte") + 13));
  };
  const std::string out =
      output_of(fixture.command({"--steps", "60", "--log", (fixture.directory / "log").string()}));
  CHECK_THAT(out, ContainsSubstring("60 steps of 32 tokens"));
  CHECK(bits("t") < bits("m") - 0.5);
  for (const char* name : {"steps.jsonl", "steps.csv", "events.out.tfevents.0.pare"})
    CHECK(exists(fixture.directory / "log" / name));
  CHECK_FALSE(exists(fixture.directory / "t" / "training_state.safetensors"));

  // Trained as it is stored: a quantized model goes on, and gets better.
  (void)output_of({"quantize", (fixture.directory / "t").string(), "--out",
                   (fixture.directory / "q").string(), "--format", "uint2", "--group-size", "16"});
  (void)output_of(fixture.command(
      {"--teacher", (fixture.directory / "t").string(), "--steps", "40", "--lr", "0.003"}, "q2",
      "q"));
  CHECK(bits("q2") < bits("q"));
}

TEST_CASE("a pruned model's zeros are masks for others") {
  const TrainFixture fixture;
  const auto zeros_of = [&](const std::string& model) {
    std::vector<std::vector<bool>> zeros;
    for (const engine::Block& block : engine::Checkpoint(fixture.directory / model).load().blocks)
      for (const engine::Linear& layer : block.linears) {
        auto& of_layer = zeros.emplace_back();
        for (const float w : layer.dense()) of_layer.push_back(w == 0.0f);
      }
    return zeros;
  };
  (void)output_of({"prune", fixture.teacher(), "--out", (fixture.directory / "p").string(),
                   "--score", "magnitude", "--sparsity", "0.5"});
  (void)output_of(fixture.command({"--masks", (fixture.directory / "p").string()}));
  const auto wanted = zeros_of("p");
  CHECK(zeros_of("t") == wanted);
  CHECK(std::count(wanted[0].begin(), wanted[0].end(), true) ==
        Approx(0.5 * static_cast<double>(wanted[0].size())));
  // And rounded, too.
  (void)output_of(fixture.command(
      {"--masks", (fixture.directory / "p").string(), "--quantize", "int4:16"}, "q"));
  CHECK_THAT(output_of({"inspect", (fixture.directory / "q").string()}), ContainsSubstring("int4"));
}

TEST_CASE("train refuses what cannot be, in one line, before the work") {
  const TrainFixture fixture;
  struct Case {
    std::vector<std::string> options;
    std::string says;
  };
  const std::vector<Case> cases{
      {{"--steps", "0"}, "--steps 0 is not positive"},
      {{"--batch", "-1"}, "--batch -1 is not positive"},
      {{"--lr", "-1"}, "--lr"},
      {{"--save-every", "0"}, "--save-every 0 is not positive"},
      {{"--optimizer", "adam"}, "there are adamw and sgd"},
      {{"--train", "all"}, "everything, layers, norms"},
      {{"--loss", "mse"}, "there are ce, kd"},
      {{"--loss", "kd"}, "there is none"},
      {{"--quantize", "nf4:16"}, "cannot be trained"},
      {{"--quantize", "int9:16"}, "int2, int3"},
      {{"--quantize", "int4:x"}, "no group size"},
      {{"--quantize", "int4:24"}, "do not divide"},
      {{"--quantize", "int4:16", "--masks", "movement:0.5"}, "quantize what was pruned"},
      {{"--masks", "cubic:1.5"}, "no share between 0 and 1"},
      {{"--masks", "movement"}, "movement:0.7"},
      {{"--masks", (fixture.directory / "none").string()}, "none"},
      {{"--masks", fixture.teacher(), "--keep-zeros"}, "--keep-zeros"},
      {{"--schedule", "step"}, "cosine, linear, constant"},
      {{"--average", "1"}, "no momentum"},
      {{"--teacher-top-k", "8"}, "--teacher-cache"},
      {{"--teacher-cache", (fixture.directory / "c").string()}, "no loss reads"},
      {{"--teacher", fixture.teacher(), "--teacher-cache", fixture.teacher() + "/config.json"},
       "no cache of a teacher"},
      {{"--window", "4096"}, "context"},
      {{"--data", (fixture.directory / "none").string()}, "none"},
      {{"--teacher", (fixture.directory / "none").string()}, "none"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.options);
    const Outcome outcome = run_pare(fixture.command(c.options));
    CHECK(outcome.status > 0);
    CHECK(outcome.error_lines() == 1);
    CHECK_THAT(outcome.err, ContainsSubstring(c.says));
    CHECK_FALSE(exists(fixture.directory / "t"));
    CHECK_FALSE(exists(fixture.directory / "t.partial"));
  }
}
