#include "cli/tokenizer.hpp"

#include <cstdio>

#include "cli/printable.hpp"
#include "pare/core/error.hpp"
#include "pare/io/file_kind.hpp"
#include "pare/io/mapped_file.hpp"

#ifdef PARE_HAVE_SENTENCEPIECE
#include <sentencepiece_processor.h>
#endif
#ifdef PARE_HAVE_TOKENIZER_JSON
#include "tokenizer/tokenizer.hpp"
#endif

namespace cli {

class Tokenizer::Method {
 public:
  virtual ~Method() = default;
  virtual std::vector<std::int32_t> encode(const std::string& text) = 0;
  virtual std::string decode(std::span<const std::int32_t> ids) = 0;
  /// With special tokens around; empty when the method knows none.
  virtual std::vector<std::int32_t> encode_prompt(const std::string&) { return {}; }
};

namespace {

namespace fs = std::filesystem;
using Ids = std::vector<std::int32_t>;

constexpr const char* advice = "; give token ids instead (--tokens, --calib-tokens)";

class RawBytes final : public Tokenizer::Method {
 public:
  Ids encode(const std::string& text) override {
    Ids ids;
    for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
    return ids;
  }
  std::string decode(std::span<const std::int32_t> ids) override {
    return {ids.begin(), ids.end()};
  }
};

#ifdef PARE_HAVE_TOKENIZER_JSON
class TokenizerJson final : public Tokenizer::Method {
 public:
  explicit TokenizerJson(const fs::path& path) : tokenizer_(path) {}
  Ids encode(const std::string& text) override {
    return tokenizer_.encode(text, tokenizer::SpecialTokens::leave_out).ids;
  }
  Ids encode_prompt(const std::string& text) override { return tokenizer_.encode(text).ids; }
  std::string decode(std::span<const std::int32_t> ids) override {
    return tokenizer_.decode(ids, true);
  }

 private:
  tokenizer::Tokenizer tokenizer_;
};
#endif

#ifdef PARE_HAVE_SENTENCEPIECE
class SentencePiece final : public Tokenizer::Method {
 public:
  explicit SentencePiece(const fs::path& path) {
    const pare::MappedFile file(path);
    if (pare::FileKind kind = pare::file_kind(file.bytes()); !kind.remedy.empty())
      if (const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()),
                                      file.bytes().size());
          text.starts_with("version https://") || text.starts_with("<"))
        throw pare::FormatError(path.string() + ": this is " + std::string(kind.name) + ": " +
                                std::string(kind.remedy));
    if (const auto status = processor_.Load(path.string()); !status.ok())
      throw pare::FormatError(path.string() + ": " + status.ToString());
  }
  Ids encode(const std::string& text) override {
    std::vector<int> ids;
    if (const auto status = processor_.Encode(text, &ids); !status.ok())
      throw pare::ArgumentError("the text cannot be tokenized: " + status.ToString());
    return {ids.begin(), ids.end()};
  }
  std::string decode(std::span<const std::int32_t> ids) override {
    std::string text;
    const std::vector<int> pieces(ids.begin(), ids.end());
    if (const auto status = processor_.Decode(pieces, &text); !status.ok())
      throw pare::ArgumentError("the tokens cannot be decoded: " + status.ToString());
    return text;
  }

 private:
  sentencepiece::SentencePieceProcessor processor_;
};
#endif

std::unique_ptr<Tokenizer::Method> load_json(const fs::path& path) {
#ifdef PARE_HAVE_TOKENIZER_JSON
  return std::make_unique<TokenizerJson>(path);
#else
  throw pare::ArgumentError(path.string() + ": " + no_tokenizer_json);
#endif
}

std::unique_ptr<Tokenizer::Method> load_sentence_piece(const fs::path& path) {
#ifdef PARE_HAVE_SENTENCEPIECE
  return std::make_unique<SentencePiece>(path);
#else
  throw pare::ArgumentError(path.string() + ": this build has no SentencePiece" + advice);
#endif
}

std::unique_ptr<Tokenizer::Method> load(const fs::path& directory) {
  const fs::path json = directory / "tokenizer.json", model = directory / "tokenizer.model";
  const bool has_model = fs::exists(model);
  if (fs::exists(json)) {
    try {
      return load_json(json);
    } catch (const pare::Error& error) {
      if (!has_model) throw pare::ArgumentError(std::string(error.what()) + advice);
      std::fprintf(stderr, "note: %s; tokenizer.model is used\n", printable(error.what()).c_str());
    }
  }
  if (!has_model)
    throw pare::ArgumentError(model.string() + ": the model has neither this nor a tokenizer.json" +
                              advice);
  return load_sentence_piece(model);
}

}  // namespace

Tokenizer::Tokenizer(fs::path model_directory, const engine::ModelConfig& config)
    : directory_(std::move(model_directory)), config_(config) {}

Tokenizer::~Tokenizer() = default;

Tokenizer::Method& Tokenizer::method() {
  if (!method_) method_ = config_.is_byte_level() ? std::make_unique<RawBytes>() : load(directory_);
  return *method_;
}

Tokens Tokenizer::checked(const std::string& text, bool is_prompt) {
  if (text.empty()) throw pare::ArgumentError("the text is empty");
  Tokens tokens;
  tokens.text_bytes = static_cast<pare::Index>(text.size());
  if (is_prompt) tokens.ids = method().encode_prompt(text);
  if (tokens.ids.empty()) {
    tokens.ids = method().encode(text);
    if (is_prompt && config_.begin_token >= 0)
      tokens.ids.insert(tokens.ids.begin(), static_cast<std::int32_t>(config_.begin_token));
  }
  for (const std::int32_t id : tokens.ids)
    if (id < 0 || id >= config_.vocab_size)
      throw pare::ArgumentError("the tokenizer gives token " + std::to_string(id) +
                                ", outside the model's vocabulary of " +
                                std::to_string(config_.vocab_size));
  return tokens;
}

Tokens Tokenizer::encode(const std::string& text) { return checked(text, false); }
Tokens Tokenizer::encode_prompt(const std::string& text) { return checked(text, true); }

std::string Tokenizer::decode(std::span<const std::int32_t> ids) { return method().decode(ids); }

}  // namespace cli
