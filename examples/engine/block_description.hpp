#pragma once

#include <algorithm>
#include <array>
#include <compare>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "pare/core/index.hpp"
#include "pare/core/tensor_view.hpp"

/// A transformer block as data: which parts it has, how they are computed and what their tensors
/// are called. Families (families/) write it from a config.json, BlockRunner follows it.
namespace engine {

using pare::Index;

/// Of blocks that see all positions.
inline constexpr Index no_window = std::numeric_limits<Index>::max();

/// Of all norms of a model.
struct NormDescription {
  enum class Kind : std::uint8_t {
    rms,           ///< x / sqrt(mean(x^2) + epsilon) * w
    rms_plus_one,  ///< the same times (1 + w)
    layer,         ///< (x - mean) / sqrt(variance + epsilon) * w + b
  };
  Kind kind = Kind::rms;
  float epsilon = 1e-6f;
};

/// Where norms stand in a block:
///
///     x = attention_sum(x + attention_output(attention(attention_input(x))))
///     x = feed_forward_sum(x + feed_forward_output(feed_forward(feed_forward_input(x))))
enum class NormPlace : std::uint8_t {
  attention_input,
  attention_output,
  attention_sum,
  feed_forward_input,
  feed_forward_output,
  feed_forward_sum,
};
inline constexpr std::size_t norm_places = 6;

/// Norms of queries and keys, between projection and rotation.
enum class QueryKeyNorm : std::uint8_t {
  none,
  shared_by_heads,  ///< over each head, one weight (head_dim) for all
  own_of_heads,     ///< over each head, a weight for each: the tensor NAME.H.weight
  whole_row,        ///< over all heads at once
};

enum class Activation : std::uint8_t {
  silu,       ///< x sigmoid(x)
  gelu,       ///< x Phi(x)
  gelu_tanh,  ///< its approximation, 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))
  relu,
  tanh,
};

/// What outputs of a linear layer are.
enum class Role : std::uint8_t {
  query,
  key,
  value,
  attention_output,
  gate,  ///< hidden = activation(gate) * up, where there is a gate, else activation(up)
  up,
  down,
};

/// Where in a block activations enter linear layers. Layers at one site read the same values.
struct Site {
  enum class Kind : std::uint8_t {
    attention_input,
    attention_output,
    feed_forward_input,
    feed_forward_hidden,
  };
  static constexpr Index all_tokens = -1;     ///< of sites that are no expert's
  static constexpr Index shared_expert = -2;  ///< of what is within the shared expert

  Kind kind{};
  /// At sites of an expert are the tokens that the router sends there.
  Index expert = all_tokens;

  static const Site attention_input, attention_output, feed_forward_input, feed_forward_hidden;

  friend auto operator<=>(const Site&, const Site&) = default;
};
inline constexpr Site Site::attention_input{Kind::attention_input};
inline constexpr Site Site::attention_output{Kind::attention_output};
inline constexpr Site Site::feed_forward_input{Kind::feed_forward_input};
inline constexpr Site Site::feed_forward_hidden{Kind::feed_forward_hidden};

/// Outputs of a layer that belong together: `runs` runs of `length` rows, `step` rows apart.
struct LayerPart {
  Role role{};
  Index first = 0, length = 0;
  Index runs = 1, step = 0;

  [[nodiscard]] Index rows() const noexcept { return length * runs; }
  /// All outputs of a layer.
  [[nodiscard]] static LayerPart whole(Role role, Index rows) { return {role, 0, rows}; }
  friend bool operator==(const LayerPart&, const LayerPart&) = default;
};

/// A linear layer as it is stored.
struct LinearDescription {
  std::string name;  ///< after the block's prefix, without ".weight": "self_attn.q_proj"
  Site site{};
  pare::Shape<2> shape{};  ///< (out_features, in_features)
  /// Whose it is, as sites say it: of no expert, of the shared one, or of one by its number.
  Index expert = Site::all_tokens;
  std::vector<LayerPart> parts{};
  /// Stored (in_features, out_features) when it is float.
  bool transposed = false;
  /// By the configuration; what is stored may differ.
  bool bias = false;
  friend bool operator==(const LinearDescription&, const LinearDescription&) = default;
};

/// A mixture of experts in place of the feed-forward half: a router's softmax chooses some for each
/// token, and their outputs are added, weighted. Source: Shazeer et al., "Outrageously Large Neural
/// Networks", 2017; Jiang et al., "Mixtral of Experts", 2024
struct ExpertsDescription {
  Index count = 0, chosen = 0;
  bool normalized = false;  ///< weights of those chosen sum to 1
  std::string router{};     ///< (count, hidden)
  /// One that sees all tokens; its output is multiplied with the sigmoid of this layer's.
  std::string shared_gate{};
  friend bool operator==(const ExpertsDescription&, const ExpertsDescription&) = default;
};

struct BlockDescription {
  /// A position sees as many, itself the last of them.
  Index window = no_window;
  /// Which of the model's rotations; none where positions do not turn.
  std::optional<std::size_t> rope = 0;
  /// Names of norms by NormPlace, empty where there is none.
  std::array<std::string, norm_places> norms;
  std::string query_norm, key_norm;
  /// In the order in which their inputs are computed.
  std::vector<LinearDescription> linears;
  std::optional<ExpertsDescription> experts;
  friend bool operator==(const BlockDescription&, const BlockDescription&) = default;

  [[nodiscard]] std::string& norm(NormPlace place) {
    return norms[static_cast<std::size_t>(place)];
  }
  [[nodiscard]] const std::string& norm(NormPlace place) const {
    return norms[static_cast<std::size_t>(place)];
  }
  /// A part and its layer.
  struct Found {
    std::size_t linear;
    const LayerPart* part;
  };
  /// The part with a role, of no expert or of one, if there is one.
  [[nodiscard]] std::optional<Found> find(Role role, Index expert = Site::all_tokens) const {
    for (std::size_t i = 0; i < linears.size(); ++i)
      if (linears[i].expert == expert)
        for (const LayerPart& part : linears[i].parts)
          if (part.role == role) return Found{i, &part};
    return std::nullopt;
  }
  [[nodiscard]] bool is_gated(Index expert = Site::all_tokens) const {
    return find(Role::gate, expert).has_value();
  }
  /// The layers that read a site.
  [[nodiscard]] std::vector<std::size_t> at(Site site) const {
    std::vector<std::size_t> found;
    for (std::size_t i = 0; i < linears.size(); ++i)
      if (linears[i].site == site) found.push_back(i);
    return found;
  }
  /// In the order in which they are reached.
  [[nodiscard]] std::vector<Site> sites() const {
    std::vector<Site> found;
    for (const LinearDescription& linear : linears)
      if (std::find(found.begin(), found.end(), linear.site) == found.end())
        found.push_back(linear.site);
    return found;
  }
};

}  // namespace engine
