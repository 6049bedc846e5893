#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/directory_content.hpp"
#include "support/program.hpp"
#include "support/tiny_model.hpp"

using namespace pare;
using namespace pare::test;

TEST_CASE("autoround writes the same bytes for any number of threads") {
  const TemporaryDirectory directory;
  TinyModel({.layers = 2}).write(directory / "m");
  const auto run = [&](const std::string& out, const std::string& threads,
                       const std::string& begin) {
    const Outcome outcome = run_pare({"quantize",        (directory / "m").string(),
                                      "--out",           (directory / out).string(),
                                      "--method",        "autoround",
                                      "--format",        "uint3",
                                      "--group-size",    "32",
                                      "--iterations",    "4",
                                      "--learning-rate", "0.01",
                                      "--calib-windows", "12",
                                      "--window",        "16",
                                      "--begin-with",    begin,
                                      "--threads",       threads});
    CAPTURE(outcome.err);
    REQUIRE(outcome.status == 0);
    return directory_content(directory / out);
  };
  for (const std::string begin : {"nearest", "gptq"}) {
    CAPTURE(begin);
    CHECK(run(begin + "1", "1", begin) == run(begin + "3", "3", begin));
  }
}

TEST_CASE("autoround refuses models whose blocks have no gradients, before the work") {
  const std::string models = PARE_TEST_DATA_DIR "/models/";
  const TemporaryDirectory directory;
  for (const char* model : {"mixtral", "qwen3_moe", "bert"}) {
    CAPTURE(model);
    std::vector<std::string> words{
        "quantize", models + model, "--out",        (directory / "q").string(),
        "--method", "autoround",    "--group-size", "8"};
    const std::string expected = models + model + "/expected.safetensors";
    if (model == std::string("bert"))
      words.insert(words.end(), {"--calib-inputs", expected});
    else
      words.insert(words.end(), {"--calib", PARE_DEMO_MODEL_DIR "/calib.txt"});
    const Outcome outcome = run_pare(words);
    CHECK(outcome.status == 1);
    CHECK(outcome.error_lines() == 1);
    CHECK_THAT(outcome.err, ContainsSubstring("needs gradients") && ContainsSubstring("use gptq"));
    CHECK_FALSE(exists(directory / "q.partial"));
  }
}
