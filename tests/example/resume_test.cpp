#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/directory_content.hpp"
#include "support/killed_run.hpp"
#include "support/program.hpp"
#include "support/tiny_model.hpp"

namespace {

using namespace pare;
using namespace pare::test;

constexpr int layers = 10;

/// A model deep enough to be caught between its blocks.
class ResumeFixture {
 public:
  ResumeFixture() { model.write(directory / "m"); }

  [[nodiscard]] std::vector<std::string> command(const std::vector<std::string>& recipe,
                                                 const std::string& out = "q",
                                                 const std::string& threads = "1") const {
    std::vector<std::string> words{"quantize",  (directory / "m").string(),
                                   "--out",     (directory / out).string(),
                                   "--threads", threads};
    words.insert(words.end(), recipe.begin(), recipe.end());
    return words;
  }
  /// What an uninterrupted run writes.
  [[nodiscard]] auto expected(const std::vector<std::string>& recipe) const {
    const Outcome outcome = run_pare(command(recipe, "whole"));
    CAPTURE(outcome.err);
    REQUIRE(outcome.status == 0);
    auto content = directory_content(directory / "whole");
    std::filesystem::remove_all(directory / "whole");
    return content;
  }
  /// Starts a run and kills it when `shards` blocks are written; false when it was faster.
  [[nodiscard]] bool run_until(const std::vector<std::string>& recipe, int shards) const {
    return killed_run(command(recipe), directory / "q", ".safetensors", shards);
  }
  /// Leaves what a run leaves that was killed once at each of these numbers of blocks.
  void interrupt(const std::vector<std::string>& recipe, const std::vector<int>& stops) const {
    for (int attempt = 0; attempt < 20; ++attempt) {
      std::filesystem::remove_all(directory / "q");
      std::filesystem::remove_all(directory / "q.partial");
      if (std::all_of(stops.begin(), stops.end(),
                      [&](int shards) { return run_until(recipe, shards); }))
        return;
    }
    FAIL("the program could not be killed in time");
  }

  TinyModel model{{.layers = layers}};
  TemporaryDirectory directory;
};

}  // namespace

TEST_CASE("after a kill the same command resumes and ends with the same bytes") {
  const ResumeFixture fixture;
  const std::vector<std::vector<std::string>> recipes{
      {"--method", "gptq", "--format", "int4", "--act-order"},
      {"--method", "gptq", "--format", "uint4", "--group-size", "32", "--save-as", "gptq"},
      {"--method", "awq+gptq", "--format", "uint4", "--calib-windows", "4"},
      {"--method", "awq", "--format", "uint4", "--calib-windows", "4"},
      {"--method", "smoothquant", "--format", "w8a8-static", "--output-layer", "int8"},
      {"--method", "autoround", "--format", "uint3", "--calib-windows", "4", "--iterations", "2"},
  };
  for (const auto& recipe : recipes) {
    const auto expected = fixture.expected(recipe);
    for (const std::vector<int>& stops :
         {std::vector{1}, {layers / 2}, {layers - 1}, {2, 3, layers - 2}}) {
      CAPTURE(recipe, stops);
      fixture.interrupt(recipe, stops);
      const Outcome outcome = run_pare(fixture.command(recipe));
      CAPTURE(outcome.err);
      CHECK(outcome.status == 0);
      CHECK(outcome.err.starts_with("resuming: "));
      CHECK(outcome.err.find("resuming", 1) == std::string::npos);
      CHECK(directory_content(fixture.directory / "q") == expected);
      CHECK_FALSE(exists(fixture.directory / "q.partial"));
    }
  }
}

