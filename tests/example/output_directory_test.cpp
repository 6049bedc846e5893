#include <sys/stat.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "cli/replace_directory.hpp"
#include "pare/io/atomic_file.hpp"
#include "pare/io/json.hpp"
#include "support/catch.hpp"
#include "support/directory_content.hpp"
#include "support/killed_run.hpp"
#include "support/program.hpp"
#include "support/tiny_model.hpp"

namespace {

using namespace pare;
using namespace pare::test;
namespace fs = std::filesystem;

/// Paths and contents of all that is below a directory; links are not followed.
std::map<std::string, std::string> tree(const fs::path& directory) {
  std::map<std::string, std::string> content;
  for (const auto& entry : fs::recursive_directory_iterator(directory))
    content[entry.path().string()] = entry.is_symlink() ? fs::read_symlink(entry.path()).string()
                                     : entry.is_directory() ? "directory"
                                                            : read_text(entry.path());
  return content;
}

/// A float model `models/m`, what pare makes of it, `models/q`, and files to calibrate on.
class OutputFixture {
 public:
  OutputFixture() {
    model.write(path("models/m"));
    REQUIRE(run_pare({"quantize", text("models/m"), "--out", text("models/q")}).status == 0);
    fs::create_directories(path("texts"));
    fs::copy(path("models/m/calib.txt"), path("texts/calib.txt"));
  }
  [[nodiscard]] fs::path path(const std::string& name) const { return directory / name; }
  [[nodiscard]] std::string text(const std::string& name) const { return path(name).string(); }

  /// Runs what must be refused in one line, and nothing may change.
  [[nodiscard]] std::string refusal(const std::vector<std::string>& arguments) const {
    const auto before = tree(directory.path());
    const Outcome outcome = run_pare(arguments);
    CAPTURE(arguments, outcome.err);
    CHECK(outcome.status == 1);
    CHECK(outcome.error_lines() == 1);
    CHECK(outcome.out.empty());
    CHECK(tree(directory.path()) == before);
    return outcome.last_error();
  }

  TinyModel model;
  TemporaryDirectory directory;
};

}  // namespace

TEST_CASE("an output that would take an input with it is refused by every command") {
  const OutputFixture fixture;
  fs::create_directory_symlink(fixture.path("models"), fixture.path("link"));
  fs::create_directory_symlink(fixture.path("models/m"), fixture.path("m-link"));
  // As caches of downloads are: the model's files are links to where they lie.
  fs::create_directory(fixture.path("cached"));
  fs::create_directory(fixture.path("blobs"));
  fs::copy(fixture.path("models/m"), fixture.path("blobs/"));
  for (const auto& entry : fs::directory_iterator(fixture.path("blobs")))
    fs::create_symlink(entry.path(), fixture.path("cached") / entry.path().filename());
  // Each of these would be replaced if it were none of the inputs' places.
  for (const char* name : {"models", "models/m", "blobs", "texts"})
    write_text(fixture.path(name) / "pare_manifest.json", "{}");
  const struct {
    const char *model, *out, *reason;
  } cases[] = {
      {"models/m", "models/m", "is the model itself"},
      {"models/m", "models/m/", "is the model itself"},
      {"models/m", "models/../models/./m", "is the model itself"},
      {"models/m", "m-link", "is the model itself"},
      {"m-link", "models/m", "is the model itself"},
      {"models/m", "models", "contains the model"},
      {"models/m", "models/", "contains the model"},
      {"models/m", "models/m/..", "contains the model"},
      {"models/m", "link", "contains the model"},
      {"link/m", "models", "contains the model"},
      {"m-link", "models", "contains the model"},
      {"models/m", ".", "contains the model"},
      {"models/m", "models/m/q", "lies inside the model"},
      {"models/m", "m-link/new/q", "lies inside the model"},
      {"m-link", "link/m/q", "lies inside the model"},
      {"cached", "blobs", "contains a file that is read"},
  };
  for (const auto& c : cases) {
    CAPTURE(c.model, c.out);
    const std::string out = fixture.text(c.out);
    CHECK_THAT(fixture.refusal({"quantize", fixture.text(c.model), "--out", out, "--force"}),
               ContainsSubstring(c.reason) && ContainsSubstring("--out"));
    CHECK_THAT(fixture.refusal({"quantize", fixture.text(c.model), "--out", out}),
               ContainsSubstring(c.reason));
    CHECK_THAT(fixture.refusal({"pack", fixture.text(c.model), "--out", out, "--force"}),
               ContainsSubstring(c.reason));
  }
  for (const char* out : {"texts", "texts/../texts/"})
    CHECK_THAT(
        fixture.refusal({"quantize", fixture.text("models/m"), "--method", "gptq", "--calib",
                         fixture.text("texts/calib.txt"), "--out", fixture.text(out), "--force"}),
        ContainsSubstring("contains a file that is read"));
  // The place of the unfinished work must not be an input either.
  fs::rename(fixture.path("models/q"), fixture.path("packed.partial"));
  CHECK_THAT(fixture.refusal({"pack", fixture.text("packed.partial"), "--out",
                              fixture.text("packed"), "--force"}),
             ContainsSubstring("packed.partial is the model itself"));
}

