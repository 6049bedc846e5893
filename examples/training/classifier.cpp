#include "training/classifier.hpp"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "pare/core/error.hpp"
#include "training/operations/embedding.hpp"

namespace training {
namespace {

/// Row `token` of each sequence.
template <Scalar S>
void take_token(pare::MatrixView<const S> states, Index length, Index token,
                pare::MatrixView<S> rows) {
  for (Index n = 0; n < rows.rows(); ++n) pare::copy(states.row(n * length + token), rows.row(n));
}
/// The way back.
template <Scalar S>
void add_token(pare::MatrixView<const S> rows, Index length, Index token,
               pare::MatrixView<S> states) {
  for (Index n = 0; n < rows.rows(); ++n)
    for (Index j = 0; j < rows.cols(); ++j) states(n * length + token, j) += rows(n, j);
}

/// Calls use(image, patch, place in the flat patch, place in the image) for runs of `patch` pixels.
template <class Use>
void for_each_patch_row(const engine::ImageDescription& image, Index images, const Use& use) {
  const Index across = image.size / image.patch;
  for (Index n = 0; n < images; ++n)
    for (Index p = 0; p < image.patches(); ++p)
      for (Index c = 0; c < image.channels; ++c)
        for (Index y = 0; y < image.patch; ++y)
          use(n, p, (c * image.patch + y) * image.patch,
              (c * image.size + p / across * image.patch + y) * image.size +
                  p % across * image.patch);
}

}  // namespace

template <Scalar S>
Classifier<S>::Classifier(const engine::Model& model) : Transformer<S>(model.config) {
  const engine::ModelConfig& config = this->config_;
  const std::string& root = config.names.root;
  if (!config.encoder)
    throw pare::ArgumentError("a model of the family " + config.family +
                              " is a decoder; classifiers are encoders");
  classes_ = classes_of(model);
  for (const engine::Head& head : model.heads)
    if (head.description.every_token || head.layers.empty()) classes_ = 0;
  if (classes_ == 0)
    throw pare::ArgumentError("the encoder of the family " + config.family +
                              " has no head that classifies what it reads");
  if (const auto& image = config.encoder->image) {
    const engine::Embedding& embedding = *model.embedding;
    projection_ = this->add(root + image->projection, embedding.projection);
    for (std::size_t i = 0; i < image->first_tokens.size(); ++i)
      first_tokens_.push_back(this->add(
          root + image->first_tokens[i],
          pare::Matrix<S>(converted<S>(embedding.tokens).view().slice(0, static_cast<Index>(i), 1)),
          false));
    this->positions_ =
        this->add(root + config.names.positions, converted<S>(embedding.positions), false);
  } else {
    this->add_text_embedding(model);
  }
  this->add_blocks(model);
  this->add_final_norm(model);
  const bool is_pooled = std::any_of(model.heads.begin(), model.heads.end(),
                                     [](const auto& head) { return head.description.pooled; });
  if (is_pooled) pooler_ = this->add(root + config.encoder->pooler, *model.pooler);
  for (const engine::Head& head : model.heads) {
    Head added{head.description, {}};
    for (std::size_t i = 0; i < head.layers.size(); ++i) {
      const engine::HeadLayer& names = head.description.layers[i];
      added.layers.push_back({this->add(names.linear, head.layers[i].linear),
                              this->add(names.norm, head.layers[i].norm)});
    }
    heads_.push_back(std::move(added));
  }
}

template <Scalar S>
void Classifier<S>::take_text(const engine::ModelInputs& inputs, Pass<S>& pass) const {
  const Index length = inputs.length, tokens = std::ssize(inputs.ids);
  if (tokens == 0 || length < 1 || tokens % length != 0)
    throw pare::ArgumentError(std::to_string(tokens) + " tokens are no sequences of " +
                              std::to_string(length));
  for (const auto& [what, size] : {std::pair{"types", inputs.types.size()},
                                   std::pair{"marks of what is seen", inputs.visible.size()}})
    if (size != 0 && size != inputs.ids.size())
      throw pare::ArgumentError("there are " + std::to_string(size) + " " + what + " for " +
                                std::to_string(tokens) + " tokens");
  pass.length = length;
  pass.ids = inputs.ids;
  pass.types = inputs.types;
  if (pass.types.empty()) pass.types.assign(inputs.ids.size(), 0);
  pass.visible = inputs.visible;
  for (auto at = pass.visible.begin(); at < pass.visible.end(); at += length)
    if (std::all_of(at, at + length, [](std::uint8_t seen) { return seen == 0; }))
      throw pare::ArgumentError("no token of sequence " +
                                std::to_string((at - pass.visible.begin()) / length) +
                                " is seen by others");
  // See engine::EncoderDescription.
  const auto& pad = this->config_.encoder->pad_token;
  pass.positions.resize(inputs.ids.size());
  std::int32_t real = 0;
  for (std::size_t t = 0; t < inputs.ids.size(); ++t) {
    const auto place = static_cast<std::int32_t>(static_cast<Index>(t) % length);
    if (place == 0) real = 0;
    const auto first = static_cast<std::int32_t>(pad.value_or(0));
    pass.positions[t] = !pad ? place : first + (inputs.ids[t] == first ? 0 : ++real);
  }
  this->require_rows(pass);
}

template <Scalar S>
void Classifier<S>::take_images(const engine::ModelInputs& inputs, Pass<S>& pass,
                                const pare::Execution& execution) {
  const engine::ImageDescription& image = *this->config_.encoder->image;
  const Index images = inputs.pixels.rows(), patches = image.patches(), tokens = image.tokens();
  if (images == 0 || inputs.pixels.cols() != image.pixels())
    throw pare::ArgumentError(
        std::to_string(images) + " images of " + std::to_string(inputs.pixels.cols()) +
        " values; the model wants some of " + std::to_string(image.channels) + " channels of " +
        std::to_string(image.size) + " x " + std::to_string(image.size));
  pass.length = tokens;
  pass.ids.clear();
  pass.types.clear();
  pass.visible.clear();
  const auto flat =
      shaped(pass.classifier.patches, images * patches, image.channels * image.patch * image.patch);
  for_each_patch_row(image, images, [&](Index n, Index p, Index to, Index from) {
    for (Index i = 0; i < image.patch; ++i)
      flat(n * patches + p, to + i) = S(inputs.pixels(n, from + i));
  });
  const auto projected = shaped(projected_, images * patches, this->config_.hidden_size);
  linear<S>(flat, this->read(projection_.weight), this->read(projection_.bias), projected,
            execution);
  pass.hidden.resize(this->blocks_.size() + 1);
  const auto x = shaped(pass.hidden[0], images * tokens, projected.cols());
  const Index leading = std::ssize(first_tokens_);
  pass.positions.resize(static_cast<std::size_t>(x.rows()));
  for (Index t = 0; t < x.rows(); ++t) {
    const Index n = t / tokens, place = t % tokens;
    pass.positions[static_cast<std::size_t>(t)] = static_cast<std::int32_t>(place);
    pare::copy(place < leading
                   ? this->read(first_tokens_[static_cast<std::size_t>(place)]).row(0)
                   : pare::VectorView<const S>(projected.row(n * patches + place - leading)),
               x.row(t));
  }
  add_embedding<S>(this->read(this->positions_), pass.positions, S{1}, x, execution);
}

template <Scalar S>
void Classifier<S>::images_back(const Pass<S>& pass, pare::MatrixView<const S> dx,
                                const pare::Execution& execution) {
  const engine::ImageDescription& image = *this->config_.encoder->image;
  const Index patches = image.patches(), tokens = image.tokens();
  const Index leading = std::ssize(first_tokens_);
  add_embedding_backward<S>(dx, pass.positions, S{1}, this->gradient(this->positions_), execution);
  const auto dprojected = shaped(dprojected_, dx.rows() / tokens * patches, dx.cols());
  for (Index t = 0; t < dx.rows(); ++t) {
    const Index n = t / tokens, place = t % tokens;
    if (place >= leading) {
      pare::copy(dx.row(t), dprojected.row(n * patches + place - leading));
      continue;
    }
    const auto dtoken = this->gradient(first_tokens_[static_cast<std::size_t>(place)]);
    for (Index j = 0; j < dx.cols(); ++j) dtoken(0, j) += dx(t, j);
  }
  linear_backward<S>(dprojected, pass.classifier.patches, this->read(projection_.weight),
                     this->gradient(projection_.weight), this->gradient(projection_.bias), {},
                     execution);
}

template <Scalar S>
pare::MatrixView<const S> Classifier<S>::head_forward(const Head& head,
                                                      pare::MatrixView<const S> input,
                                                      typename ClassifierState<S>::Head& state,
                                                      const pare::Execution& execution) const {
  state.layers.resize(head.layers.size());
  pare::MatrixView<const S> x = input;
  for (std::size_t i = 0; i < head.layers.size(); ++i) {
    auto& [plain, activated, normed] = state.layers[i];
    const auto w = this->read(head.layers[i].linear.weight);
    const auto y = shaped(plain, x.rows(), w.rows());
    linear<S>(x, w, this->read(head.layers[i].linear.bias), y, execution);
    x = y;
    if (const auto& activation = head.description.layers[i].activation) {
      const auto out = shaped(activated, x.rows(), x.cols());
      feed_forward<S>(*activation, {}, x, out, execution);
      x = out;
    }
    if (head.layers[i].norm.weight) {
      const auto out = shaped(normed, x.rows(), x.cols());
      norm_forward<S>(view_of(head.layers[i].norm, x.cols()), x, out, execution);
      x = out;
    }
  }
  return x;
}

template <Scalar S>
pare::MatrixView<S> Classifier<S>::head_back(const Head& head, pare::MatrixView<const S> dlogits,
                                             const typename ClassifierState<S>::Head& state,
                                             const pare::Execution& execution) {
  pare::MatrixView<S> dx;
  pare::MatrixView<const S> dy = dlogits;
  for (std::size_t i = head.layers.size(); i-- > 0;) {
    const auto& [plain, activated, normed] = state.layers[i];
    const auto& activation = head.description.layers[i].activation;
    if (const NormParameters& norm = head.layers[i].norm; norm.weight) {
      const auto before = shaped(d_[0], dy.rows(), dy.cols(), true);
      norm_backward<S>(view_of(norm, dy.cols()), activation ? activated : plain, dy,
                       this->gradient(norm.weight), this->gradient(norm.bias), before, execution);
      dy = before;
    }
    if (activation) {
      const auto before = shaped(d_[1], dy.rows(), dy.cols());
      feed_forward_backward<S>(*activation, {}, plain, dy, {}, before, execution);
      dy = before;
    }
    // What this layer read: what the one before it gave, or the head's input.
    pare::MatrixView<const S> input = state.input;
    if (i > 0) {
      const auto& before = state.layers[i - 1];
      input = head.layers[i - 1].norm.weight              ? before.normed
              : head.description.layers[i - 1].activation ? before.activated
                                                          : before.plain;
    }
    const LinearParameters& layer = head.layers[i].linear;
    dx = shaped(d_[2 + i % 2], dy.rows(), input.cols(), true);
    linear_backward<S>(dy, input, this->read(layer.weight), this->gradient(layer.weight),
                       this->gradient(layer.bias), dx, execution);
    dy = dx;
  }
  return dx;
}

template <Scalar S>
void Classifier<S>::forward(const engine::ModelInputs& inputs, Pass<S>& pass,
                            const pare::Execution& execution, bool again) {
  if (this->config_.encoder->image) {
    take_images(inputs, pass, execution);
  } else {
    take_text(inputs, pass);
    this->embed_text(pass, execution);
  }
  const pare::MatrixView<const S> last = this->run_blocks(pass, again, execution);
  const Index sequences = last.rows() / pass.length, width = last.cols();
  ClassifierState<S>& state = pass.classifier;
  if (pooler_) {
    const auto input = shaped(state.pooler_input, sequences, width);
    take_token<S>(last, pass.length, 0, input);
    const auto w = this->read(pooler_->weight);
    const auto plain = shaped(state.pooler, sequences, w.rows());
    linear<S>(input, w, this->read(pooler_->bias), plain, execution);
    feed_forward<S>(engine::Activation::tanh, {}, plain,
                    shaped(state.pooled, sequences, plain.cols()), execution);
  }
  state.heads.resize(heads_.size());
  const auto logits = shaped(pass.logits, sequences, classes_, true);
  const S share = scalar<S>(1.0 / static_cast<double>(heads_.size()));
  for (std::size_t h = 0; h < heads_.size(); ++h) {
    const engine::HeadDescription& description = heads_[h].description;
    const auto input = shaped(state.heads[h].input, sequences, width);
    if (description.pooled)
      pare::copy(state.pooled.view(), input);
    else
      take_token<S>(last, pass.length, description.token, input);
    const auto own = head_forward(heads_[h], input, state.heads[h], execution);
    for (Index i = 0; i < logits.size(); ++i) logits.data()[i] += own.data()[i] * share;
  }
}

template <Scalar S>
void Classifier<S>::backward(Pass<S>& pass, const PassGradients<S>& gradients,
                             const pare::Execution& execution) {
  const Index sequences = pass.logits.rows();
  pare::MatrixView<S> dlast;
  if (!gradients.logits.empty()) {
    dlast = shaped(dlast_, pass.hidden[0].rows(), pass.hidden[0].cols(), true);
    const ClassifierState<S>& state = pass.classifier;
    const auto dlogits = shaped(dlogits_, sequences, classes_);
    const S share = scalar<S>(1.0 / static_cast<double>(heads_.size()));
    for (Index i = 0; i < dlogits.size(); ++i)
      dlogits.data()[i] = gradients.logits.data()[i] * share;
    const auto dpooled = shaped(dpooled_, sequences, state.pooled.cols(), true);
    for (std::size_t h = 0; h < heads_.size(); ++h) {
      const auto dinput = head_back(heads_[h], dlogits, state.heads[h], execution);
      if (heads_[h].description.pooled)
        for (Index i = 0; i < dpooled.size(); ++i) dpooled.data()[i] += dinput.data()[i];
      else
        add_token<S>(dinput, pass.length, heads_[h].description.token, dlast);
    }
    if (pooler_) {
      feed_forward_backward<S>(engine::Activation::tanh, {}, state.pooler, dpooled, {}, dpooled,
                               execution);
      const auto dinput = shaped(dpooler_input_, sequences, dlast.cols(), true);
      linear_backward<S>(dpooled, state.pooler_input, this->read(pooler_->weight),
                         this->gradient(pooler_->weight), this->gradient(pooler_->bias), dinput,
                         execution);
      add_token<S>(dinput, pass.length, 0, dlast);
    }
  }
  const auto dx = this->blocks_back(pass, dlast, gradients, execution);
  if (this->config_.encoder->image)
    images_back(pass, dx, execution);
  else
    this->embed_text_back(pass, dx, execution);
}

template <Scalar S>
engine::Model Classifier<S>::to_engine(const engine::Model& like) const {
  auto embedding = std::make_shared<engine::Embedding>();
  engine::Model model = this->put_common(like, *embedding);
  if (this->config_.encoder->image) {
    this->put(projection_, embedding->projection);
    for (std::size_t i = 0; i < first_tokens_.size(); ++i) {
      pare::Vector<float> token({embedding->tokens.cols()});
      this->put(first_tokens_[i], token);
      pare::copy(token.view(), embedding->tokens.view().row(static_cast<Index>(i)));
    }
  }
  model.embedding = std::move(embedding);
  if (pooler_) {
    auto pooler = std::make_shared<engine::Linear>(*like.pooler);
    this->put(*pooler_, *pooler);
    model.pooler = std::move(pooler);
  }
  for (std::size_t h = 0; h < heads_.size(); ++h)
    for (std::size_t i = 0; i < heads_[h].layers.size(); ++i) {
      this->put(heads_[h].layers[i].linear, model.heads[h].layers[i].linear);
      this->put(heads_[h].layers[i].norm, model.heads[h].layers[i].norm);
    }
  return model;
}

template class Classifier<float>;
template class Classifier<double>;
template class Classifier<Dual<double>>;

}  // namespace training
