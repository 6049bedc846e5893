#include <algorithm>
#include <string>
#include <vector>

#include "cli/sensitivity_plot.hpp"
#include "cli/sensitivity_table.hpp"
#include "pare/io/json.hpp"
#include "support/catch.hpp"
#include "support/program.hpp"
#include "support/tiny_model.hpp"

namespace {

using namespace pare;
using namespace pare::test;
using nlohmann::json;
namespace fs = std::filesystem;

struct SensitivityFixture {
  TemporaryDirectory directory;
  std::string source = path("m");

  SensitivityFixture() { TinyModel().write(source); }
  [[nodiscard]] std::string path(const std::string& name) const {
    return (directory / name).string();
  }
  [[nodiscard]] std::vector<std::string> command(const std::vector<std::string>& more,
                                                 const std::string& threads = "1") const {
    std::vector<std::string> words{"sensitivity", source, "--threads", threads};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  /// The rows of a report that a command writes.
  [[nodiscard]] json rows(std::vector<std::string> words) const {
    words.insert(words.end(), {"--report", path("r.json")});
    (void)output_of(words);
    return read_json(path("r.json"))["rows"];
  }
};

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != std::string::npos; ++at) ++found;
  return found;
}

cli::Sensitivity sample() {
  cli::Sensitivity result{.method = "wanda", .shares = {"30 %", "70 %"}, .unit = "byte"};
  result.float_model.bits_per_byte = 1.5;
  for (Index block = 0; block < 3; ++block)
    for (const char* kind : {"mlp.up", "experts.0.w1", "experts.1.w1"}) {
      const double kl = 0.01 * static_cast<double>(block) + (kind[0] == 'm' ? 0.0 : 0.5);
      result.layers.push_back({.layer = "b." + std::to_string(block) + "." + kind,
                               .kind = kind,
                               .block = block,
                               .damage = {{.kl = kl, .bits_per_byte = 1.5 + kl},
                                          {.kl = 2 * kl, .bits_per_byte = 1.6 + kl}}});
    }
  return result;
}

}  // namespace

TEST_CASE("a layer pruned alone costs what compare says of it") {
  const SensitivityFixture fixture;
  const struct {
    std::vector<std::string> options;
    std::string compared;
  } cases[] = {
      {{"--sparsity", "0.5,0.8"}, "wanda:0.5,wanda:0.8"},
      {{"--method", "magnitude", "--sparsity", "0.8"}, "magnitude:0.8"},
      {{"--method", "sparsegpt", "--sparsity", "0.8,0.5"}, "sparsegpt:0.8,sparsegpt:0.5"},
      {{"--method", "alps", "--pattern", "2:4"}, "alps:2:4"},
      {{"--method", "refit", "--pattern", "2:4"}, "refit:2:4"},
  };
  for (const auto& c : cases) {
    CAPTURE(c.options);
    for (const char* layer : {"model.layers.0.mlp.up_proj", "model.layers.1.self_attn.o_proj"}) {
      auto options = c.options;
      options.insert(options.end(), {"--layers", layer});
      const json own = fixture.rows(fixture.command(options));
      const json compared = fixture.rows({"compare", fixture.source, "--no-speed", "--threads", "1",
                                          "--prune", c.compared, "--layers", layer});
      REQUIRE(own.size() + 1 == compared.size());  // the first row is the float model's
      for (std::size_t i = 0; i < own.size(); ++i) {
        CHECK(own[i]["layer"] == layer);
        CHECK(own[i]["kl"].get<double>() > 1e-6);
        for (const char* key : {"kl", "top1", "bits_per_byte", "sparsity"})
          CHECK(own[i][key].get<double>() ==
                Approx(compared[i + 1][key].get<double>()).epsilon(1e-6));
      }
    }
  }
}

TEST_CASE("sensitivity prints a line for each layer, whatever the number of threads") {
  const SensitivityFixture fixture;
  const std::vector<std::string> options{"--sparsity",          "0.25,0.75",      "--plot",
                                         fixture.path("p.svg"), "--eval-windows", "4"};
  const std::string printed = output_of(fixture.command(options));
  CHECK_THAT(printed, ContainsSubstring("14 layers, KL to the float model on the first 4 of 8 "
                                        "windows of 32 tokens") &&
                          ContainsSubstring("25 %     75 %") && ContainsSubstring("bits/byte") &&
                          ContainsSubstring("75 % hurts most : model.layers."));
  CHECK(count(printed, "\nmodel.layers.") == 14);
  const std::string plot = read_text(fixture.path("p.svg"));
  CHECK(plot.starts_with("<svg"));
  const json rows = fixture.rows(fixture.command(options)),
             again = fixture.rows(fixture.command(options, "2"));
  CHECK(rows.size() == 28);
  CHECK(rows == again);
  CHECK(read_text(fixture.path("p.svg")) == plot);
  // More is never better in this model.
  for (std::size_t i = 0; i < rows.size(); i += 2)
    CHECK(rows[i]["kl"].get<double>() < rows[i + 1]["kl"].get<double>());
  (void)output_of(fixture.command({"--layers", ".*q_proj", "--report", fixture.path("r.csv")}));
  CHECK(count(read_text(fixture.path("r.csv")), "\n") == 1 + 2 * 4);
}