TEST_CASE("names that are alike are no reason to refuse an output") {
  const OutputFixture fixture;
  for (const char* out : {"models/m2", "models/m.q", "models/new/../n", "texts/q/"}) {
    CAPTURE(out);
    CHECK(run_pare({"quantize", fixture.text("models/m"), "--out", fixture.text(out)}).status == 0);
  }
}

TEST_CASE("only what pare made is replaced, and only when asked to") {
  const OutputFixture fixture;
  const auto quantize = [&](const std::string& out) {
    return std::vector<std::string>{"quantize", fixture.text("models/m"), "--out",
                                    fixture.text(out)};
  };
  const auto forced = [&](const std::string& out) {
    auto words = quantize(out);
    words.push_back("--force");
    return words;
  };
  const auto expected = directory_content(fixture.path("models/q"));

  SECTION("another directory never, whatever it holds") {
    fs::create_directory(fixture.path("own"));
    for (const char* file : {"precious", "config.json", "model.safetensors", "pare_manifest"}) {
      write_text(fixture.path("own") / file, "data");
      CHECK_THAT(fixture.refusal(quantize("own")), ContainsSubstring("pare did not make it"));
      CHECK_THAT(fixture.refusal(forced("own")), ContainsSubstring("pare did not make it"));
      CHECK_THAT(fixture.refusal(forced("own/")), ContainsSubstring("pare did not make it"));
    }
    fs::create_directory(fixture.path("own/pare_manifest.json"));
    CHECK_THAT(fixture.refusal(forced("own")), ContainsSubstring("pare did not make it"));
    CHECK_THAT(fixture.refusal({"make-checkpoint", "--out", fixture.text("own"), "--force"}),
               ContainsSubstring("pare did not make it"));
  }
  SECTION("an empty one and one of pare's with --force") {
    fs::create_directory(fixture.path("empty"));
    for (const char* out : {"empty", "models/q"}) {
      CHECK_THAT(fixture.refusal(quantize(out)), ContainsSubstring("exists: choose another --out"));
      CHECK(run_pare(forced(out)).status == 0);
      CHECK(directory_content(fixture.path(out)) == expected);
      CHECK_FALSE(exists(fixture.path(std::string(out) + ".partial")));
    }
  }
  SECTION("what its owner put into one of pare's stays") {
    write_text(fixture.path("models/q/notes.txt"), "mine");
    fs::create_directory(fixture.path("models/q/fp16"));
    write_text(fixture.path("models/q/fp16/model.safetensors"), "mine too");
    const Outcome outcome = run_pare(forced("models/q"));
    CHECK(outcome.status == 0);
    CHECK_THAT(outcome.err, ContainsSubstring("notes.txt stays: pare did not write it"));
    CHECK(read_text(fixture.path("models/q/notes.txt")) == "mine");
    CHECK(read_text(fixture.path("models/q/fp16/model.safetensors")) == "mine too");
    CHECK_FALSE(exists(fixture.path("models/q.partial")));
    CHECK(run_pare({"inspect", fixture.text("models/q")}).status == 0);

    write_text(fixture.path("models/q/model.safetensors"), "would be read for the model");
    CHECK_THAT(fixture.refusal(forced("models/q")),
               ContainsSubstring("q/model.safetensors would become a part of the new model"));
  }
  SECTION("a link stays and leads to the new one") {
    fs::create_directory_symlink("models/q", fixture.path("link"));
    CHECK(run_pare(forced("link")).status == 0);
    CHECK(fs::is_symlink(fixture.path("link")));
    CHECK(directory_content(fixture.path("models/q")) == expected);
    fs::create_directory_symlink("nowhere", fixture.path("dangling"));
    CHECK_THAT(fixture.refusal(forced("dangling")), ContainsSubstring("leads nowhere"));
    fs::create_directory(fixture.path("own"));
    write_text(fixture.path("own/precious"), "data");
    fs::create_directory_symlink("own", fixture.path("own-link"));
    CHECK_THAT(fixture.refusal(forced("own-link")), ContainsSubstring("pare did not make it"));
  }
  SECTION("a file never") {
    write_text(fixture.path("file"), "data");
    CHECK_THAT(fixture.refusal(forced("file")), ContainsSubstring("is no directory"));
    CHECK_THAT(fixture.refusal(forced("file/q")), ContainsSubstring("is no directory"));
  }
}

