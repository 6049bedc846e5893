#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <string>
#include <vector>

#include "pare/io/json.hpp"
#include "pare/io/safetensors_collection.hpp"
#include "support/catch.hpp"
#include "support/directory_content.hpp"
#include "support/program.hpp"
#include "support/tiny_model.hpp"

namespace {

using namespace pare;
using namespace pare::test;
namespace fs = std::filesystem;

constexpr float infinity = std::numeric_limits<float>::infinity();

/// A tiny model of four blocks and commands on it.
class PreflightFixture {
 public:
  [[nodiscard]] std::string path(const std::string& name) const {
    return (directory / name).string();
  }
  void write() const { model.write(directory / "m"); }
  /// Puts a value that is not finite into a tensor.
  void spoil(const std::string& tensor, float value = infinity) {
    model.change(tensor, [&, n = 0](float v) mutable { return n++ == 6 ? value : v; });
  }
  [[nodiscard]] std::vector<std::string> quantize(const std::vector<std::string>& options) const {
    std::vector<std::string> words{"quantize", path("m"), "--out", path("q"), "--threads", "1"};
    words.insert(words.end(), options.begin(), options.end());
    return words;
  }
  [[nodiscard]] bool has_block(int block) const {
    return exists(directory /
                  ("q.partial/model-0000" + std::to_string(block + 1) + "-of-00005.safetensors"));
  }

  TinyModel model{{.layers = 4}};
  TemporaryDirectory directory;
};

constexpr const char* stays = "finished work stays in ";

/// Exit status and standard error of the program with its output at `out` ("" closes it).
struct Written {
  int status;
  std::string error;
};
Written run_with_output(const std::vector<std::string>& words, const std::string& out) {
  const TemporaryDirectory directory;
  const std::string err = (directory / "err").string();
  std::string command = std::string("'") + PARE_PROGRAM + "'";
  for (const std::string& word : words) command += " '" + word + "'";
  command += (out.empty() ? std::string(" >&-") : " >" + out) + " 2>'" + err + "' </dev/null";
  const int state = std::system(command.c_str());
  return {WEXITSTATUS(state), read_text(err)};
}

}  // namespace

TEST_CASE("after an error finished blocks stay and the same command ends with the same bytes") {
  PreflightFixture fixture;
  fixture.write();
  for (const std::vector<std::string>& recipe : std::vector<std::vector<std::string>>{
           {}, {"--method", "gptq", "--act-order"}, {"--method", "awq", "--format", "uint4"}}) {
    CAPTURE(recipe);
    REQUIRE(run_pare(fixture.quantize(recipe)).status == 0);
    const auto expected = directory_content(fixture.directory / "q");
    fs::remove_all(fixture.directory / "q");

    // Blocks fit, the embedding does not.
    const Outcome failed = run_pare(fixture.quantize(recipe), rlim_t{60000});
    CAPTURE(failed.err);
    CHECK(failed.status == 1);
    CHECK_THAT(failed.err,
               ContainsSubstring(stays + fixture.path("q.partial") + ": the same command goes on"));
    CHECK_THAT(failed.last_error(), StartsWith("pare: ") && ContainsSubstring("File too large"));
    const Outcome again = run_pare(fixture.quantize(recipe));
    CHECK(again.status == 0);
    CHECK_THAT(again.err, StartsWith("resuming: 4 of 4 blocks are done"));
    CHECK(directory_content(fixture.directory / "q") == expected);
    CHECK_FALSE(exists(fixture.directory / "q.partial"));
    fs::remove_all(fixture.directory / "q");
  }
}

TEST_CASE("an error before any block is finished leaves nothing") {
  const PreflightFixture fixture;
  fixture.write();
  const Outcome failed = run_pare(fixture.quantize({}), rlim_t{3000});
  CHECK(failed.status == 1);
  CHECK(failed.err.find(stays) == std::string::npos);
  CHECK(fixture.directory.entries() == std::set<std::string>{"m"});
}