TEST_CASE("finished work that depends on something else is kept, and one line says what differs") {
  ResumeFixture fixture;
  const std::vector<std::string> recipe{"--method", "gptq", "--format", "int4"};
  fixture.interrupt(recipe, {3});
  std::vector<std::string> other = recipe;
  std::string difference;
  SECTION("an option") {
    other.insert(other.end(), {"--damping", "0.02"});
    difference = "--damping was 0.01 and is 0.02";
  }
  SECTION("the text") {
    other.insert(other.end(), {"--calib-windows", "7"});
    difference = "the calibration text has changed";
  }
  SECTION("the weights") {
    fixture.model.change("model.layers.9.mlp.up_proj.weight", [](float v) { return 1.5f * v; });
    fixture.model.write(fixture.directory / "m");
    difference = "the model's weights have changed";
  }
  SECTION("the configuration") {
    fixture.model.config["rms_norm_eps"] = 1e-6;
    fixture.model.write(fixture.directory / "m");
    difference = "the model's config.json has changed";
  }
  SECTION("a file of the tokenizer") {
    write_text(fixture.directory / "m/tokenizer_config.json", "{}");
    difference = "the model's tokenizer_config.json has changed";
  }
  SECTION("an unreadable manifest") {
    write_text(fixture.directory / "q.partial/pare_manifest.json", "{");
    difference = "q.partial/pare_manifest.json: no valid JSON";
  }
  const auto left = directory_content(fixture.directory / "q.partial");
  const Outcome refused = run_pare(fixture.command(other));
  CHECK(refused.status == 1);
  CHECK(refused.error_lines() == 1);
  CHECK_THAT(refused.err, ContainsSubstring(difference) && ContainsSubstring("--force"));
  CHECK(directory_content(fixture.directory / "q.partial") == left);

  auto forced = fixture.command(other);
  forced.push_back("--force");
  const Outcome outcome = run_pare(forced);
  CHECK(outcome.status == 0);
  CHECK_THAT(outcome.err, StartsWith("note: starting over: ") && ContainsSubstring(difference));
  CHECK(outcome.err.find("resuming") == std::string::npos);
  CHECK(directory_content(fixture.directory / "q") == fixture.expected(other));
}

TEST_CASE("what the result does not depend on does not keep work from resuming") {
  const ResumeFixture fixture;
  const std::vector<std::string> recipe{"--method", "gptq", "--format", "int4"};
  const auto expected = fixture.expected(recipe);
  fixture.interrupt(recipe, {3});
  write_text(fixture.directory / "m/NOTES.md", "a note");
  write_text(fixture.directory / "m/.DS_Store", "");
  write_text(fixture.directory / "m/other.safetensors", "of no shard");
  write_text(fixture.directory / "m/eval.txt", "another text");
  std::filesystem::create_directory(fixture.directory / "m/logs");
  const Outcome outcome = run_pare(fixture.command(recipe, "q", "2"));
  CHECK(outcome.err.starts_with("resuming: "));
  CHECK(directory_content(fixture.directory / "q") == expected);
}

TEST_CASE("the number of threads changes no byte") {
  const ResumeFixture fixture;
  for (const std::vector<std::string>& recipe : std::vector<std::vector<std::string>>{
           {"--method", "gptq", "--format", "uint4", "--act-order"},
           {"--method", "awq", "--format", "uint4", "--calib-windows", "4"},
           {"--method", "smoothquant", "--format", "w8a8-static", "--observer", "entropy"}}) {
    CAPTURE(recipe);
    const auto expected = fixture.expected(recipe);
    REQUIRE(run_pare(fixture.command(recipe, "threads", "2")).status == 0);
    CHECK(directory_content(fixture.directory / "threads") == expected);
    std::filesystem::remove_all(fixture.directory / "threads");
  }
}

TEST_CASE("two runs do not write to one output") {
  const ResumeFixture fixture;
  const std::vector<std::string> recipe{"--method", "gptq", "--format", "int4"};
  fixture.interrupt(recipe, {2});
  const auto left = directory_content(fixture.directory / "q.partial");
  const int lock = ::open((fixture.directory / "q.partial").c_str(), O_RDONLY | O_DIRECTORY);
  REQUIRE(::flock(lock, LOCK_EX) == 0);
  const Outcome refused = run_pare(fixture.command(recipe));
  ::close(lock);
  CHECK(refused.status == 1);
  CHECK(refused.error_lines() == 1);
  CHECK_THAT(refused.err, ContainsSubstring("another process is writing here"));
  CHECK(directory_content(fixture.directory / "q.partial") == left);
  CHECK(run_pare(fixture.command(recipe)).err.starts_with("resuming: "));
}