TEST_CASE("sensitivity of encoders") {
  const SensitivityFixture fixture;
  const std::string digits = (fs::path(PARE_DEMO_MODEL_DIR).parent_path() / "demo-digits").string();
  const std::string layer = ".*\\.0\\..*output.dense";
  const json own = fixture.rows({"sensitivity", digits, "--method", "magnitude", "--sparsity",
                                 "0.6", "--layers", layer, "--eval-windows", "0"});
  REQUIRE(own.size() == 2);
  const json compared = fixture.rows({"compare", digits, "--no-speed", "--prune", "magnitude:0.6",
                                      "--layers", own[1]["layer"].get<std::string>()});
  for (const char* key : {"kl", "top1", "accuracy"})
    CHECK(own[1][key].get<double>() == Approx(compared[1][key].get<double>()).epsilon(1e-6));
}

TEST_CASE("what sensitivity cannot do is refused in one line, before the work") {
  const SensitivityFixture fixture;
  const struct {
    std::vector<std::string> options;
    const char* word;
  } cases[] = {
      {{"--method", "charm"}, "no score is named \"charm\""},
      {{"--method", "movement"}, "pare train --masks movement"},
      {{"--sparsity", "0.5,x"}, "\"x\" is no share"},
      {{"--sparsity", "0.5,"}, "\"\" is no share"},
      {{"--sparsity", "0.5,1"}, "outside [0, 1)"},
      {{"--sparsity", "0.5", "--pattern", "2:4"}, "--sparsity has no effect"},
      {{"--pattern", "2:7"}, "groups of 7"},
      {{"--pattern", "blocks-4x4", "--method", "alps"}, "no blocks"},
      {{"--layers", "nothing"}, "no layer's whole name"},
      {{"--layers", "("}, "no regular expression"},
      {{"--eval-windows", "-1"}, "--eval-windows -1"},
      {{"--calib-stride", "0"}, "--calib-stride 0"},
      {{"--plot", fixture.path("p.png")}, "does not end in .svg"},
      {{"--plot", fixture.path("none/p.svg")}, "no such directory"},
      {{"--report", fixture.path("r.txt")}, "does not end in .json or .csv"},
      {{"--inputs", fixture.path("m/model.safetensors")}, "--inputs is of encoders"},
  };
  for (const auto& c : cases) {
    CAPTURE(c.options);
    const Outcome outcome = run_pare(fixture.command(c.options));
    CHECK(outcome.status == 1);
    CHECK(outcome.error_lines() == 1);
    CHECK(outcome.out.empty());
    CHECK_THAT(outcome.err, ContainsSubstring(c.word));
  }
}

TEST_CASE("the plot has a panel for each share and a line for each kind of layer") {
  cli::Sensitivity result = sample();
  const std::string svg = cli::sensitivity_plot(result, "a < b & c");
  CHECK(svg.find("nan") == std::string::npos);
  CHECK(svg.find("inf") == std::string::npos);
  for (const char* text : {">30 %<", ">70 %<", ">mlp.up<", ">experts.*.w1<", ">block<",
                           ">KL, nats per byte<", "a &lt; b &amp; c"})
    CHECK(svg.find(text) != std::string::npos);
  CHECK(count(svg, "<circle") == 2 * 2 * 3);
  CHECK(count(svg, "<text") == count(svg, "</text>"));
  // The same KL stands at the same height in both panels; twice of it higher.
  const auto heights = [&](std::size_t block) {
    cli::Sensitivity one = result;
    one.shares = {"30 %", "70 %"};
    std::erase_if(one.layers, [&](const auto& l) { return l.kind != "mlp.up" || l.block < 1; });
    const std::string plot = cli::sensitivity_plot(one, "");
    std::vector<double> all;
    for (std::size_t at = 0; (at = plot.find("cy=\"", at)) != std::string::npos; at += 4)
      all.push_back(std::stod(plot.substr(at + 4)));
    return std::pair(all.at(block), all.at(2 + block));
  };
  CHECK(heights(0).second < heights(0).first);
  CHECK(heights(1).first == Approx(heights(0).second));  // 0.02 each
  // A single block, and layers that cost nothing.
  result.layers.resize(1);
  const std::string nothing = cli::sensitivity_plot(result, "");
  CHECK(count(nothing, "<circle") == 2);
  CHECK(nothing.find("nan") == std::string::npos);
}

TEST_CASE("the conclusion names the layers that suffer most and least") {
  const cli::Sensitivity result = sample();
  const std::string lines = cli::sensitivity_conclusion(result);
  CHECK_THAT(lines,
             ContainsSubstring("70 % hurts most : b.2.experts.0.w1 (1.04000), "
                               "b.2.experts.1.w1 (1.04000), b.1.experts.0.w1 (1.02000)\n") &&
                 ContainsSubstring("70 % hurts least: b.0.mlp.up (0.00000), b.1.mlp.up (0.02000), "
                                   "b.2.mlp.up (0.04000)\n"));
  cli::Sensitivity one = result;
  one.layers.resize(1);
  CHECK(cli::sensitivity_conclusion(one).empty());
}
