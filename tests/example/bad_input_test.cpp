#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "pare/io/json.hpp"
#include "pare/io/packed_file.hpp"
#include "support/catch.hpp"
#include "support/program.hpp"
#include "support/tiny_model.hpp"

namespace {

using namespace pare;
using namespace pare::test;
using nlohmann::json;

/// A tiny model in a directory of its own, and runs that must fail.
class BadInputFixture {
 public:
  BadInputFixture() { model.write(directory / "m"); }

  [[nodiscard]] std::string path(const std::string& name) const {
    return (directory / name).string();
  }

  /// Runs a command that must be refused before any work: one line, and no output.
  [[nodiscard]] std::string refusal(const std::vector<std::string>& arguments) const {
    const std::string line = failure(arguments);
    CHECK(outcome.error_lines() == 1);
    CHECK(outcome.out.empty());
    return line;
  }
  /// Runs a command that must fail, maybe after progress was shown; the last line is the error.
  [[nodiscard]] std::string failure(const std::vector<std::string>& arguments,
                                    rlim_t file_limit_bytes = RLIM_INFINITY) const {
    const auto before = directory.entries();
    outcome = run_pare(arguments, file_limit_bytes);
    CAPTURE(outcome.err);
    CHECK(outcome.status > 0);
    CHECK(outcome.last_error().starts_with("pare: "));
    // Finished blocks stay, which preflight_test.cpp shows; nothing else does.
    for (const char* unfinished : {"q.partial", "p.partial"})
      std::filesystem::remove_all(directory / unfinished);
    CHECK(directory.entries() == before);
    return outcome.last_error();
  }
  [[nodiscard]] std::vector<std::string> quantize(const std::vector<std::string>& options) const {
    std::vector<std::string> words{"quantize", path("m"), "--out", path("q"), "--threads", "1"};
    words.insert(words.end(), options.begin(), options.end());
    return words;
  }

  TinyModel model;
  TemporaryDirectory directory;
  mutable Outcome outcome;
};

/// A safetensors file around a header that a writer would not produce.
std::string safetensors(const std::string& header, std::size_t data_bytes) {
  std::string file;
  for (int shift = 0; shift < 64; shift += 8)
    file += static_cast<char>(static_cast<std::uint64_t>(header.size()) >> shift);
  return file + header + std::string(data_bytes, '\0');
}

std::string tensor(const std::string& name, const std::string& dtype, const std::string& shape,
                   const std::string& offsets) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape +
         ",\"data_offsets\":" + offsets + "}";
}

}  // namespace

