#include "cli/structure/channel_scores.hpp"

#include <string>
#include <utility>

#include "cli/names.hpp"
#include "pare/pruning/scores/input_channel.hpp"
#include "pare/pruning/scores/random.hpp"
#include "pare/pruning/structure/axis_scores.hpp"
#include "pare/pruning/structure/group_scores.hpp"

namespace cli {
namespace {

std::vector<double> doubles(const pare::Vector<float>& values) {
  return {values.data(), values.data() + values.size()};
}

}  // namespace

std::vector<double> channel_scores(StructureScore score, const pare::ChannelGroup& group,
                                   const engine::Block& block, const ChannelEvidence& evidence,
                                   const pare::Execution& execution) {
  const pare::Matrix<float>& reader = block.linears[evidence.consumer].dense();
  std::vector<double> scores;
  switch (score) {
    case StructureScore::magnitude:
      return engine::squared_weights(block, group, execution);
    case StructureScore::taylor:
      return engine::sum_over_group(block, group, [&](std::size_t layer, std::size_t axis) {
        return pare::axis_taylor(block.linears[layer].dense().view(),
                                 evidence.gradient(layer).view(), axis, pare::TaylorSum::elements,
                                 execution);
      });
    case StructureScore::flap:
      scores = doubles(pare::flap_channel_scores(reader, evidence.inputs->variance()));
      break;
    case StructureScore::wanda_sp:
      scores = doubles(pare::wanda_channel_scores(reader, evidence.inputs->mean_square()));
      break;
    case StructureScore::random: {
      const pare::Matrix<float> random = pare::random_scores({1, reader.cols()}, evidence.seed);
      scores.assign(random.data(), random.data() + random.size());
      break;
    }
    case StructureScore::reap:
    case StructureScore::influence:
    case StructureScore::angular:
      throw pare::ArgumentError(std::string(name_of(structure_score_names, score)) +
                                " is no score of channels");
  }
  const pare::MemberScores of_reader{{block.description.linears[evidence.consumer].name, "in"},
                                     std::move(scores)};
  return pare::group_scores(
      group, {&of_reader, 1},
      {.reduction = pare::GroupReduction::sum, .normalization = pare::GroupNormalization::none});
}

}  // namespace cli