TEST_CASE("a partial directory that is not of pare is named and left alone") {
  const OutputFixture fixture;
  const fs::path partial = fixture.path("new.partial");
  const std::vector<std::pair<const char*, std::function<void()>>> cases{
      {"another's files",
       [&] {
         fs::create_directory(partial);
         write_text(partial / "notes.txt", "mine");
       }},
      {"another's model", [&] { fixture.model.write(partial); }},
      {"a file", [&] { write_text(partial, "mine"); }},
      {"a link to a directory", [&] { fs::create_directory_symlink("texts", partial); }},
      {"a link to one of pare's", [&] { fs::create_directory_symlink("models/q", partial); }},
      {"a link to nothing", [&] { fs::create_directory_symlink("nowhere", partial); }},
  };
  for (const auto& [what, make] : cases) {
    CAPTURE(what);
    fs::remove_all(partial);
    make();
    for (const bool force : {false, true}) {
      std::vector<std::string> quantize{"quantize", fixture.text("models/m"), "--out",
                                        fixture.text("new")};
      std::vector<std::string> pack{"pack", fixture.text("models/q"), "--out", fixture.text("new")};
      std::vector<std::string> make_checkpoint{"make-checkpoint", "--out", fixture.text("new")};
      for (auto* words : {&quantize, &pack, &make_checkpoint}) {
        if (force) words->push_back("--force");
        CHECK_THAT(fixture.refusal(*words), ContainsSubstring("new.partial"));
      }
    }
  }
  // What a kill in the first moment leaves.
  fs::remove_all(partial);
  fs::create_directory(partial);
  write_text(partial / "pare_manifest.json.123-0.tmp", "{");
  CHECK(run_pare({"quantize", fixture.text("models/m"), "--out", fixture.text("new")}).status == 0);
  CHECK(directory_content(fixture.path("new")) == directory_content(fixture.path("models/q")));
}

TEST_CASE("copied files are writable whatever the source's are") {
  const OutputFixture fixture;
  write_text(fixture.path("models/m/generation_config.json"), "{}");
  for (const auto& entry : fs::directory_iterator(fixture.path("models/m")))
    fs::permissions(entry.path(), fs::perms::owner_read);
  REQUIRE(run_pare({"quantize", fixture.text("models/m"), "--out", fixture.text("new")}).status ==
          0);
  for (const auto& entry : fs::directory_iterator(fixture.path("new"))) {
    CAPTURE(entry.path());
    CHECK((entry.status().permissions() & fs::perms::owner_write) != fs::perms::none);
  }
  CHECK(read_text(fixture.path("new/generation_config.json")) == "{}");
}

TEST_CASE("a directory is replaced by an exchange of names or by two renames") {
  const TemporaryDirectory directory;
  for (const auto way : {cli::Replacement::exchange, cli::Replacement::two_renames}) {
    for (const char* name : {"made", "name"}) {
      fs::create_directory(directory / name);
      write_text(directory / name / "which", name);
    }
    const fs::path old =
        cli::replace_directory(directory / "made", directory / "name", directory / "spare", way);
    CHECK(read_text(directory / "name/which") == "made");
    CHECK(read_text(old / "which") == "name");
    fs::remove_all(directory / "name");
    fs::remove_all(old);
  }
  fs::create_directory(directory / "name");
  CHECK_THROWS_AS(cli::replace_directory(directory / "missing", directory / "name",
                                         directory / "spare", cli::Replacement::two_renames),
                  IoError);
  CHECK(directory.entries() == std::set<std::string>{"name"});
  fs::create_directory(directory / "made");
  write_text(directory / "spare", "another's");
  CHECK_THROWS_AS(cli::replace_directory(directory / "made", directory / "name",
                                         directory / "spare", cli::Replacement::two_renames),
                  IoError);
  CHECK(directory.entries() == std::set<std::string>{"made", "name", "spare"});
}

TEST_CASE("names of temporary files are told from others") {
  const std::pair<const char*, const char*> cases[]{{"a.json.12-0.tmp", "a.json"},
                                                    {"a.1-22.tmp", "a"},
                                                    {"a.tmp", ""},
                                                    {"a.12.tmp", ""},
                                                    {"a.12-.tmp", ""},
                                                    {"a.-1.tmp", ""},
                                                    {"12-0.tmp", ""},
                                                    {".12-0.tmp", ""},
                                                    {"a.12-0.tmp.x", ""},
                                                    {"", ""},
                                                    {"a.x12-0.tmp", ""},
                                                    {"a.12-0", ""}};
  for (const auto& [name, target] : cases) {
    CAPTURE(name);
    CHECK(atomic_file_target(name) == target);
  }
  const TemporaryDirectory directory;
  AtomicFile file(directory / "weights");
  CHECK(atomic_file_target(*directory.entries().begin()) == "weights");
}

