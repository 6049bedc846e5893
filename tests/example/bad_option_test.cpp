#include <set>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/program.hpp"
#include "support/tiny_model.hpp"

namespace {

using namespace pare;
using namespace pare::test;

struct Refused {
  std::vector<std::string> options;
  std::string says;  ///< what would work, or what is wrong
};

/// Each of the options, after `command`, must be refused in one line, at once.
void check(const std::vector<std::string>& command, const std::vector<Refused>& cases) {
  for (const Refused& refused : cases) {
    std::vector<std::string> words = command;
    words.insert(words.end(), refused.options.begin(), refused.options.end());
    CAPTURE(words);
    const Outcome outcome = run_pare(words);
    CHECK(outcome.status > 0);
    CHECK(outcome.out.empty());
    CHECK(outcome.error_lines() == 1);
    CHECK(outcome.err.starts_with("pare: "));
    CHECK_THAT(outcome.err, ContainsSubstring(refused.says));
  }
}

}  // namespace

TEST_CASE("quantize refuses what does not combine, and says what would work") {
  const TemporaryDirectory directory;
  TinyModel().write(directory / "m");
  const std::vector<std::string> command{"quantize", (directory / "m").string(), "--out",
                                         (directory / "q").string()};
  check(command,
        {
            {{"--method", "best"}, "there are rtn, gptq, awq, awq+gptq, smoothquant"},
            {{"--format", "int9"}, "there are int2, int3, int4"},
            {{"--format", ""}, "empty value"},
            {{"--save-as", "gguf"}, "there are pare, gptq, awq"},
            {{"--output-layer", "int4"}, "there are float, int8"},
            {{"--output-layer", "int8", "--format", "int4", "--save-as", "gptq"}, "--save-as pare"},
            {{"--observer", "median"}, "there are minmax, moving-average"},
            {{"--range", "best"}, "there are minmax, mse"},
            {{"--scales", "f8"}, "there are f16, bf16, f32"},
            {{"--method", "smoothquant", "--format", "int8"}, "w8a8-dynamic or w8a8-static"},
            {{"--method", "awq", "--format", "w8a8-static"}, "use rtn, gptq or smoothquant"},
            {{"--method", "awq+gptq", "--format", "w8a8-dynamic"}, "use rtn, gptq or smoothquant"},
            {{"--act-order"}, "gptq and awq+gptq"},
            {{"--method", "autoround", "--act-order"}, "gptq and awq+gptq"},
            {{"--method", "autoround", "--format", "nf4"}, "it learns integer formats"},
            {{"--method", "autoround", "--range", "mse"}, "minmax"},
            {{"--method", "autoround", "--iterations", "0"}, "--iterations 0"},
            {{"--method", "autoround", "--learning-rate", "0"}, "--learning-rate"},
            {{"--method", "autoround", "--learning-rate", "nan"}, "--learning-rate"},
            {{"--method", "autoround", "--begin-with", "awq"}, "there are nearest, gptq"},
            {{"--method", "gptq", "--iterations", "9"}, "autoround"},
            {{"--method", "rtn", "--learning-rate", "0.1"}, "autoround"},
            {{"--method", "awq", "--act-order"}, "gptq and awq+gptq"},
            {{"--method", "gptq", "--no-static-groups"}, "--act-order"},
            {{"--format", "nf4", "--save-as", "gptq"}, "--save-as pare"},
            {{"--format", "ternary", "--save-as", "gptq"}, "--save-as pare"},
            {{"--format", "w8a8-static", "--save-as", "gptq"}, "--save-as pare"},
            {{"--format", "int4", "--save-as", "awq"}, "use uint4"},
            {{"--format", "uint3", "--save-as", "awq"}, "use uint4"},
            {{"--method", "gptq", "--format", "uint4", "--group-size", "32", "--save-as", "awq",
              "--act-order", "--no-static-groups"},
             "static groups"},
            {{"--save-as", "gptq", "--group-size", "20"}, "multiple of the group size 20"},
            {{"--format", "uint4", "--save-as", "awq", "--group-size", "20"},
             "multiple of the group size 20"},
            {{"--group-size", "0"}, "--group-size 0"},
            {{"--group-size", "-2"}, "--group-size -2"},
            {{"--group-size", "97"}, "self_attn.q_proj"},
            {{"--group-size", "65"}, "larger than the row"},
            {{"--group-size", "many"}, "--group-size"},
            {{"--format", "w8a8-dynamic", "--group-size", "64"}, "one scale per row"},
            {{"--format", "w4a8-dynamic", "--save-as", "gptq"}, "--save-as pare"},
            {{"--method", "gptq", "--damping", "-0.1"}, "--damping"},
            {{"--method", "gptq", "--damping", "nan"}, "--damping"},
            {{"--alpha", "1.5"}, "--alpha"},
            {{"--threads", "0"}, "--threads 0 is not positive"},
            {{"--threads", "-3"}, "--threads -3 is not positive"},
            {{"--threads", "two"}, "--threads"},
            {{"--window", "33"}, "context of 32"},
            {{"--window", "-1"}, "--window -1"},
            {{"--method", "gptq", "--calib-windows", "-1"}, "--calib-windows -1"},
            {{"--colour", "red"}, "--colour"},
            {{"--method"}, "--method"},
        });
  CHECK(directory.entries() == std::set<std::string>{"m"});
}

