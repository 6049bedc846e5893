#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "cli/inputs.hpp"
#include "cli/model_inputs.hpp"
#include "cli/options.hpp"
#include "cli/progress.hpp"
#include "cli/report.hpp"
#include "engine/encoder.hpp"
#include "pare/core/finite.hpp"
#include "pare/io/safetensors_writer.hpp"

namespace cli {
namespace {

using pare::MatrixView;

/// Tensors for a file, by name.
class Tensors {
 public:
  void add(const std::string& name, MatrixView<const float> values, std::vector<Index> shape) {
    pare::NamedTensor tensor{name, pare::DType::F32, std::move(shape), {}};
    const pare::Matrix<float> whole(values);
    const auto bytes =
        std::as_bytes(std::span(whole.data(), static_cast<std::size_t>(whole.size())));
    tensor.data.assign(bytes.begin(), bytes.end());
    tensors_.push_back(std::move(tensor));
  }
  template <class T>
  void add_integers(const std::string& name, const std::vector<T>& values,
                    std::vector<Index> shape) {
    pare::NamedTensor tensor{name, pare::DType::I64, std::move(shape), {}};
    tensor.data.resize(values.size() * sizeof(std::int64_t));
    for (std::size_t i = 0; i < values.size(); ++i) {
      const std::int64_t value = values[i];
      std::memcpy(tensor.data.data() + i * sizeof value, &value, sizeof value);
    }
    tensors_.push_back(std::move(tensor));
  }
  void write(const std::filesystem::path& path) const {
    pare::write_safetensors(path, tensors_, {{answers_key, "logits"}});
  }

 private:
  std::vector<pare::NamedTensor> tensors_;
};

/// What enters block 0, then what leaves each block, one after the other.
class States {
 public:
  void add(MatrixView<const float> x) {
    values_.insert(values_.end(), x.data(), x.data() + x.rows() * x.cols());
    ++count_;
  }
  void write(Tensors& tensors, std::vector<Index> shape) const {
    shape.insert(shape.begin(), count_);
    tensors.add("hidden", {values_.data(), {1, std::ssize(values_)}}, std::move(shape));
  }