TEST_CASE("a part that a failing disk left damaged is made again") {
  const PreflightFixture fixture;
  fixture.write();
  REQUIRE(run_pare(fixture.quantize({})).status == 0);
  const auto expected = directory_content(fixture.directory / "q");
  fs::remove_all(fixture.directory / "q");
  const std::string shard = fixture.path("q.partial/model-00002-of-00005.safetensors");
  for (const char* what : {"cut short", "empty", "zeroed"}) {
    CAPTURE(what);
    REQUIRE(run_pare(fixture.quantize({}), rlim_t{60000}).status == 1);
    std::string content = read_text(shard);
    if (what == std::string("cut short")) content.pop_back();
    if (what == std::string("empty")) content.clear();
    if (what == std::string("zeroed")) content.assign(content.size(), '\0');
    write_text(shard, content);
    write_text(shard + ".77-0.tmp", "left by a kill");
    const Outcome again = run_pare(fixture.quantize({}));
    CAPTURE(again.err);
    CHECK(again.status == 0);
    CHECK_THAT(again.err, ContainsSubstring(shard + " is damaged and is made again"));
    CHECK_THAT(again.err, ContainsSubstring("resuming: 1 of 4 blocks are done"));
    CHECK(directory_content(fixture.directory / "q") == expected);
    fs::remove_all(fixture.directory / "q");
  }
}

TEST_CASE("what is not finite is found before the first block by methods that calibrate") {
  for (const char* tensor :
       {"model.layers.3.mlp.down_proj.weight", "model.norm.weight",
        "model.layers.2.input_layernorm.weight", "lm_head.weight", "model.embed_tokens.weight"}) {
    PreflightFixture fixture;
    fixture.spoil(tensor);
    fixture.write();
    for (const std::vector<std::string>& recipe :
         std::vector<std::vector<std::string>>{{"--method", "gptq"},
                                               {"--method", "awq", "--format", "uint4"},
                                               {"--format", "w8a8-static"}}) {
      CAPTURE(tensor, recipe);
      const Outcome outcome = run_pare(fixture.quantize(recipe));
      CHECK(outcome.status == 1);
      CHECK(outcome.error_lines() == 1);
      CHECK_THAT(outcome.err,
                 ContainsSubstring(tensor) && ContainsSubstring("holds infinity at ["));
      CHECK(fixture.directory.entries() == std::set<std::string>{"m"});
    }
  }
}

TEST_CASE("rtn checks blocks as it reads them and keeps those before, and the rest at once") {
  PreflightFixture fixture;
  fixture.spoil("model.layers.2.mlp.down_proj.weight", std::nanf(""));
  fixture.write();
  for (int run = 0; run < 2; ++run) {
    const Outcome outcome = run_pare(fixture.quantize({}));
    CAPTURE(outcome.err);
    CHECK(outcome.status == 1);
    CHECK_THAT(outcome.err, ContainsSubstring(stays));
    CHECK_THAT(outcome.last_error(),
               ContainsSubstring("model.layers.2.mlp.down_proj.weight holds NaN"));
    CHECK(fixture.has_block(1));
    CHECK_FALSE(fixture.has_block(2));
    if (run == 1) CHECK_THAT(outcome.err, StartsWith("resuming: 2 of 4"));
  }
  for (const char* tensor : {"model.norm.weight", "lm_head.weight", "model.embed_tokens.weight"}) {
    PreflightFixture other;
    other.spoil(tensor);
    other.write();
    const Outcome outcome = run_pare(other.quantize({}));
    CHECK(outcome.error_lines() == 1);
    CHECK_THAT(outcome.err, ContainsSubstring(tensor));
  }
}

TEST_CASE("buffers that the arithmetic never reads are copied whatever they hold") {
  PreflightFixture fixture;
  const std::vector<std::string> buffers{
      "model.causal_mask", "model.layers.1.self_attn.rotary_emb.inv_freq",
      "model.layers.1.self_attn.bias", "model.layers.9.mlp.up_proj.weight", "visual.proj.weight"};
  for (const std::string& name : buffers) {
    fixture.model.add(name, {8, 8}, 0.0f, 1.0f);
    fixture.spoil(name, -infinity);
  }
  fixture.write();
  for (const char* method : {"rtn", "gptq"}) {
    CAPTURE(method);
    REQUIRE(run_pare(fixture.quantize({"--method", method})).status == 0);
    const std::string q = fixture.path("q"), p = fixture.path("p");
    REQUIRE(run_pare({"pack", q, "--out", p}).status == 0);
    for (const std::string& directory : {q, p}) {
      auto tensors = SafetensorsCollection::open(directory);
      for (const std::string& name : buffers) {
        CAPTURE(directory, name);
        const auto stored = tensors.info(name).bytes;
        const auto& original = fixture.model.tensor(name).data;
        CHECK(std::equal(stored.begin(), stored.end(), original.begin(), original.end()));
      }
      fs::remove_all(directory);
    }
  }
}