TEST_CASE("the other commands refuse unusable options in one line") {
  check({}, {{{}, "subcommand"}, {{"optimize"}, "optimize"}});
  check({"quantize"}, {{{}, "--out"}});
  check({"compare"}, {
                         {{"--methods", "rtn,magic"}, "unknown method \"magic\""},
                         {{"--methods", "rtn,"}, "unknown method \"\""},
                         {{"--formats", "int4,int9"}, "unknown format \"int9\""},
                         {{"--methods", "awq", "--formats", "w8a8-static"}, "awq"},
                         {{"--methods", "smoothquant", "--formats", "int4,nf4"}, "w8a8-dynamic"},
                         {{"--methods", "rtn", "--formats", "int4", "--act-order"}, "gptq"},
                         {{"--report", "table.txt"}, "table.txt"},
                         {{"--group-size", "257"}, "larger than the row"},
                         {{"--threads", "0"}, "--threads 0"},
                     });
  check({"eval"}, {{{"--report", "table.csv"}, ".json"},
                   {{"--reference", "/no/such/model"}, "/no/such/model"},
                   {{"--window", "257"}, "context of 256"},
                   {{"--threads", "0"}, "--threads 0"}});
  check({"generate"}, {{{}, "--prompt"},
                       {{"--prompt", "x", "--length", "0"}, "--length 0"},
                       {{"--prompt", "x", "--length", "-5"}, "--length -5"},
                       {{"--prompt", "x", "--temperature", "-1"}, "--temperature"},
                       {{"--prompt", "x", "--temperature", "nan"}, "--temperature"},
                       {{"--prompt", "x", "--threads", "-1"}, "--threads -1"}});
  check({"bench"}, {{{"--prompt", "0"}, "--prompt 0"},
                    {{"--tokens", "-1"}, "--tokens -1"},
                    {{"--prompt", "250", "--tokens", "7"}, "context of 256"},
                    {{"--threads", "0"}, "--threads 0"}});
  check({"inspect"}, {{{"/no/such/model"}, "/no/such/model"}});
  for (const char* command : {"eval", "bench"})
    check({command}, {{{"--map"}, "--map has no effect here"}});
  check({"generate", "--prompt", "x"}, {{{"--map"}, "--map has no effect here"}});
  check({"compare"}, {{{"--map"}, "--map"}});
  check({"pack"}, {{{}, "required"}, {{"/no/such/model", "--out", "/no/such/out"}, "no such"}});
}

TEST_CASE("make-checkpoint refuses dimensions that are no model") {
  const TemporaryDirectory directory;
  check({"make-checkpoint", "--out", (directory / "m").string()},
        {{{"--hidden", "0"}, "\"hidden_size\" is 0"},
         {{"--layers", "-1"}, "\"num_hidden_layers\" is -1"},
         {{"--heads", "7"}, "num_attention_heads"},
         {{"--kv-heads", "5"}, "num_key_value_heads"},
         {{"--dtype", "f8"}, "there are f32, f16, bf16"}});
  CHECK(directory.entries().empty());
}

TEST_CASE("a quantized model cannot be quantized again") {
  const TemporaryDirectory directory;
  TinyModel().write(directory / "m");
  const std::string quantized = (directory / "q").string();
  REQUIRE(run_pare({"quantize", (directory / "m").string(), "--out", quantized}).status == 0);
  check({"quantize", quantized, "--out", (directory / "q2").string()},
        {{{}, "quantized already (by pare)"}});
  check({"compare", quantized}, {{{}, "quantized already"}});
}

TEST_CASE("only a quantized model can be packed, and only once") {
  const TemporaryDirectory directory;
  const std::string m = (directory / "m").string(), q = (directory / "q").string(),
                    p = (directory / "p").string();
  TinyModel().write(m);
  check({"pack", m}, {{{"--out", p}, "m is not quantized: pack what pare quantize makes of it"}});
  REQUIRE(run_pare({"quantize", m, "--out", q}).status == 0);
  check({"pack", q}, {{{"--out", q, "--force"}, "is the model itself"},
                      {{"--out", m}, "exists"},
                      {{"--out", ""}, "--out"},
                      {{"--out", p, "--threads", "0"}, "--threads 0"}});
  CHECK(directory.entries() == std::set<std::string>{"m", "q"});
  REQUIRE(run_pare({"pack", q, "--out", p}).status == 0);
  check({"pack", p, "--out", (directory / "p2").string()}, {{{}, "p is packed already"}});
  check({"quantize", p, "--out", (directory / "p2").string()},
        {{{}, "quantized already (by pare, packed)"}});
  check({"compare", p}, {{{}, "quantized already (by pare, packed)"}});
}
