#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "engine/checkpoint.hpp"
#include "pare/io/json.hpp"
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
      {{"--eval-every", "-1"}, "--eval-every -1 is negative"},
      {{"--eval-text", fixture.teacher()}, "--eval-every"},
      {{"--student", (fixture.directory / "none").string()}, "none"},
      {{"--plan", fixture.teacher() + "/config.json"}, "beside --plan"},
      {{"--recipe", fixture.teacher() + "/config.json"}, "beside --recipe"},
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

TEST_CASE("a student is half of the model, which teaches it") {
  const TrainFixture fixture;
  const auto train_student = [&](const std::string& student) {
    std::filesystem::remove_all(fixture.directory / "t");
    return run_pare(fixture.command({"--student", student, "--eval-every", "6", "--eval-windows",
                                     "4", "--log", (fixture.directory / "log").string()}));
  };
  const engine::ModelConfig whole = engine::Checkpoint(fixture.directory / "m").config();
  const struct {
    const char* student;
    Index layers, hidden, heads;
  } cases[] = {{"half-depth", 1, whole.hidden_size, whole.heads},
               {"half-width", 2, whole.hidden_size / 2, whole.heads / 2}};
  for (const auto& c : cases) {
    CAPTURE(c.student);
    const Outcome outcome = train_student(c.student);
    CAPTURE(outcome.err);
    REQUIRE(outcome.status == 0);
    CHECK_THAT(outcome.out,
               ContainsSubstring("0 steps: eval loss") && ContainsSubstring("12 steps: eval loss"));
    const engine::Model trained = engine::Checkpoint(fixture.directory / "t").load();
    CHECK(trained.config.layers == c.layers);
    CHECK(trained.config.hidden_size == c.hidden);
    CHECK(trained.config.heads == c.heads);
    CHECK(trained.config.head_dim == whole.head_dim);
    // What they began with is gone.
    for (const std::string& name : fixture.directory.entries())
      CHECK(name.find("student") == std::string::npos);
    CHECK_THAT(read_text((fixture.directory / "log" / "steps.csv").string()),
               ContainsSubstring(",eval/loss,eval/bits_per_byte"));
  }
  // What a killed run has left is replaced, what is another's is not.
  std::filesystem::create_directory(fixture.directory / "t.student");
  const Outcome refused = train_student("half-depth");
  CHECK(refused.status == 1);
  CHECK_THAT(refused.err, ContainsSubstring("t.student") && ContainsSubstring("not of pare"));
  write_text(fixture.directory / "t.student" / "pare_student.json", "{}");
  CHECK(train_student("half-depth").status == 0);
  CHECK_FALSE(exists(fixture.directory / "t.student"));
  // A student may be any model.
  const Outcome again =
      run_pare(fixture.command({"--student", (fixture.directory / "t").string()}, "u"));
  CAPTURE(again.err);
  CHECK(again.status == 0);
}

TEST_CASE("looking on changes no byte of what is trained") {
  const TrainFixture fixture;
  for (const std::vector<std::string>& recipe :
       {std::vector<std::string>{"--masks", "cubic:0.5", "--teacher", fixture.teacher(),
                                 "--quantize", "int4:16"},
        {"--masks", "movement:0.5"},
        {"--average", "0.9"}}) {
    CAPTURE(recipe);
    std::map<std::string, std::string> content[2];
    for (const bool looks : {false, true}) {
      auto words = recipe;
      if (looks) words.insert(words.end(), {"--eval-every", "3", "--eval-windows", "2"});
      (void)output_of(fixture.command(words));
      content[looks] = directory_content(fixture.directory / "t");
      std::filesystem::remove_all(fixture.directory / "t");
    }
    CHECK(content[0] == content[1]);
  }
}

TEST_CASE("a plan trains in stages, each once") {
  const TrainFixture fixture;
  const std::string plan = (fixture.directory / "plan.json").string();
  const auto stage = [](const char* name, nlohmann::json more) {
    nlohmann::json all{{"name", name}, {"steps", 4}, {"batch", 2}, {"warm_up", 1}};
    if (!more.is_null()) all.update(more);
    return all;
  };
  const auto write_plan = [&](const nlohmann::json& stages) {
    write_json(plan, {{"version", 1}, {"stages", stages}});
  };
  const nlohmann::json assistant = stage("assistant", {{"student", "half-width"}});
  write_plan({assistant, stage("small", {{"model", "assistant"},
                                         {"student", "half-depth"},
                                         {"teachers", {"assistant", "MODEL"}}})});
  const std::vector<std::string> command{"train",    fixture.teacher(),
                                         "--plan",   plan,
                                         "--window", "16",
                                         "--out",    (fixture.directory / "t").string()};
  const std::string first = output_of(command);
  CHECK_THAT(first, ContainsSubstring("stage 2 of 2, small") && !ContainsSubstring("done before"));
  const engine::ModelConfig small = engine::Checkpoint(fixture.directory / "t" / "small").config();
  CHECK(small.layers == 1);
  const auto content = directory_content(fixture.directory / "t");
  const std::string second = output_of(command);
  CHECK_THAT(second, ContainsSubstring("assistant: done before") &&
                         ContainsSubstring("small: done before"));
  CHECK(directory_content(fixture.directory / "t") == content);
  // What a stage wrote says how to do it again.
  (void)output_of({"train", (fixture.directory / "t" / "assistant").string(), "--recipe",
                   (fixture.directory / "t" / "small" / "pare_recipe.json").string(), "--teacher",
                   (fixture.directory / "t" / "assistant").string(), "--teacher", fixture.teacher(),
                   "--out", (fixture.directory / "again").string()});
  CHECK(
      read_text((fixture.directory / "again" / "model-00001-of-00002.safetensors").string()) ==
      read_text((fixture.directory / "t" / "small" / "model-00001-of-00002.safetensors").string()));

  const struct {
    nlohmann::json stages;
    const char* says;
  } refused[] = {
      {nlohmann::json::array(), "no list of stages"},
      {{stage("a/b", {})}, "a stage's name is \"a/b\""},
      {{stage("a", {}), stage("a", {})}, "two stages are named a"},
      {{stage("a", {{"stpes", 3}})}, "stage \"a\": unknown field \"stpes\""},
      {{stage("a", {{"steps", 0}})}, "--steps 0 is not positive"},
      {{stage("a", {{"teachers", {"b"}}}), stage("b", {})}, "\"b\" is no stage before this one"},
      {{stage("assistant", {{"student", "half-depth"}})}, "another plan's stage"},
  };
  for (const auto& c : refused) {
    write_plan(c.stages);
    const Outcome outcome = run_pare(command);
    CHECK(outcome.status == 1);
    CHECK(outcome.error_lines() == 1);
    CHECK_THAT(outcome.err, ContainsSubstring(c.says));
    CHECK(directory_content(fixture.directory / "t") == content);
  }
}
