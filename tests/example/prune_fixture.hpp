#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "pare/io/safetensors_collection.hpp"
#include "support/program.hpp"
#include "support/tiny_model.hpp"

namespace pare::test {

/// A tiny model with a text to calibrate on, and the command that prunes it.
struct PruneFixture {
  TemporaryDirectory directory;
  std::string source = path("m");

  explicit PruneFixture(DType dtype = DType::F32) {
    TinyModel({.dtype = dtype}).write(source);
    std::string text;
    for (int i = 0; i < 600; ++i) text += static_cast<char>('a' + i * i % 26);
    write_text(path("calib.txt"), text);
  }
  [[nodiscard]] std::string path(const std::string& name) const {
    return (directory / name).string();
  }
  [[nodiscard]] std::vector<std::string> prune(const std::string& out,
                                               const std::vector<std::string>& more) const {
    std::vector<std::string> words{"prune",           source,     "--out", path(out),   "--calib",
                                   path("calib.txt"), "--window", "32",    "--threads", "1"};
    // What needs no calibration takes none.
    if (std::find(more.begin(), more.end(), "magnitude") != more.end())
      words.assign({"prune", source, "--out", path(out), "--threads", "1"});
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  [[nodiscard]] Matrix<float> weight(const std::string& model, const std::string& name) const {
    return SafetensorsCollection::open(path(model)).read_matrix(name + ".weight");
  }

  /// [64, 96]
  static constexpr const char* layer = "model.layers.1.mlp.down_proj";
};

}  // namespace pare::test