TEST_CASE("a malformed safetensors file is refused by name and reason") {
  const BadInputFixture fixture;
  const std::string file = fixture.path("m/model.safetensors");
  const std::string good = read_text(file);
  const struct {
    const char* what;
    std::string content;
  } cases[] = {
      {"empty", ""},
      {"shorter than a length", good.substr(0, 5)},
      {"a header cut short", good.substr(0, 200)},
      {"data cut short", good.substr(0, good.size() - 1)},
      {"data left over", good + "x"},
      {"a length beyond the file", std::string(7, '\x10') + '\0' + good.substr(8)},
      {"a length that overflows", std::string(8, '\xff') + good.substr(8)},
      {"no JSON", safetensors("{\"a\": tru", 0)},
      {"no object", safetensors("[]", 0)},
      {"not UTF-8", safetensors("{" + tensor("\xff\xfe", "F32", "[1]", "[0,4]") + "}", 4)},
      {"deep nesting", safetensors(std::string(100000, '['), 0)},
      {"overlapping tensors", safetensors("{" + tensor("a", "F32", "[2]", "[0,8]") + "," +
                                              tensor("b", "F32", "[2]", "[4,12]") + "}",
                                          12)},
      {"a hole", safetensors("{" + tensor("a", "F32", "[1]", "[4,8]") + "}", 8)},
      {"reversed offsets", safetensors("{" + tensor("a", "F32", "[1]", "[4,0]") + "}", 4)},
      {"offsets of another size", safetensors("{" + tensor("a", "F32", "[3]", "[0,8]") + "}", 8)},
      {"a shape that overflows",
       safetensors("{" + tensor("a", "F32", "[4294967296,4294967296]", "[0,0]") + "}", 0)},
      {"a negative extent", safetensors("{" + tensor("a", "F32", "[-1]", "[0,4]") + "}", 4)},
      {"an unknown type", safetensors("{" + tensor("a", "F33", "[1]", "[0,4]") + "}", 4)},
      {"a field of another type",
       safetensors("{\"a\":{\"dtype\":1,\"shape\":[1],\"data_offsets\":[0,4]}}", 4)},
      {"a missing field", safetensors("{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4)},
  };
  for (const auto& c : cases) {
    CAPTURE(c.what);
    write_text(file, c.content);
    CHECK_THAT(fixture.refusal(fixture.quantize({})), ContainsSubstring(file));
    CHECK_THAT(fixture.refusal({"inspect", file}), ContainsSubstring(file));
  }
}

TEST_CASE("a model that is not what its configuration says is refused before work begins") {
  BadInputFixture fixture;
  const std::string config = fixture.path("m/config.json");
  const struct {
    const char* what;
    std::function<void(TinyModel&)> change;
    std::vector<std::string> words;
  } cases[] = {
      {"a missing tensor",
       [](TinyModel& m) { m.remove("model.layers.1.mlp.up_proj.weight"); },
       {"model.safetensors", "model.layers.1.mlp.up_proj.weight"}},
      {"a misshapen tensor",
       [](TinyModel& m) {
         m.tensor("model.layers.1.mlp.down_proj.weight").shape = {96, 64};
       },
       {"model.layers.1.mlp.down_proj.weight", "[96, 64]", "[64, 96]"}},
      {"a missing field",
       [](TinyModel& m) { m.config.erase("hidden_size"); },
       {config, "\"hidden_size\" is missing"}},
      {"an absurd field",
       [](TinyModel& m) { m.config["num_attention_heads"] = -4; },
       {config, "\"num_attention_heads\" is -4"}},
      {"a text for a number",
       [](TinyModel& m) { m.config["vocab_size"] = "256"; },
       {config, "\"vocab_size\" is \"256\""}},
      {"another architecture",
       [](TinyModel& m) { m.config["model_type"] = "falcon"; },
       {config, "\"model_type\"", "falcon"}},
      {"absurdly large",
       [](TinyModel& m) { m.config["head_dim"] = std::int64_t{1} << 31; },
       {"model.layers.0.self_attn.q_proj.weight"}},
      {"settings of an unknown tool",
       [](TinyModel& m) {
         m.config["quantization_config"] = {{"quant_method", "hqq"}};
       },
       {config, "hqq"}},
      {"settings of another type",
       [](TinyModel& m) { m.config["quantization_config"] = "gptq"; },
       {config}},
  };
  for (const auto& c : cases) {
    CAPTURE(c.what);
    TinyModel changed = fixture.model;
    c.change(changed);
    changed.write(fixture.directory / "m");
    // Of another family matrices can be rounded.
    for (const auto& command : {fixture.quantize({"--method", "gptq"}),
                                {"eval", fixture.path("m")},
                                {"compare", fixture.path("m")},
                                {"generate", fixture.path("m"), "--prompt", "x"}}) {
      CAPTURE(command[0]);
      const std::string line = fixture.refusal(command);
      for (const std::string& word : c.words) CHECK_THAT(line, ContainsSubstring(word));
    }
  }
  write_text(config, "{\"vocab_size\": 256,}");
  CHECK_THAT(fixture.refusal(fixture.quantize({})), ContainsSubstring(config + ": no valid JSON"));
  std::filesystem::remove(config);
  CHECK_THAT(fixture.refusal({"eval", fixture.path("m")}), ContainsSubstring(config));
  CHECK_THAT(fixture.refusal({"eval", fixture.path("nowhere")}),
             ContainsSubstring(fixture.path("nowhere") + ": there is no such directory"));
}

namespace {

/// The files of a packed model, to be damaged by a test.
struct PackedDirectory {
  std::filesystem::path path;

  [[nodiscard]] std::filesystem::path block() const { return path / "block-00002-of-00002.pack"; }
  void change_settings(const std::function<void(json&)>& change) const {
    json config = read_json(path / "config.json");
    change(config["quantization_config"]);
    write_json(path / "config.json", config);
  }
  /// Writes the block's file anew with other matrices.
  void change_matrices(const std::function<void(PackedMatrices&)>& change) const {
    PackedMatrices matrices = load_packed(block());
    change(matrices);
    std::vector<PackedEntry> entries;
    for (const auto& [name, matrix] : matrices) entries.emplace_back(name, matrix);
    save_packed(block(), entries);
  }
  /// Changes the table of the block's file, whose checksum stays right.
  void change_record(const std::string& name,
                     const std::function<void(PackedRecord&)>& change) const {
    std::string file = read_text(block());
    PackedHeader header = PackedHeader::parse(std::as_bytes(std::span(file)));
    for (PackedRecord& record : header.records)
      if (record.name == name) change(record);
    const auto table = header.encode();
    std::memcpy(file.data(), table.data(), table.size());
    write_text(block(), file);
  }
};

}  // namespace

TEST_CASE("a packed model that is not whole is refused by file, matrix and reason") {
  const BadInputFixture fixture;
  REQUIRE(run_pare({"quantize", fixture.path("m"), "--out", fixture.path("q")}).status == 0);
  const PackedDirectory packed{fixture.directory / "p"};
  const std::string block = packed.block().string(), config = fixture.path("p") + "/config.json",
                    q = "model.layers.1.self_attn.q_proj",
                    down = "model.layers.1.mlp.down_proj";  // the first by name in its file
  const struct {
    const char* what;
    std::function<void()> damage;
    std::vector<std::string> words;
    bool seen_when_mapped = true;
  } cases[] = {
      {"a missing file",
       [&] { std::filesystem::remove(packed.block()); },
       {block, down, "No such file"}},
      {"an empty file", [&] { write_text(packed.block(), ""); }, {block, down, "an empty file"}},
      {"a file cut short",
       [&] { std::filesystem::resize_file(packed.block(), file_size(packed.block()) - 1); },
       {block, down, "truncated"}},
      {"another file",
       [&] { write_text(packed.block(), std::string(5000, 'x')); },
       {block, down, "this is a text, not a file of packed matrices"}},
      {"a damaged table",
       [&] {
         std::string file = read_text(packed.block());
         file[100] ^= 1;
         write_text(packed.block(), file);
       },
       {block, down, "checksum of the table"}},
      {"a damaged matrix",
       [&] {
         std::string file = read_text(packed.block());
         file[PackedFile(packed.block()).records()[3].offset_bytes] ^= 1;
         write_text(packed.block(), file);
       },
       {block, "model.layers.1.self_attn.o_proj", "checksum of the payload"},
       false},
      {"a matrix of another shape",
       [&] { packed.change_matrices([&](PackedMatrices& m) { m.at(down) = m.at(q); }); },
       {block, down, "[64, 64]", "[64, 96]"}},
      {"an unknown format",
       [&] { packed.change_record(down, [](PackedRecord& r) { r.format = "int17"; }); },
       {block, down, "int17"}},
      {"an unknown layout of a matrix",
       [&] { packed.change_record(down, [](PackedRecord& r) { r.layout = "spiral"; }); },
       {block, down, "spiral"}},
      {"a missing matrix",
       [&] { packed.change_matrices([&](PackedMatrices& m) { m.erase(down); }); },
       {block, down, "is missing"}},
      {"a matrix too many",
       [&] { packed.change_matrices([&](PackedMatrices& m) { m.emplace("head", m.at(q)); }); },
       {block, "\"head\" is not expected"}},
      {"the matrices of another block",
       [&] {
         std::filesystem::copy_file(packed.path / "block-00001-of-00002.pack", packed.block(),
                                    std::filesystem::copy_options::overwrite_existing);
       },
       {block, "model.layers.0.", "is not expected"}},
      {"a layer that the model lacks",
       [&] {
         packed.change_matrices([&](PackedMatrices& m) { m.emplace("head", m.at(q)); });
         packed.change_settings([&](json& s) { s["layers"]["head"] = s["layers"][q]; });
       },
       {block, "\"head\"", "no such layer"}},
      {"a layer that is nowhere",
       [&] {
         packed.change_matrices([&](PackedMatrices& m) { m.erase(down); });
         packed.change_settings([&](json& s) { s["layers"].erase(down); });
       },
       {"index.json", down + ".weight"}},
      {"a layer without a file",
       [&] { packed.change_settings([&](json& s) { s["layers"][down].erase("file"); }); },
       {config, down, "\"file\" is missing"}},
      {"a file elsewhere",
       [&] { packed.change_settings([&](json& s) { s["layers"][down]["file"] = "../p/x.pack"; }); },
       {config, down, "../p/x.pack", "not the name of a file"}},
      {"activations of an unknown type",
       [&] {
         packed.change_settings([&](json& s) { s["layers"][down]["activations"] = {{"type", 1}}; });
       },
       {config, down, "\"type\""}},
      {"an unknown layout",
       [&] { packed.change_settings([](json& s) { s["layout"] = "folded"; }); },
       {config, "folded"}},
      {"a later version",
       [&] { packed.change_settings([](json& s) { s["version"] = 2; }); },
       {config, "\"version\""}},
  };
  for (const auto& c : cases) {
    CAPTURE(c.what);
    REQUIRE(run_pare({"pack", fixture.path("q"), "--out", fixture.path("p"), "--force"}).status ==
            0);
    c.damage();
    std::vector<std::vector<std::string>> commands{
        {"eval", fixture.path("p")},
        {"eval", fixture.path("q"), "--reference", fixture.path("p")},
        {"generate", fixture.path("p"), "--prompt", "x"}};
    if (c.seen_when_mapped) {
      commands.push_back({"generate", fixture.path("p"), "--prompt", "x", "--map"});
      commands.push_back({"bench", fixture.path("p"), "--map", "--prompt", "2", "--tokens", "2"});
    }
    for (const auto& command : commands) {
      CAPTURE(command);
      const std::string line = fixture.refusal(command);
      for (const std::string& word : c.words) CHECK_THAT(line, ContainsSubstring(word));
    }
  }
}

TEST_CASE("a weight that is not finite is named") {
  BadInputFixture fixture;
  const std::string name = "model.layers.1.mlp.down_proj.weight";
  const float bad =
      GENERATE(std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity());
  fixture.model.change(name, [&, n = 0](float v) mutable { return n++ == 100 ? bad : v; });
  fixture.model.write(fixture.directory / "m");
  const std::string position = name + " holds " + (bad != bad ? "NaN" : "infinity") + " at [1, 4]";
  for (const char* method : {"rtn", "gptq", "awq"}) {
    CAPTURE(method);
    CHECK_THAT(fixture.failure(fixture.quantize({"--method", method, "--format", "uint4"})),
               ContainsSubstring(position));
  }
  // An output that was to be replaced stays as it is.
  std::filesystem::create_directory(fixture.directory / "q");
  write_text(fixture.directory / "q/pare_manifest.json", "{}");
  CHECK_THAT(fixture.failure(fixture.quantize({"--force"})), ContainsSubstring(position));
  CHECK(read_text(fixture.directory / "q/pare_manifest.json") == "{}");
  CHECK_THAT(fixture.refusal({"eval", fixture.path("m")}), ContainsSubstring(position));
  CHECK_THAT(fixture.refusal({"compare", fixture.path("m")}), ContainsSubstring(position));
}

TEST_CASE("activations that overflow in calibration are an error naming the block") {
  BadInputFixture fixture;
  for (const char* layer : {"mlp.gate_proj", "mlp.up_proj"})
    fixture.model.change("model.layers.1." + std::string(layer) + ".weight",
                         [](float v) { return 1e25f * v; });
  fixture.model.write(fixture.directory / "m");
  for (const std::vector<std::string>& recipe : std::vector<std::vector<std::string>>{
           {"--method", "gptq"},
           {"--method", "awq", "--format", "uint4"},
           {"--format", "w8a8-static"},
           {"--format", "w8a8-static", "--observer", "mse"},
           {"--method", "smoothquant", "--format", "w8a8-dynamic"}}) {
    CAPTURE(recipe);
    CHECK_THAT(fixture.failure(fixture.quantize(recipe)),
               ContainsSubstring(fixture.path("m")) && ContainsSubstring("model.layers.1.mlp") &&
                   (ContainsSubstring("NaN") || ContainsSubstring("infinity") ||
                    ContainsSubstring("finite")));
  }
  for (const char* command : {"eval", "compare"})
    CHECK_THAT(fixture.failure({command, fixture.path("m"), "--threads", "1"}),
               ContainsSubstring("not a finite number"));
}

TEST_CASE("texts and token files that cannot be used are refused by name") {
  const BadInputFixture fixture;
  const std::string empty = fixture.path("empty.txt"), one = fixture.path("one.txt"),
                    ids = fixture.path("ids"), none = fixture.path("none.txt"),
                    m = fixture.path("m");
  write_text(empty, "");
  write_text(one, "x");
  const auto calibrated = [&](const char* option, const std::string& file) {
    return fixture.quantize({"--method", "gptq", option, file});
  };
  CHECK_THAT(fixture.refusal({"eval", m, "--text", empty}), ContainsSubstring(empty));
  CHECK_THAT(fixture.refusal({"eval", m, "--text", none}), ContainsSubstring(none));
  CHECK_THAT(fixture.refusal({"eval", m, "--text", m}), ContainsSubstring(m));
  CHECK_THAT(fixture.refusal({"eval", m, "--text", one}), ContainsSubstring("at least 2"));
  CHECK_THAT(fixture.refusal(calibrated("--calib", empty)), ContainsSubstring(empty));
  CHECK_THAT(fixture.refusal(calibrated("--calib", none)), ContainsSubstring(none));
  CHECK_THAT(fixture.refusal({"generate", m, "--prompt", ""}), ContainsSubstring("empty"));
  CHECK_THAT(fixture.refusal({"generate", m, "--prompt", std::string(40, 'x')}),
             ContainsSubstring("40 tokens") && ContainsSubstring("32"));

  const auto raw = [](std::vector<std::int32_t> values) {
    return std::string(reinterpret_cast<const char*>(values.data()), values.size() * 4);
  };
  const auto npy = [](std::string header, std::size_t bytes) {
    header.resize(118, ' ');
    return std::string("\x93NUMPY\x01\x00\x76\x00", 10) + header + std::string(bytes, '\0');
  };
  const struct {
    std::string content;
    const char* reason;
  } files[] = {
      {raw({1, 2, 256}), "token 2 is 256"},
      {raw({1, -1}), "token 1 is -1"},
      {raw({1, 2}) + "x", "9 bytes"},
      {"", "no token ids"},
      {"\x93NUMPY", "truncated"},
      {npy("{'descr': '<i4', 'shape': (3,), }", 8), "does not fit"},
      {npy("{'descr': '<f4', 'shape': (2,), }", 8), "neither"},
      {npy("{'descr': '<i4', 'shape': (1, 2), }", 8), "not one dimension"},
      {npy("{'descr': '<i4', }", 8), "shape"},
      {npy("{'descr': '<i4', 'shape': (99999999999999999999,), }", 8), "does not fit"},
  };
  for (const auto& file : files) {
    CAPTURE(file.reason);
    write_text(ids, file.content);
    CHECK_THAT(fixture.refusal({"eval", m, "--tokens", ids}),
               ContainsSubstring(ids) && ContainsSubstring(file.reason));
    CHECK_THAT(fixture.refusal(calibrated("--calib-tokens", ids)),
               ContainsSubstring(ids) && ContainsSubstring(file.reason));
  }

  TinyModel({.vocab = 300}).write(m);  // not of bytes: no text stands in for a missing one
  std::filesystem::remove(fixture.path("m/eval.txt"));
  std::filesystem::remove(fixture.path("m/calib.txt"));
  CHECK_THAT(fixture.refusal({"eval", m}), ContainsSubstring("--text"));
  CHECK_THAT(fixture.refusal(fixture.quantize({"--method", "awq"})), ContainsSubstring("--calib"));
}

TEST_CASE("an output that cannot be written is an error naming the file") {
  const BadInputFixture fixture;
  const std::string m = fixture.path("m");
  write_text(fixture.path("file"), "");
  const std::string below = fixture.path("file") + "/q";
  CHECK_THAT(fixture.refusal({"quantize", m, "--out", below}), ContainsSubstring(below));
  CHECK_THAT(fixture.refusal({"quantize", m, "--out", ""}), ContainsSubstring("--out"));
  CHECK_THAT(fixture.refusal({"quantize", m, "--out", m, "--force"}), ContainsSubstring("--out"));
  CHECK(exists(fixture.directory / "m/model.safetensors"));
  CHECK_THAT(fixture.refusal({"make-checkpoint", "--out", m}), ContainsSubstring("exists"));
  CHECK_THAT(fixture.refusal({"eval", m, "--report", below + "/r.json"}),
             ContainsSubstring(below + "/r.json"));
  CHECK_THAT(fixture.refusal({"compare", m, "--report", below + "/r.csv"}),
             ContainsSubstring(below + "/r.csv"));

  // A block takes about 25 kB; the first bytes fit, and then the disk is full.
  for (const rlim_t limit : {rlim_t{100}, rlim_t{10000}, rlim_t{40000}}) {
    CAPTURE(limit);
    CHECK_THAT(fixture.failure(fixture.quantize({"--format", "int8"}), limit),
               ContainsSubstring(fixture.path("q.partial")) && ContainsSubstring("File too large"));
  }
  REQUIRE(run_pare({"quantize", m, "--out", fixture.path("q")}).status == 0);
  for (const rlim_t limit : {rlim_t{1000}, rlim_t{30000}, rlim_t{100000}}) {
    CAPTURE(limit);
    CHECK_THAT(fixture.failure({"pack", fixture.path("q"), "--out", fixture.path("p")}, limit),
               ContainsSubstring(fixture.path("p.partial")) && ContainsSubstring("File too large"));
  }
}
