#include "tokenizer/decoders.hpp"

#include <string_view>

#include "tokenizer/byte_letters.hpp"
#include "tokenizer/byte_tokens.hpp"
#include "tokenizer/component_list.hpp"
#include "tokenizer/growing_text.hpp"
#include "tokenizer/pattern.hpp"
#include "tokenizer/unicode.hpp"

namespace tokenizer {
namespace {

using nlohmann::json;
using Tokens = std::vector<std::string>;

/// Letters back to bytes, over all tokens together.
class BytesFromLetters final : public TextDecoder {
 public:
  explicit BytesFromLetters(const json&) {}
  Tokens apply(Tokens tokens, std::size_t) const override {
    std::string bytes;
    for (const std::string& token : tokens)
      if (!byte_letters().append_bytes(bytes, token)) bytes += token;  // an added one, as it is
    return {to_valid_utf8(bytes)};
  }
};

class ReplaceInTokens final : public TextDecoder {
 public:
  explicit ReplaceInTokens(const json& description)
      : pattern_(required(description, "pattern")),
        content_(required_as<std::string>(description, "content")) {}
  Tokens apply(Tokens tokens, std::size_t limit) const override {
    std::size_t total = 0;
    for (std::string& token : tokens) {
      token = pattern_.replace_all(token, content_, limit - total);
      total = std::min(limit, total + token.size());
    }
    return tokens;
  }

 private:
  Pattern pattern_;
  std::string content_;
};

/// Runs of tokens such as <0x41>, each read as a whole.
class ByteFallback final : public TextDecoder {
 public:
  explicit ByteFallback(const json&) {}
  Tokens apply(Tokens tokens, std::size_t) const override {
    Tokens result;
    std::string run;
    const auto end_run = [&] {
      if (run.empty()) return;
      if (find_invalid_utf8(run) == std::string_view::npos) {
        result.push_back(run);
      } else {
        for (std::size_t i = 0; i < run.size(); ++i) result.emplace_back("\uFFFD");
      }
      run.clear();
    };
    for (std::string& token : tokens) {
      if (const auto byte = byte_of_token(token)) {
        run += *byte;
      } else {
        end_run();
        result.push_back(std::move(token));
      }
    }
    end_run();
    return result;
  }
};

class Fuse final : public TextDecoder {
 public:
  explicit Fuse(const json&) {}
  Tokens apply(Tokens tokens, std::size_t) const override {
    std::string all;
    for (const std::string& token : tokens) all += token;
    return {std::move(all)};
  }
};

/// Some of one character at the ends of each token.
class StripCharacter final : public TextDecoder {
 public:
  explicit StripCharacter(const json& description)
      : content_(required_as<std::string>(description, "content")),
        start_(required_as<std::uint32_t>(description, "start")),
        stop_(required_as<std::uint32_t>(description, "stop")) {
    if (count_code_points(content_) != 1)
      throw pare::FormatError("the content " + in_quotes(content_) + " is not one character");
  }
  Tokens apply(Tokens tokens, std::size_t) const override {
    for (std::string& token : tokens) {
      std::string_view text = token;
      for (std::uint32_t i = 0; i < start_ && text.starts_with(content_); ++i)
        text.remove_prefix(content_.size());
      for (std::uint32_t i = 0; i < stop_ && text.ends_with(content_); ++i)
        text.remove_suffix(content_.size());
      token = std::string(text);
    }
    return tokens;
  }

 private:
  std::string content_;
  std::uint32_t start_, stop_;
};

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  if (text.find(from) == std::string::npos) return;
  std::string result;
  std::size_t at = 0;
  for (std::size_t next; (next = text.find(from, at)) != std::string::npos; at = next + from.size())
    (result += std::string_view(text).substr(at, next - at)) += to;
  text = result += std::string_view(text).substr(at);
}

/// Marks back to spaces; the first token loses its own, one of which was added.
class SpacesFromMarks final : public TextDecoder {
 public:
  explicit SpacesFromMarks(const json& description)
      : mark_(required_as<std::string>(description, "replacement")) {
    if (count_code_points(mark_) != 1)
      throw pare::FormatError("the replacement " + in_quotes(mark_) + " is not one character");
    const bool adds = flag(description, "add_prefix_space", true);
    drops_first_ = pare::field_as<std::string>(description, {"prepend_scheme"})
                       .value_or(adds ? "always" : "never") != "never";
  }
  Tokens apply(Tokens tokens, std::size_t) const override {
    for (std::size_t i = 0; i < tokens.size(); ++i)
      replace_all(tokens[i], mark_, i == 0 && drops_first_ ? "" : " ");
    return tokens;
  }

 private:
  std::string mark_;
  bool drops_first_;
};

/// Words from their parts, with spaces between; the space before punctuation goes again.
class WordsFromPieces final : public TextDecoder {
 public:
  explicit WordsFromPieces(const json& description)
      : prefix_(required_as<std::string>(description, "prefix")),
        cleans_(flag(description, "cleanup", true)) {}
  Tokens apply(Tokens tokens, std::size_t) const override {
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      if (i > 0) {
        if (tokens[i].starts_with(prefix_))
          tokens[i].erase(0, prefix_.size());
        else
          tokens[i].insert(0, " ");
      }
      if (cleans_) clean(tokens[i]);
    }
    return tokens;
  }

 private:
  static void clean(std::string& text) {
    static constexpr struct {
      std::string_view from, to;
    } replacements[] = {{" .", "."},   {" ?", "?"},     {" !", "!"},    {" ,", ","},
                        {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},  {" do not", " don't"},
                        {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
    for (const auto& [from, to] : replacements) replace_all(text, from, to);
  }

  std::string prefix_;
  bool cleans_;
};

class DecoderSequence final : public TextDecoder {
 public:
  explicit DecoderSequence(const json& description) {
    for (const json& part : required_list(description, "decoders"))
      parts_.push_back(read_decoder(part));
  }
  Tokens apply(Tokens tokens, std::size_t limit) const override {
    for (const auto& part : parts_)
      if (part) tokens = part->apply(std::move(tokens), limit);
    return tokens;
  }

 private:
  std::vector<std::unique_ptr<TextDecoder>> parts_;
};

template <class T>
std::unique_ptr<TextDecoder> read(const json& description) {
  return std::make_unique<T>(description);
}

constexpr ComponentType<TextDecoder> decoder_types[] = {
    {"Sequence", read<DecoderSequence>},
    {"ByteLevel", read<BytesFromLetters>},
    {"Replace", read<ReplaceInTokens>},
    {"ByteFallback", read<ByteFallback>},
    {"Fuse", read<Fuse>},
    {"Strip", read<StripCharacter>},
    {"Metaspace", read<SpacesFromMarks>},
    {"WordPiece", read<WordsFromPieces>},
};

}  // namespace

std::unique_ptr<TextDecoder> read_decoder(const json& description) {
  if (description.is_null()) return nullptr;
  require_few_components(description, "decoders");
  return read_component<TextDecoder>(decoder_types, "decoder", description);
}

}  // namespace tokenizer
