#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "cli/comparison_table.hpp"
#include "cli/speed_up.hpp"
#include "pare/io/json.hpp"
#include "pare/io/safetensors_reader.hpp"
#include "support/catch.hpp"
#include "support/program.hpp"
#include "support/tiny_model.hpp"

namespace {

using namespace pare;
using namespace pare::test;

cli::ReportRow row(const std::string& method, double prefill, double decode, bool steady) {
  cli::ReportRow row;
  row.method = method;
  row.format = "int4";
  row.parameters = 1'000'000;
  row.weight_bytes = 500'000;
  row.perplexity = 4.0;
  row.speed.emplace();
  row.speed->prefill_speed_up = {.ratio = prefill};
  row.speed->decode_speed_up = {.ratio = decode, .steady = steady};
  return row;
}

std::string compared(const std::vector<std::string>& options) {
  std::vector<std::string> words{"compare", "--formats", "int4", "--threads", "1"};
  words.insert(words.end(), options.begin(), options.end());
  const Outcome outcome = run_pare(words);
  CAPTURE(outcome.err);
  REQUIRE(outcome.status == 0);
  return outcome.out;
}

}  // namespace

TEST_CASE("a speed-up is the median of the pairs' ratios, steady when the halves agree") {
  const struct {
    const char* what;
    std::vector<double> ratios;
    double ratio;
    bool steady;
  } cases[] = {
      {"equal pairs", {2, 2, 2, 2}, 2.0, true},
      {"the middle two of an even number", {1.9, 2.1, 2.0, 2.2}, 2.05, true},
      {"one pair that a neighbour disturbed", {2, 2, 26, 2, 2, 2, 2}, 2.0, true},
      {"halves that differ by 15 %", {2.0, 2.0, 2.3, 2.3}, 2.15, true},
      {"halves that differ by more, rising", {2.0, 2.0, 2.31, 2.31}, 2.155, false},
      {"halves that differ by more, falling", {2.31, 2.31, 2.0, 2.0}, 2.155, false},
      {"the middle of an odd number is in neither half", {2, 2, 9, 2, 2}, 2.0, true},
      {"slower than float", {0.5, 0.5, 0.5, 0.9, 0.9, 0.9}, 0.7, false},
      {"too few to tell", {2, 2, 2}, 2.0, false},
      {"none", {}, 0.0, false},
  };
  for (const auto& c : cases) {
    CAPTURE(c.what);
    const cli::SpeedUp found = cli::speed_up(c.ratios);
    CHECK(found.ratio == Approx(c.ratio));
    CHECK(found.steady == c.steady);
  }
}

TEST_CASE("the table marks rows that are not steady and says what the mark means") {
  cli::ComparisonTable table;
  const std::string first = table.add(row("float", 1.0, 1.0, true));
  CHECK_THAT(first, ContainsSubstring("speed-up") && ContainsSubstring("1.00x/ 1.00x  "));
  CHECK_THAT(table.add(row("rtn", 2.5, 3.25, true)), ContainsSubstring("2.50x/ 3.25x  "));
  CHECK_THAT(table.legend(), ContainsSubstring("take turns") && !ContainsSubstring("?: "));
  CHECK_THAT(table.add(row("gptq", 2.5, 26.0, false)), ContainsSubstring("2.50x/26.00x? "));
  CHECK_THAT(table.add(row("awq", 2.0, 3.0, true)), ContainsSubstring("2.00x/ 3.00x  "));
  CHECK_THAT(table.legend(), ContainsSubstring("?: ") && ContainsSubstring("15 %"));
}

TEST_CASE("lines of a table are as long as its headings") {
  for (const bool with_speed : {true, false}) {
    cli::ComparisonTable table;
    cli::ReportRow base = row("float", 1.0, 1.0, true), other = row("rtn", 12.5, 3.25, false);
    if (!with_speed) {
      base.speed.reset();
      other.speed.reset();
    }
    const std::string first = table.add(base);
    const std::string second = table.add(other);
    CAPTURE(first, second);
    CHECK(first.find('\n') + 1 == second.size());
    CHECK(first.size() == 2 * second.size());
    CHECK((first.find("decode/s") != std::string::npos) == with_speed);
    CHECK(table.legend().empty() != with_speed);
  }
}

TEST_CASE("without speed the table and the reports hold quality alone") {
  const TemporaryDirectory directory;
  const std::string model = (directory / "m").string();
  TinyModel().write(model);
  const std::string json = (directory / "r.json").string(), csv = (directory / "r.csv").string();
  const std::string table = compared({model, "--no-speed", "--report", json});
  CHECK_THAT(table, ContainsSubstring("top-1") && !ContainsSubstring("speed-up") &&
                        !ContainsSubstring("prefill/s") && !ContainsSubstring("?"));
  for (const auto& r : read_json(json)["rows"])
    for (const auto& [key, value] : r.items())
      CHECK((key.find("speed") == std::string::npos && key.find("prefill") == std::string::npos &&
             key.find("decode") == std::string::npos));
  (void)compared({model, "--no-speed", "--report", csv});
  CHECK_THAT(read_text(csv), ContainsSubstring("perplexity") && !ContainsSubstring("speed"));

  const std::string report = (directory / "e.json").string();
  const Outcome outcome = run_pare({"eval", model, "--no-speed", "--report", report});
  REQUIRE(outcome.status == 0);
  CHECK_THAT(outcome.out, ContainsSubstring("perplexity") && !ContainsSubstring("tokens/s"));
  CHECK_FALSE(read_json(report).contains("decode_share"));
}

TEST_CASE("the logits that eval writes are those that it measured") {
  const TemporaryDirectory directory;
  const std::string model = (directory / "m").string(), text = (directory / "text").string(),
                    logits = (directory / "l.safetensors").string(),
                    report = (directory / "r.json").string();
  TinyModel().write(model);
  write_text(text, "abcdefghi");
  const std::vector<std::string> command{"eval", model,        "--text",    text, "--window",
                                         "8",    "--no-speed", "--threads", "1",  "--report",
                                         report, "--logits",   logits};
  REQUIRE(run_pare(command).status == 0);
  const auto file = SafetensorsReader::open(logits);
  CHECK(file.read_as<std::int32_t>("input_ids") ==
        std::vector<std::int32_t>{'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'});
  const auto rows = file.read_matrix("logits");
  REQUIRE(rows.rows() == 8);
  REQUIRE(rows.cols() == 256);
  double nats = 0.0;
  for (Index t = 0; t < 8; ++t) {
    double sum = 0.0;
    for (Index j = 0; j < 256; ++j) sum += std::exp(static_cast<double>(rows(t, j)));
    nats += std::log(sum) - static_cast<double>(rows(t, 'b' + t));
  }
  CHECK(read_json(report)["nats_per_token"].get<double>() == Approx(nats / 8));

  const Outcome wrong = run_pare({"eval", model, "--logits", (directory / "l.npy").string()});
  CHECK(wrong.status == 1);
  CHECK_THAT(wrong.last_error(),
             ContainsSubstring("--logits") && ContainsSubstring(".safetensors"));
}