 private:
  std::vector<float> values_;
  Index count_ = 0;
};

/// Texts of one length; the first axis is left out where there is one text.
void run_decoder(const LogitsCommand& options, const engine::Model& model,
                 const engine::ModelInputs& inputs, const std::vector<std::int32_t>& next,
                 const std::vector<std::int32_t>& few, const pare::Execution& execution,
                 Tensors& tensors) {
  const Index count = inputs.count(), length = inputs.length;
  const auto shape = [&](Index width) {
    return count == 1 ? std::vector<Index>{length, width}
                      : std::vector<Index>{count, length, width};
  };
  engine::Decoder decoder(model, execution);
  States states;
  Progress progress("running", model.config.layers);
  Index block = 0;
  const auto keep = [&](MatrixView<const float> x) {
    if (options.hidden) states.add(x);
    progress.pass(std::min(block++, model.config.layers - 1));
  };
  const pare::Matrix<float> normed = decoder.normed(inputs.ids, length, keep);
  progress.clear();
  const pare::Matrix<float> logits = decoder.head(normed);
  pare::require_finite(logits.view(), "the logits");
  const Index vocab = logits.cols();
  tensors.add_integers("input_ids", inputs.ids, {count, length});
  tensors.add("logits", logits, shape(vocab));
  if (options.hidden) {
    states.write(tensors, shape(normed.cols()));
    tensors.add("normed", normed, shape(normed.cols()));
  }
  if (!few.empty()) {
    tensors.add_integers("short_ids", few, {1, std::ssize(few)});
    tensors.add("short_logits", decoder.logits(few, std::ssize(few)), {std::ssize(few), vocab});
  }
  if (!options.decode) return;
  const Index steps = std::ssize(next);
  pare::Matrix<float> decoded({steps, vocab});
  decoder.start(length + steps);
  (void)decoder.extend(inputs.ids);
  for (Index i = 0; i < steps; ++i)
    pare::copy(decoder.extend(std::span(next).subspan(static_cast<std::size_t>(i), 1)).view(),
               decoded.view().slice(0, i, 1));
  auto all = inputs.ids;
  all.insert(all.end(), next.begin(), next.end());
  const pare::Matrix<float> whole = decoder.logits(all, std::ssize(all));
  tensors.add_integers("decode_ids", next, {1, steps});
  tensors.add("decode_logits", decoded, {steps, vocab});
  tensors.add("whole_logits", whole.view().slice(0, length, steps), {steps, vocab});
}

void run_encoder(const LogitsCommand& options, const engine::Model& model,
                 const engine::ModelInputs& inputs, const pare::Execution& execution,
                 Tensors& tensors) {
  const Index count = inputs.count(), length = inputs.length, width = model.config.hidden_size;
  const engine::Encoder encoder(model, execution);
  States states;
  const auto keep = [&](MatrixView<const float> x) { states.add(x); };
  const engine::EncoderOutputs outputs =
      options.hidden ? encoder.run(inputs, keep) : encoder.run(inputs);
  if (inputs.pixels.empty()) {
    tensors.add_integers("input_ids", inputs.ids, {count, length});
    if (!inputs.types.empty())
      tensors.add_integers("token_type_ids", inputs.types, {count, length});
    if (!inputs.visible.empty())
      tensors.add_integers("attention_mask", inputs.visible, {count, length});
  } else {
    const engine::ImageDescription& image = *model.config.encoder->image;
    tensors.add("pixel_values", inputs.pixels, {count, image.channels, image.size, image.size});
  }
  tensors.add("last_hidden_state", outputs.last, {count, length, width});
  if (options.hidden) states.write(tensors, {count, length, width});
  for (const auto& [name, rows] : {std::pair{"pooler_output", &outputs.pooled},
                                   {"sentence_embedding", &outputs.sentence},
                                   {"sentence_embedding_normalized", &outputs.normalized_sentence}})
    if (!rows->empty()) tensors.add(name, *rows, {count, width});
  pare::require_finite(outputs.last.view(), "last_hidden_state");
  for (const auto& [name, logits] : outputs.logits)
    tensors.add(name, logits,
                logits.rows() == count ? std::vector<Index>{count, logits.cols()}
                                       : std::vector<Index>{count, length, logits.cols()});
}

}  // namespace

void logits(const LogitsCommand& options) {
  Runtime runtime = options.model.runtime();
  if (options.inputs.empty() == options.tokens.empty())
    throw pare::ArgumentError("give either --inputs FILE or --tokens FILE");
  InputPaths paths = input_paths(options.model);
  paths.add_file(options.inputs);
  paths.add_file(options.tokens);
  require_report_path("--out", options.out, {".safetensors"}, paths);
  const engine::Checkpoint checkpoint = open_model(options.model);
  const engine::ModelConfig& config = checkpoint.config();
  checkpoint.require_forward();
  if (config.encoder && (options.decode || !options.tokens.empty()))
    throw pare::ArgumentError(std::string(options.decode ? "--decode" : "--tokens") +
                              " is of decoders, and " + options.model.model.string() +
                              " is an encoder");
  engine::ModelInputs inputs;
  std::vector<std::int32_t> next, few;
  if (!options.tokens.empty()) {
    inputs.ids = read_token_file(options.tokens, config.vocab_size).ids;
    inputs.length = std::ssize(inputs.ids);
    if (options.decode)
      throw pare::ArgumentError("--decode needs decode_ids, which --inputs FILE can have");
  } else {
    inputs = read_model_inputs(options.inputs, config).inputs;
    const auto file = pare::SafetensorsReader::open(options.inputs);
    pare::with_context(options.inputs.string(), [&] {
      const auto read = [&](const char* name, std::vector<std::int32_t>& ids) {
        for (const std::int64_t id : read_integers(file, name)) {
          if (id < 0 || id >= config.vocab_size)
            throw pare::ArgumentError(std::string(name) + " holds " + std::to_string(id) +
                                      ", outside the vocabulary of " +
                                      std::to_string(config.vocab_size));
          ids.push_back(static_cast<std::int32_t>(id));
        }
      };
      if (options.decode) {
        if (!file.contains("decode_ids")) throw pare::FormatError("there are no decode_ids");
        const std::vector<Index>& shape = file.info("decode_ids").shape;
        if (shape.size() != 2 || shape[0] != 1 || shape[1] < 1)
          throw pare::FormatError("decode_ids has the shape " + pare::to_string(shape) +
                                  ", not (1, steps)");
        if (inputs.count() != 1)
          throw pare::ArgumentError("--decode continues one text, and there are " +
                                    std::to_string(inputs.count()));
        read("decode_ids", next);
      }
      if (!config.encoder && file.contains("short_ids")) read("short_ids", few);
    });
  }
  const engine::Model model = checkpoint.load(runtime.execution());
  Tensors tensors;
  if (inputs.length > config.max_positions)
    std::fprintf(stderr, "note: the texts have %td tokens, the model's context is %td\n",
                 inputs.length, config.max_positions);
  if (config.encoder)
    run_encoder(options, model, inputs, runtime.execution(), tensors);
  else
    run_decoder(options, model, inputs, next, few, runtime.execution(), tensors);
  tensors.write(options.out);
  std::printf("%s: answers to %td input%s\n", options.out.string().c_str(), inputs.count(),
              inputs.count() == 1 ? "" : "s");
}

}  // namespace cli
