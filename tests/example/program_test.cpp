#include <cstdint>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "pare/io/json.hpp"
#include "support/catch.hpp"
#include "support/directory_content.hpp"
#include "support/program.hpp"
#include "support/tiny_model.hpp"

namespace {

using namespace pare;
using namespace pare::test;
using nlohmann::json;

std::set<std::string> keys(const json& object) {
  std::set<std::string> keys;
  for (const auto& item : object.items()) keys.insert(item.key());
  return keys;
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

/// A NumPy file of a vector of integers.
template <class T>
std::string npy(const std::vector<T>& values) {
  std::string header = "{'descr': '<i" + std::to_string(sizeof(T)) +
                       "', 'fortran_order': False, 'shape': (" + std::to_string(values.size()) +
                       ",), }";
  header.resize(117, ' ');
  return std::string("\x93NUMPY\x01\x00\x76\x00", 10) + header + "\n" +
         std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

}  // namespace

TEST_CASE("every command explains itself") {
  CHECK_THAT(output_of({"--help"}), ContainsSubstring("compare") && ContainsSubstring("quantize") &&
                                        ContainsSubstring("eval") &&
                                        ContainsSubstring("generate") &&
                                        ContainsSubstring("inspect") && ContainsSubstring("pack"));
  const struct {
    const char* command;
    std::vector<std::string> options;
  } cases[] = {
      {"compare",
       {"--methods", "--formats", "--group-size", "--act-order", "--report", "--no-speed"}},
      {"quantize", {"--method", "--format", "--save-as", "--out", "--force", "--calib"}},
      {"sensitivity", {"--method", "--sparsity", "--pattern", "--layers", "--plot", "--report"}},
      {"pack", {"MODEL", "--out", "--force", "--threads"}},
      {"eval", {"--text", "--tokens", "--reference", "--report", "--threads", "--map"}},
      {"generate", {"--prompt", "--length", "--temperature", "--seed", "--map"}},
      {"bench", {"--prompt", "--tokens", "--threads", "--map"}},
      {"tokenize", {"--text", "--pair", "--plain", "--decode", "--skip-special", "--out"}},
      {"inspect", {"MODEL|FILE"}},
      {"make-checkpoint", {"--layers", "--hidden", "--kv-heads", "--dtype"}},
  };
  for (const auto& c : cases) {
    const std::string help = output_of({c.command, "--help"});
    for (const std::string& option : c.options) CHECK_THAT(help, ContainsSubstring(option));
  }
  CHECK(output_of({"--version"}).find('.') != std::string::npos);
}

TEST_CASE("the JSON report has the documented keys, the float row first") {
  const TemporaryDirectory directory;
  TinyModel().write(directory / "m");
  const std::string report = (directory / "r.json").string();
  const std::string table =
      output_of({"compare", (directory / "m").string(), "--methods", "rtn,gptq", "--formats",
                 "int4,w8a8-dynamic", "--threads", "2", "--report", report});
  const auto lines = split(table, '\n');
  REQUIRE(lines.size() >= 1 + 5);  // the legend of marked rows may follow
  CHECK(lines[5].starts_with("gptq"));
  const json all = read_json(report);
  CHECK(keys(all) == std::set<std::string>{"context", "rows"});
  CHECK(keys(all["context"]) == std::set<std::string>{"compiler", "date", "flags", "kernels",
                                                      "machine", "seed", "threads", "version"});
  CHECK(all["context"]["threads"] == 2);
  CHECK_FALSE(all["context"]["kernels"].empty());
  const json& rows = all["rows"];
  REQUIRE(rows.size() == 5);
  for (const json& row : rows) {
    CHECK(keys(row) ==
          std::set<std::string>{"act_order", "bits_per_byte", "bits_per_weight", "decode_share",
                                "decode_speed_up", "decode_tokens_per_second", "format",
                                "group_size", "kl", "method", "perplexity", "prefill_share",
                                "prefill_speed_up", "prefill_tokens_per_second", "quantize_seconds",
                                "speed_up_steady", "top1", "weight_bytes"});
    CHECK(row["decode_speed_up"].get<double>() > 0.0);
    CHECK(row["prefill_tokens_per_second"].get<double>() > 0.0);
    CHECK(row["decode_tokens_per_second"].get<double>() > 0.0);
    CHECK(row["decode_share"].get<double>() > 0.0);
  }
  CHECK(rows[0]["method"] == "float");
  CHECK(rows[0]["kl"] == 0.0);
  CHECK(rows[0]["top1"] == 1.0);
  CHECK(rows[0]["decode_speed_up"] == 1.0);
  CHECK(rows[0]["bits_per_weight"] == 32.0);
  // 7 matrices of 2 blocks, embedding and output layer, 5 norms of 64.
  const Index linear = 2 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 96 * 64);
  CHECK(rows[0]["weight_bytes"] == 4 * (linear + 2 * 256 * 64 + 5 * 64));
  CHECK(rows[1]["method"] == "rtn");
  CHECK(rows[1]["format"] == "int4");
  CHECK(rows[1]["group_size"] == 64);
  CHECK(rows[1]["bits_per_weight"].get<double>() > 4.25);  // a ragged group in the rows of 96
  CHECK(rows[1]["bits_per_weight"].get<double>() < 4.35);
  CHECK(rows[1]["kl"].get<double>() > 0.0);
  CHECK(rows[4]["method"] == "gptq");
  CHECK(rows[4]["format"] == "w8a8-dynamic");
  CHECK(rows[4]["group_size"] == -1);
}

TEST_CASE("the CSV report is a table with a header") {
  const TemporaryDirectory directory;
  TinyModel().write(directory / "m");
  const std::string report = (directory / "r.csv").string();
  (void)output_of({"compare", (directory / "m").string(), "--formats", "int4,nf4", "--threads", "1",
                   "--report", report});
  const auto lines = split(read_text(report), '\n');
  REQUIRE(lines.size() == 1 + 3);
  const auto header = split(lines[0], ',');
  CHECK(header.size() == 18);
  for (const std::string& line : lines) CHECK(split(line, ',').size() == header.size());
  const auto column = std::find(header.begin(), header.end(), "format") - header.begin();
  CHECK(split(lines[3], ',')[static_cast<std::size_t>(column)] == "nf4");
}

TEST_CASE("token ids give the numbers of the text they stand for") {
  const TemporaryDirectory directory;
  TinyModel().write(directory / "m");
  const std::string m = (directory / "m").string();
  const auto evaluate = [&](const std::vector<std::string>& options) {
    const std::string report = (directory / "r.json").string();
    std::vector<std::string> words{"eval", m, "--threads", "1", "--report", report};
    words.insert(words.end(), options.begin(), options.end());
    (void)output_of(words);
    return read_json(report);
  };
  const json text = evaluate({});
  CHECK(text["predictions"] == 256);
  CHECK(text["bits_per_byte"].get<double>() ==
        Approx(text["nats_per_token"].get<double>() / std::log(2.0)));
  const std::string content = read_text(directory / "m/eval.txt");
  std::vector<std::int32_t> narrow;
  std::vector<std::int64_t> wide;
  for (const char c : content) {
    narrow.push_back(static_cast<unsigned char>(c));
    wide.push_back(static_cast<unsigned char>(c));
  }
  const std::string raw(reinterpret_cast<const char*>(narrow.data()), narrow.size() * 4);
  for (const std::string& file : {npy(narrow), npy(wide), raw}) {
    write_text(directory / "ids", file);
    const json tokens = evaluate({"--tokens", (directory / "ids").string()});
    CHECK(tokens["nats_per_token"] == text["nats_per_token"]);
    CHECK(tokens["bits_per_byte"].is_null());
  }
  SECTION("in calibration too") {
    std::vector<std::int32_t> ids;
    for (const char c : read_text(directory / "m/calib.txt"))
      ids.push_back(static_cast<unsigned char>(c));
    write_text(directory / "ids", npy(ids));
    const auto quantize = [&](const std::vector<std::string>& options) {
      const std::string out = (directory / "q").string();
      std::vector<std::string> words{"quantize", m,      "--out",     out, "--force",
                                     "--method", "gptq", "--threads", "1"};
      words.insert(words.end(), options.begin(), options.end());
      (void)output_of(words);
      return directory_content(out);
    };
    CHECK(quantize({}) == quantize({"--calib-tokens", (directory / "ids").string()}));
    CHECK(quantize({}) != quantize({"--calib-windows", "3"}));
  }
}

TEST_CASE("a sharded model quantizes to the bytes of its single file") {
  const TemporaryDirectory directory;
  const TinyModel model({.tied = true, .biased = {"self_attn.k_proj"}, .dtype = DType::BF16});
  model.write(directory / "one");
  model.write_sharded(directory / "three", 3);
  for (const std::string name : {"one", "three"})
    (void)output_of({"quantize", (directory / name).string(), "--out",
                     (directory / ("q-" + name)).string(), "--method", "gptq", "--threads", "1"});
  // The manifest too: what it identifies is the tensors, however they are cut into files.
  CHECK(directory_content(directory / "q-one") == directory_content(directory / "q-three"));
}

TEST_CASE("inspect lists a model, a file, a quantized and a packed model") {
  const TemporaryDirectory directory;
  TinyModel().write(directory / "m");
  const std::string m = (directory / "m").string(), q = (directory / "q").string();
  const std::string name = "model.layers.1.mlp.down_proj.weight";
  CHECK_THAT(output_of({"inspect", m}),
             ContainsSubstring("2 blocks, 64 wide") && ContainsSubstring("quantization: none") &&
                 ContainsSubstring(name) && ContainsSubstring("[64, 96]"));
  CHECK_THAT(output_of({"inspect", m + "/model.safetensors"}),
             ContainsSubstring(name) && ContainsSubstring("21 tensors"));
  for (const std::string save_as : {"pare", "gptq", "awq"}) {
    (void)output_of({"quantize", m, "--out", q, "--force", "--format", "uint4", "--group-size",
                     "32", "--save-as", save_as});
    CHECK_THAT(output_of({"inspect", q}), ContainsSubstring("quantization: " + save_as) &&
                                              ContainsSubstring("self_attn.q_proj") &&
                                              ContainsSubstring("uint4"));
  }
  const std::string p = (directory / "p").string();
  (void)output_of({"pack", q, "--out", p});
  CHECK_THAT(output_of({"inspect", p}),
             ContainsSubstring("quantization: pare, packed") && ContainsSubstring("7 tensors, ") &&
                 ContainsSubstring("14 packed matrices in 2 files, ") &&
                 ContainsSubstring("model.layers.1.mlp.down_proj") &&
                 ContainsSubstring("[64, 96]") && ContainsSubstring("kernel for one token") &&
                 ContainsSubstring("uint4 x float"));
  CHECK_THAT(output_of({"inspect", p + "/block-00002-of-00002.pack"}),
             ContainsSubstring("model.layers.1.mlp.down_proj") && ContainsSubstring("uint4") &&
                 ContainsSubstring("7 packed matrices, "));
}

TEST_CASE("generate repeats itself, and draws other texts from other seeds") {
  const auto text = [](const std::string& seed, const std::string& threads) {
    return output_of({"generate", "--prompt", "And it came to pass", "--length", "40",
                      "--temperature", "0.9", "--seed", seed, "--threads", threads});
  };
  const std::string first = text("1", "1");
  CHECK(first.starts_with("And it came to pass"));
  CHECK(first.size() == 19 + 40 + 1);
  CHECK(text("1", "1") == first);
  CHECK(text("1", "2") == first);
  CHECK(text("2", "1") != first);
  const std::string likeliest = output_of({"generate", "--prompt", "In the ", "--length", "30"});
  CHECK(output_of({"generate", "--prompt", "In the ", "--length", "30", "--seed", "9"}) ==
        likeliest);
}

TEST_CASE("bench reads as many tokens as the context has room for") {
  CHECK_THAT(output_of({"bench", "--tokens", "2", "--threads", "1"}),
             ContainsSubstring("prefill of 254 tokens"));
}

TEST_CASE("bench says how fast a model runs, on which kernels, beside which limits") {
  const TemporaryDirectory directory;
  TinyModel().write(directory / "m");
  const std::string m = (directory / "m").string(), q = (directory / "q").string(),
                    p = (directory / "p").string();
  const std::vector<std::string> few{"--prompt", "20", "--tokens", "4", "--threads", "1"};
  const auto bench = [&](const std::string& model) {
    std::vector<std::string> words{"bench", model};
    words.insert(words.end(), few.begin(), few.end());
    return output_of(words);
  };
  CHECK_THAT(bench(m), ContainsSubstring("loading: ") && ContainsSubstring(" s, float32") &&
                           ContainsSubstring("prefill of 20 tokens, 1 thread: float32 gemm") &&
                           ContainsSubstring("decode: float32 gemm") &&
                           ContainsSubstring("MB per token"));
  (void)output_of({"quantize", m, "--out", q, "--format", "w4a8-dynamic"});
  const auto check = [](const std::string& text, const std::string& loaded) {
    CHECK_THAT(text, ContainsSubstring("loading: ") && ContainsSubstring(loaded) &&
                         ContainsSubstring("1 thread: int4 x int8: ") &&
                         ContainsSubstring("decode: int4 x int8: "));
  };
  check(bench(q), " s, codes packed");
  (void)output_of({"pack", q, "--out", p});
  check(bench(p), " s, packed files copied into huge pages");
  check(output_of({"bench", p, "--map", "--prompt", "20", "--tokens", "4", "--threads", "1"}),
        " s, packed files mapped");
}

TEST_CASE("a random checkpoint is the same each time, and usable") {
  const TemporaryDirectory directory;
  const auto make = [&](const std::string& name, const std::string& dtype) {
    (void)output_of({"make-checkpoint", "--out", (directory / name).string(), "--layers", "2",
                     "--hidden", "64", "--intermediate", "96", "--heads", "4", "--kv-heads", "2",
                     "--vocab", "300", "--dtype", dtype});
  };
  make("a", "bf16");
  make("b", "bf16");
  CHECK(directory_content(directory / "a") == directory_content(directory / "b"));
  make("c", "f32");
  for (const char* name : {"a", "c"}) {
    (void)output_of({"quantize", (directory / name).string(), "--out", (directory / "q").string(),
                     "--force", "--method", "gptq", "--window", "32", "--calib-windows", "4"});
    CHECK_THAT(output_of({"eval", (directory / "q").string(), "--tokens",
                          (directory / name).string() + "/eval.npy", "--window", "64"}),
               ContainsSubstring("perplexity"));
  }
}
