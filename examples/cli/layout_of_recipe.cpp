#include "cli/layout_of_recipe.hpp"

#include <string>
#include <utility>
#include <vector>

#include "pare/formats/all.hpp"
#include "pare/io/gptq_checkpoint.hpp"

namespace cli {
namespace {

std::vector<std::string> skipped_layers(const LayerFormats& formats,
                                        const std::string& output_layer) {
  std::vector<std::string> skipped;
  for (const auto& [name, format] : formats)
    if (format.is_skip() && name != output_layer) skipped.push_back(name);
  return skipped;
}

pare::GptqConfig gptq_config(const Recipe& recipe) {
  return pare::with_format(recipe.layer_format().weight_format(), [&]<class F>(pare::TypeTag<F>) {
    pare::GptqConfig config{.bits = F::code_bits, .group_size = recipe.weight_group_size()};
    config.sym = !F::has_zero_point;
    if constexpr (pare::GptqFormat<F>) config.version = pare::default_gptq_version<F>;
    config.desc_act = recipe.act_order && !recipe.static_groups;
    config.static_groups = recipe.uses_static_groups();
    config.true_sequential = false;
    config.damp_percent = recipe.damping;
    return config;
  });
}

/// The one name as a whole. Readers match patterns at the beginning of a layer's name.
std::string pattern_of(const std::string& name) {
  std::string pattern = "^";
  for (const char c : name) {
    if (c == '.') pattern += '\\';
    pattern += c;
  }
  return pattern + "$";
}

}  // namespace

FileLayout layout_of(const Recipe& recipe, const LayerFormats& formats,
                     const std::string& output_layer) {
  const std::vector<std::string> skipped = skipped_layers(formats, output_layer);
  switch (recipe.save_as) {
    case SaveAs::gptq: {
      pare::GptqConfig config = gptq_config(recipe);
      for (const std::string& name : skipped)
        config.dynamic.push_back({.pattern = pattern_of(name), .skipped = true});
      return FileLayout(std::move(config));
    }
    case SaveAs::awq:
      return FileLayout(pare::AwqConfig{.group_size = recipe.weight_group_size(),
                                        .modules_to_not_convert = skipped});
    case SaveAs::pare:
      break;
  }
  return {};
}

}  // namespace cli
