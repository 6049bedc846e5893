#include "engine/scale_folding.hpp"

#include <utility>

#include "pare/core/float16.hpp"
#include "pare/quantization/fold.hpp"

namespace engine {
namespace {

void fold_vector(pare::DType stored, pare::VectorView<float> values,
                 pare::VectorView<const float> scales, float offset) {
  switch (stored) {
    case pare::DType::F16:
      return pare::fold_into_vector<pare::Float16>(values, scales, offset);
    case pare::DType::BF16:
      return pare::fold_into_vector<pare::BFloat16>(values, scales, offset);
    default:
      return pare::fold_into_vector<float>(values, scales, offset);
  }
}

/// The values themselves, `count` from `first` on.
pare::VectorView<float> slice(pare::Vector<float>& values, Index first, Index count) {
  return {values.data() + first, {count}};
}

void fold_into_readers(Block& block, Site site, const pare::Vector<float>& scales) {
  for (const std::size_t i : readers_of(block.description, site))
    if (auto& weight = block.linears[i].dense(); !weight.empty())
      pare::fold_into_columns(weight.view(), scales);
}

}  // namespace

std::vector<std::size_t> readers_of(const BlockDescription& block, Site site) {
  std::vector<std::size_t> readers;
  for (std::size_t i = 0; i < block.linears.size(); ++i)
    if (const Site own = block.linears[i].site;
        own == site || (site == Site::feed_forward_input && own.kind == site.kind))
      readers.push_back(i);
  return readers;
}

std::optional<Producer> producer_of(const ModelConfig& config, const BlockDescription& block,
                                    Site site) {
  const auto norm = [&](NormPlace place) {
    return block.norm(place).empty() ? std::nullopt : std::optional(Producer{place, {}});
  };
  const auto part = [&](Role role) { return std::optional(Producer{{}, block.find(role)}); };
  switch (site.kind) {
    case Site::Kind::attention_input:
      return norm(NormPlace::attention_input);
    case Site::Kind::feed_forward_input:
      // What experts read is made for all of them.
      if (site.expert == Site::all_tokens) return norm(NormPlace::feed_forward_input);
      break;
    case Site::Kind::attention_output:
      if (config.heads == config.kv_heads) return part(Role::value);
      break;
    case Site::Kind::feed_forward_hidden:
      if (block.is_gated(site.expert) || config.activation == Activation::relu)
        return Producer{{}, block.find(Role::up, site.expert)};
      break;
  }
  return std::nullopt;
}

void fold_scales(const ModelConfig& config, Index index, Block& block, Site site,
                 const pare::Vector<float>& scales, StoredType stored_type) {
  const Producer producer = producer_of(config, block.description, site).value();
  if (producer.norm) {
    Norm& norm = block.norm(*producer.norm);
    const std::string name = config.block_prefix(index) + block.description.norm(*producer.norm);
    const bool adds_one = config.norm.kind == NormDescription::Kind::rms_plus_one;
    fold_vector(stored_type(name + ".weight"), norm.weight, scales, adds_one ? 1.0f : 0.0f);
    if (!norm.bias.empty()) fold_vector(stored_type(name + ".bias"), norm.bias, scales, 0.0f);
  } else {
    const auto& [linear, part] = *producer.part;
    pare::Matrix<float>& weight = block.linears[linear].dense();
    pare::Vector<float>& bias = block.linears[linear].bias();
    for (Index run = 0; run < part->runs; ++run) {
      const Index first = part->first + run * part->step;
      const pare::VectorView<const float> own(scales.data() + run * part->length, {part->length});
      pare::fold_into_rows(weight.view().slice(0, first, part->length), own);
      if (!bias.empty())
        fold_vector(stored_type(config.block_prefix(index) +
                                block.description.linears[linear].name + ".bias"),
                    slice(bias, first, part->length), own, 0.0f);
    }
  }
  fold_into_readers(block, site, scales);
  if (site == Site::feed_forward_input && block.description.experts) {
    if (block.read_expert)
      block.read_expert = [read = std::move(block.read_expert), scales](Index expert) {
        Block own = read(expert);
        fold_into_readers(own, Site::feed_forward_input, scales);
        return own;
      };
    pare::fold_into_columns(block.router.view(), scales);
    if (!block.shared_gate.empty()) pare::fold_into_columns(block.shared_gate.view(), scales);
  }
}

}  // namespace engine