TEST_CASE("what would fail or mix at the end is refused before the work") {
  const OutputFixture fixture;
  const std::string m = fixture.text("models/m"), o = fixture.text("o");
  const auto refusal = [&](std::vector<std::string> options) {
    std::vector<std::string> words{"quantize", m};
    words.insert(words.end(), options.begin(), options.end());
    return fixture.refusal(words);
  };
  CHECK_THAT(refusal({"--out", o, "--rule", ".*up_proj|\xff=int8"}), ContainsSubstring("UTF-8"));
  CHECK_THAT(refusal({"--out", "--force"}), ContainsSubstring("--out has no value: --force"));
  CHECK_THAT(refusal({"--out", ""}), ContainsSubstring("--out has an empty value"));
  CHECK_THAT(refusal({"--out", o, "--damping", ""}), ContainsSubstring("--damping has an empty"));
  // Backtracking would take longer than the universe has.
  CHECK_THAT(refusal({"--out", o, "--layers", "(([a-z0-9._])+)+X"}),
             ContainsSubstring("no layer's whole name matches"));

  fs::create_symlink("../nowhere", fixture.path("models/m/tokenizer.json"));
  CHECK_THAT(refusal({"--out", o}), ContainsSubstring("tokenizer.json: the link leads nowhere"));
  fs::remove(fixture.path("models/m/tokenizer.json"));

  TinyModel model;
  model.add("model.layers.0.mlp.up_proj.scales", {2}, 0.0f, 1.0f);
  model.write(fixture.path("models/m"));
  CHECK_THAT(refusal({"--out", o}), ContainsSubstring("up_proj.scales would be taken for a part"));
}

TEST_CASE("a file of another model does not become a part of one that is resumed") {
  const OutputFixture fixture;
  const std::string out = fixture.text("o");
  const std::vector<std::string> command{"quantize", fixture.text("models/m"), "--out", out};
  REQUIRE(killed_run(command, out, ".safetensors", 1));
  fs::copy(fixture.path("models/m/model.safetensors"), fixture.path("o.partial"));
  const Outcome refused = run_pare(command);
  CHECK(refused.status == 1);
  CHECK_THAT(refused.last_error(), ContainsSubstring("would become a part of the new model"));
  fs::remove(fixture.path("o.partial/model.safetensors"));
  CHECK(run_pare(command).status == 0);
}

TEST_CASE("a private directory stays private when it is replaced") {
  const OutputFixture fixture;
  const fs::path q = fixture.path("models/q");
  fs::permissions(q, fs::perms::owner_all);
  REQUIRE(run_pare({"quantize", fixture.text("models/m"), "--out", q.string(), "--force"}).status ==
          0);
  CHECK(fs::status(q).permissions() == fs::perms::owner_all);
}

TEST_CASE("results do not take the place of a model's files, links and pipes") {
  const OutputFixture fixture;
  const auto refusal = [&](const std::string& report) {
    return fixture.refusal({"eval", fixture.text("models/m"), "--no-speed", "--report", report});
  };
  CHECK_THAT(refusal(fixture.text("models/q/config.json")), ContainsSubstring("file of a model"));
  CHECK_THAT(refusal(fixture.text("models/q/pare_manifest.json")),
             ContainsSubstring("file of a model"));
  fs::create_symlink("elsewhere.json", fixture.path("link.json"));
  CHECK_THAT(refusal(fixture.text("link.json")), ContainsSubstring("no regular file"));
  REQUIRE(::mkfifo(fixture.path("pipe.json").c_str(), 0600) == 0);
  const Outcome outcome = run_pare(
      {"eval", fixture.text("models/m"), "--no-speed", "--report", fixture.text("pipe.json")});
  CHECK(outcome.status == 1);
  CHECK_THAT(outcome.last_error(), ContainsSubstring("no regular file"));
}

TEST_CASE("settings that call float weights quantized are not believed") {
  const OutputFixture fixture;
  TinyModel model;
  model.config["quantization_config"] = {
      {"quant_method", "gptq"}, {"bits", 4}, {"group_size", 32}, {"desc_act", false}};
  model.write(fixture.path("models/m"));
  for (const char* command : {"eval", "inspect"})
    CHECK_THAT(fixture.refusal({command, fixture.text("models/m")}),
               ContainsSubstring("quantized by gptq, but every weight in"));
}
