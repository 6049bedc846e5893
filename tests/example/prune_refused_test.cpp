#include <string>
#include <vector>

#include "example/prune_fixture.hpp"
#include "pare/io/json.hpp"
#include "support/catch.hpp"

namespace {

using namespace pare;
using namespace pare::test;
namespace fs = std::filesystem;

}  // namespace

TEST_CASE("what cannot be pruned is refused in one line, before the work") {
  const PruneFixture fixture;
  write_json(fixture.path("joint.json"),
             {{"version", 1},
              {"steps",
               {{{"step", "prune"}, {"update", "sparsegpt"}, {"save_as", "pare"}},
                {{"step", "quantize"}, {"method", "gptq"}}}}});
  const auto quantize = [&](const std::vector<std::string>& more) {
    std::vector<std::string> words{"quantize",        fixture.source, "--out",
                                   fixture.path("p"), "--calib",      fixture.path("calib.txt")};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  const struct {
    std::vector<std::string> command;
    const char* word;
  } cases[] = {
      {fixture.prune("p", {"--sparsity", "1"}), "outside [0, 1)"},
      {fixture.prune("p", {"--sparsity", "-0.1"}), "outside [0, 1)"},
      {fixture.prune("p", {"--sparsity", "nan"}), "--sparsity"},
      {fixture.prune("p", {"--pattern", "5:4"}), "5:4"},
      {fixture.prune("p", {"--pattern", "2of4"}), "there are unstructured, N:M"},
      {fixture.prune("p", {"--pattern", "2:7"}), "do not divide into groups of 7"},
      {fixture.prune("p", {"--pattern", "2:4", "--sparsity", "0.4"}), "--sparsity has no effect"},
      {fixture.prune("p", {"--score", "charm"}), "magnitude"},
      {fixture.prune("p", {"--score", "movement"}), "pare train --masks movement"},
      {fixture.prune("p", {"--score", "synflow"}), "ReLU"},
      {fixture.prune("p", {"--score", "wanda", "--scope", "global"}), "--scope global"},
      {fixture.prune("p", {"--update", "alps", "--score", "magnitude"}), "--score has no effect"},
      {fixture.prune("p", {"--update", "sparsegpt", "--pattern", "blocks-4x4"}), "no blocks"},
      {fixture.prune("p", {"--update", "rest"}), "none, refit, sparsegpt, obc, alps"},
      {fixture.prune("p", {"--layers", "nothing"}), "no layer's whole name"},
      {fixture.prune("p", {"--layers", "("}), "no regular expression"},
      {fixture.prune("p", {"--calib-stride", "0"}), "--calib-stride 0"},
      {fixture.prune("p", {"--damping", "0.1"}), "--damping has no effect"},
      {fixture.prune("p", {"--owl-lambda", "0.1"}), "--owl-lambda has no effect"},
      {fixture.prune("p", {"--allocate", "owl", "--owl-lambda", "0.6"}), "outside [0, 0.5]"},
      {fixture.prune("p", {"--allocate", "owl", "--owl-multiple", "0"}), "--owl-multiple 0"},
      {fixture.prune("p", {"--allocate", "owl", "--pattern", "2:4"}), "--allocate owl"},
      {fixture.prune("p", {"--save-as", "gptq"}), "huggingface, pare"},
      {fixture.prune("p", {"--save-as", "pare", "--structure", "channels"}),
       "--save-as has no effect with --structure"},
      {quantize({"--recipe", fixture.path("joint.json")}), "\"save_as\""},
      {quantize({"--prune", "sparsegpt:2:4"}), "--method gptq"},
      {quantize({"--prune", "wanda:2:4", "--method", "gptq"}), "sparsegpt or alps"},
      {quantize({"--prune", "alps", "--method", "gptq"}), "METHOD:PATTERN"},
      {quantize({"--prune", "alps:many", "--method", "gptq"}), "\"many\""},
      {quantize({"--prune", "sparsegpt:2:4", "--method", "gptq", "--act-order"}), "neighbours"},
      {{"compare", fixture.source, "--prune", "wanda:2"}, "outside [0, 1)"},
      {{"compare", fixture.source, "--prune", "wanda:2:4:owl"}, "--allocate owl"},
  };
  for (const auto& c : cases) {
    CAPTURE(c.command);
    const Outcome outcome = run_pare(c.command);
    CHECK(outcome.status == 1);
    CHECK(outcome.error_lines() == 1);
    CHECK_THAT(outcome.err, ContainsSubstring(c.word));
    CHECK_FALSE(fs::exists(fixture.path("p")));
    CHECK_FALSE(fs::exists(fixture.path("p.partial")));
  }
}
