#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/linear.hpp"
#include "pare/io/packed_header.hpp"
#include "pare/kernels/execution.hpp"
#include "pare/kernels/quantized_activations.hpp"

namespace engine {

/// How packed matrices come into memory.
enum class PackedAccess {
  load,  ///< copied into huge pages, checksums compared: what kernels read fastest
  map,   ///< where they lie in the file, there at once, in ordinary pages; checksums are not read
};

/// A layer of a packed checkpoint.
struct PackedLayer {
  std::string file;           ///< beside config.json
  pare::PackedRecord record;  ///< of the matrix, under the layer's name
  std::optional<pare::ActivationOptions> activations{};
};

/// The layers of a packed checkpoint: files of matrices that kernels read as they are. config.json
/// says where each layer is; tensors that are not packed, biases too, are safetensors as ever.
///
///     "quantization_config": {"quant_method": "pare", "version": 1, "layout": "packed", "layers":
///         {name: {"file": "block-00001-of-00022.pack", "activations": {"type": "dynamic"}}}}
///
/// Errors    IoError and FormatError naming file and matrix
class PackedLayers {
 public:
  using Layers = std::map<std::string, PackedLayer, std::less<>>;

  /// Opens every file to see that it holds the layers that the settings place there, no others.
  PackedLayers(std::filesystem::path directory, const nlohmann::json& settings);

  [[nodiscard]] const Layers& layers() const noexcept { return layers_; }
  /// Null when the layer is not packed.
  [[nodiscard]] const PackedLayer* find(std::string_view name) const;

  /// The layers `names`, without biases, all at once in parallel; nothing for those not packed.
  [[nodiscard]] std::vector<std::optional<Linear>> read(std::span<const std::string> names,
                                                        PackedAccess access,
                                                        const pare::Execution& execution) const;

  /// The settings for config.json. Records are not part of them.
  [[nodiscard]] static nlohmann::json settings(const Layers& layers);

 private:
  void check_file(const std::string& file);

  std::filesystem::path directory_;
  Layers layers_;
};

}  // namespace engine
