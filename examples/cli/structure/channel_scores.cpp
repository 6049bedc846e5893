#include "cli/structure/channel_scores.hpp"

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
                                   const engine::Block& block, std::size_t consumer,
                                   const pare::ActivationMoments* inputs, std::uint64_t seed,
                                   const pare::Execution& execution) {
  std::vector<pare::MemberScores> members;
  const auto& linears = block.description.linears;
  const pare::Matrix<float>& reader = block.linears[consumer].dense();
  const auto of_reader = [&](std::vector<double> values) {
    members.push_back({{linears[consumer].name, "in"}, std::move(values)});
  };
  switch (score) {
    case StructureScore::flap:
      of_reader(doubles(pare::flap_channel_scores(reader, inputs->variance())));
      break;
    case StructureScore::wanda_sp:
      of_reader(doubles(pare::wanda_channel_scores(reader, inputs->mean_square())));
      break;
    case StructureScore::random:
      of_reader(doubles([&] {
        const auto scores = pare::random_scores({1, reader.cols()}, seed);
        pare::Vector<float> row({reader.cols()});
        pare::copy(scores.view().row(0), row.view());
        return row;
      }()));
      break;
    case StructureScore::magnitude:
      for (std::size_t i = 0; i < linears.size(); ++i)
        for (const std::size_t axis : {std::size_t{0}, std::size_t{1}})
          if (const pare::AxisName name{linears[i].name, axis == 0 ? "out" : "in"};
              group.find(name))
            members.push_back(
                {name, pare::axis_norms(block.linears[i].dense().view(), axis, 2.0, execution)});
      break;
    case StructureScore::reap:
    case StructureScore::influence:
    case StructureScore::angular:
      throw pare::ArgumentError(std::string(name_of(structure_score_names, score)) +
                                " is no score of channels");
  }
  return pare::group_scores(
      group, members,
      {.reduction = pare::GroupReduction::sum, .normalization = pare::GroupNormalization::none});
}

}  // namespace cli
