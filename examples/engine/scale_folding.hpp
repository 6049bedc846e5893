#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/block.hpp"
#include "pare/core/function_ref.hpp"
#include "pare/io/dtype.hpp"

namespace engine {

/// What makes the activations at a site, where dividing it divides them: a norm, or outputs of a
/// linear layer. AWQ and SmoothQuant fold scales into it.
struct Producer {
  std::optional<NormPlace> norm;
  std::optional<BlockDescription::Found> part;
};

/// Nothing where scales cannot be folded: what enters a block goes past it, too; a value that
/// several heads read has one scale, and each head may want another; most activations are not
/// linear.
[[nodiscard]] std::optional<Producer> producer_of(const ModelConfig& config,
                                                  const BlockDescription& block, Site site);

/// The layers whose input changes when a site is scaled: those at the site, and with what enters
/// the feed-forward half those of all experts.
[[nodiscard]] std::vector<std::size_t> readers_of(const BlockDescription& block, Site site);

/// The type that a tensor is stored in: norms and biases are rounded to it when they are folded
/// into, so that what is evaluated afterwards is what ships.
using StoredType = pare::FunctionRef<pare::DType(const std::string& tensor)>;

/// Divides what produces the activations of `site`, which must be something, and multiplies the
/// columns of the layers that read them, of experts that are read later, too: the block computes
/// what it did. Linear weights stay in float32.
///
/// Errors    see pare/quantization/fold.hpp
void fold_scales(const ModelConfig& config, Index index, Block& block, Site site,
                 const pare::Vector<float>& scales, StoredType stored_type);

}  // namespace engine