TEST_CASE("output that cannot be printed is an error of every command") {
  PreflightFixture fixture;
  fixture.write();
  const std::string m = fixture.path("m");
  REQUIRE(run_pare({"quantize", m, "--out", fixture.path("float")}).status == 0);
  const std::vector<std::vector<std::string>> commands{
      {"--help"},
      {"--version"},
      {"quantize", "--help"},
      {"inspect", m},
      {"eval", m, "--no-speed"},
      {"generate", m, "--prompt", "a", "--length", "4"},
      {"compare", m, "--methods", "rtn", "--formats", "int8", "--no-speed"},
      {"quantize", m, "--out", fixture.path("q")},
      {"pack", fixture.path("float"), "--out", fixture.path("p")},
      {"make-checkpoint", "--out", fixture.path("c"), "--layers", "1", "--hidden", "32", "--heads",
       "2", "--kv-heads", "1", "--intermediate", "64", "--vocab", "256"}};
  for (const auto& command : commands)
    for (const char* out : {"/dev/full", ""}) {
      CAPTURE(command, out);
      const Written written = run_with_output(command, out);
      CAPTURE(written.error);
      CHECK(written.status == 1);
      CHECK_THAT(written.error, ContainsSubstring("pare: standard output: cannot write"));
      for (const char* made : {"q", "p", "c"}) fs::remove_all(fixture.path(made));
    }
}

TEST_CASE("what is printed never ends up in a file that is written") {
  PreflightFixture fixture;
  fixture.write();
  const std::string m = fixture.path("m");
  REQUIRE(run_pare(fixture.quantize({})).status == 0);
  const auto expected = directory_content(fixture.directory / "q");
  (void)run_with_output({"quantize", m, "--out", fixture.path("closed")}, "");
  CHECK(directory_content(fixture.directory / "closed") == expected);
}

TEST_CASE("a file for results that is an input or cannot be written is refused before the work") {
  PreflightFixture fixture;
  fixture.write();
  const std::string m = fixture.path("m");
  fs::create_symlink("m/config.json", fixture.path("link.json"));
  fs::create_hard_link(fixture.path("m/config.json"), fixture.path("same.json"));
  fs::create_directory(fixture.path("directory.json"));
  fs::copy(fixture.path("m/eval.txt"), fixture.path("ids.json"));
  const auto refusal = [&](const std::vector<std::string>& words) {
    const auto before = directory_content(m);
    const Outcome outcome = run_pare(words);
    CAPTURE(words, outcome.err);
    CHECK(outcome.status == 1);
    CHECK(outcome.error_lines() == 1);
    CHECK(outcome.out.empty());
    CHECK(directory_content(m) == before);
    return outcome.err;
  };
  for (const char* file : {"m/config.json", "m/../m/./config.json", "link.json", "same.json"})
    for (const char* command : {"eval", "compare"})
      CHECK_THAT(refusal({command, m, "--report", fixture.path(file)}),
                 ContainsSubstring("is a file that is read"));
  CHECK_THAT(refusal({"eval", m, "--logits", m + "/model.safetensors"}),
             ContainsSubstring("is a file that is read"));
  CHECK_THAT(refusal({"eval", m, "--text", fixture.path("ids.json"), "--report",
                      fixture.path("ids.json")}),
             ContainsSubstring("is a file that is read"));
  CHECK_THAT(refusal({"eval", m, "--report", fixture.path("directory.json")}),
             ContainsSubstring("is a directory"));
  // Beside the model's files there is room for others.
  CHECK(run_pare({"eval", m, "--no-speed", "--report", m + "/result.json"}).status == 0);
}
