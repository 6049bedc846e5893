#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "pare/core/index.hpp"
#include "pare/formats/all.hpp"

namespace cli {

using pare::Index;

/// How the activations of a quantized layer are represented.
enum class Activations : std::uint8_t { float32, dynamic_int8, static_int8 };

/// Formats of the command line: every one of the library, and those with int8 activations.
inline constexpr auto format_names = []<class... Fs>(pare::TypeList<Fs...>) {
  return std::array<std::string_view, sizeof...(Fs) + 3>{Fs::name..., "w8a8-dynamic", "w8a8-static",
                                                         "w4a8-dynamic"};
}(pare::AllFormats{});

/// What becomes of one layer: the format of its weight and of what enters it, or nothing.
struct LayerFormat {
  /// One of `format_names`, or "skip": the layer stays as it is.
  std::string format = "int4";
  /// Unset: whole rows at 8 bits, else 64.
  std::optional<Index> group_size{};

  [[nodiscard]] bool is_skip() const { return format == "skip"; }
  [[nodiscard]] bool is_w8a8() const { return format.starts_with("w8a8-"); }
  [[nodiscard]] Activations activations() const {
    if (format.ends_with("-dynamic")) return Activations::dynamic_int8;
    return format.ends_with("-static") ? Activations::static_int8 : Activations::float32;
  }
  /// The format of the weights. In w8a8 they have one scale per row.
  [[nodiscard]] std::string_view weight_format() const {
    if (activations() == Activations::float32) return format;
    return is_w8a8() ? "int8" : "int4";
  }
  [[nodiscard]] Index weight_group_size() const {
    if (is_w8a8()) return -1;
    return group_size.value_or(format.ends_with("8") ? Index{-1} : Index{64});
  }
  /// As rules and manifests spell it: "int4:64", "skip".
  [[nodiscard]] std::string text() const {
    return is_skip() ? format : format + ":" + std::to_string(weight_group_size());
  }

  friend bool operator==(const LayerFormat& a, const LayerFormat& b) {
    return a.text() == b.text();
  }
};

}  // namespace cli
