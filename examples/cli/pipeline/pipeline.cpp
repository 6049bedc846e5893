#include "cli/pipeline/pipeline.hpp"

#include <algorithm>
#include <cstdio>
#include <optional>
#include <utility>

#include "cli/progress.hpp"

namespace cli {

std::map<std::string, Index> compress_model(const engine::Checkpoint& checkpoint,
                                            const Steps& steps, const Output& output,
                                            const CalibrationWindows* windows,
                                            const pare::Execution& execution,
                                            const std::string& title, Index least_expert_tokens,
                                            const BeforeBlocks& before) {
  const std::string& output_layer = checkpoint.config().names.output;
  const auto wants_it = [&](const auto& step) { return step->wants(output_layer); };
  const auto owner = checkpoint.config().tied_embeddings
                         ? steps.end()
                         : std::find_if(steps.begin(), steps.end(), wants_it);
  ModelWriter writer(output, checkpoint, owner != steps.end());
  const Index blocks = checkpoint.config().layers, done = writer.finished_blocks();
  if (done > 0) std::fprintf(stderr, "resuming: %td of %td blocks are done\n", done, blocks);

  if (before) before(writer.directory());

  const engine::BlockRunner runner(checkpoint.config(), execution);
  const auto embedding = windows ? checkpoint.embedding() : engine::Embedding{};
  checkpoint.release_pages();
  std::optional<FloatCalibration> float_calibration;
  if (windows) float_calibration.emplace(runner, embedding, *windows);
  BlockPass pass(steps, runner, windows, embedding,
                 float_calibration ? &*float_calibration : nullptr, least_expert_tokens);

  std::map<std::string, Index> counts;
  {
    Progress progress(title, blocks, done);
    for (Index i = 0; i < blocks; ++i) {
      if (i < done) {
        pass.skip(
            i, [&] { return checkpoint.block_without_experts(i); },
            [&] { return writer.read_block(i); });
      } else {
        progress.begin_block(i);
        auto block = checkpoint.block_without_experts(i);
        const auto listener = [&](const std::string& layer, double fraction) {
          progress.step(layer, fraction);
        };
        const BlockInWork work = pare::with_context(checkpoint.directory().string(), [&] {
          return pass.run(i, std::move(block), listener, &writer);
        });
        progress.clear();
        for (const std::string& notice : work.notices)
          std::fprintf(stderr, "note: %s\n", notice.c_str());
        for (const auto& [what, count] : work.counts) counts[what] += count;
        writer.write_block(work);
      }
      checkpoint.release_pages();
    }
  }
  if (owner != steps.end() && !writer.has_output_layer()) {
    const engine::Linear head = checkpoint.head().value();
    writer.write_output_layer(pare::with_context(checkpoint.directory().string(), [&] {
      return (*owner)->compress_output_layer(output_layer, head.dense());
    }));
  }
  writer.finish();
  return counts;
}

}  // namespace cli
