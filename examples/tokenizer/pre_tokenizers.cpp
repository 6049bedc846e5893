#include "tokenizer/pre_tokenizers.hpp"

#include <algorithm>
#include <vector>

#include "tokenizer/byte_letters.hpp"
#include "tokenizer/component_list.hpp"
#include "tokenizer/pattern.hpp"
#include "tokenizer/unicode.hpp"

namespace tokenizer {
namespace {

using nlohmann::json;

/// What becomes of a match.
enum class Behavior { isolated, removed, merged_with_previous };

void add_split(Pieces& result, std::string_view text, const std::vector<Match>& matches,
               Behavior behavior) {
  std::size_t at = 0;
  for (const Match& match : matches) {
    const bool merges = behavior == Behavior::merged_with_previous;
    result.add(text.substr(at, (merges ? match.end : match.begin) - at));
    if (behavior == Behavior::isolated)
      result.add(text.substr(match.begin, match.end - match.begin));
    at = match.end;
  }
  result.add(text.substr(at));
}

class SplitPattern final : public PreTokenizer {
 public:
  explicit SplitPattern(const json& description)
      : pattern_(required(description, "pattern")),
        behavior_(behavior_of(required_as<std::string>(description, "behavior"))) {
    refuse_field(description, "invert");
  }
  Pieces apply(Pieces pieces, bool) const override {
    Pieces result(pieces.limit_bytes());
    std::vector<Match> matches;
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      pattern_.find_all(pieces[i], matches);
      add_split(result, pieces[i], matches, behavior_);
    }
    return result;
  }

 private:
  static Behavior behavior_of(const std::string& name) {
    if (name == "Isolated") return Behavior::isolated;
    if (name == "Removed") return Behavior::removed;
    if (name == "MergedWithPrevious") return Behavior::merged_with_previous;
    throw pare::FormatError("the behavior " + in_quotes(name) + " is not known");
  }

  Pattern pattern_;
  Behavior behavior_;
};

/// Cuts by what single code points are.
class SplitCharacters : public PreTokenizer {
 public:
  Pieces apply(Pieces pieces, bool) const final {
    Pieces result(pieces.limit_bytes());
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      const std::string_view text = pieces[i];
      for (std::size_t at = 0; at < text.size();) {
        const std::size_t begin = at;
        const Role role = role_of(next_code_point(text, at));
        if (role == Role::removed || role == Role::alone) result.end_piece();
        if (role != Role::removed) result.add_part(text.substr(begin, at - begin));
        if (role == Role::alone) result.end_piece();
      }
      result.end_piece();
    }
    return result;
  }

 protected:
  enum class Role { part, alone, removed };

 private:
  [[nodiscard]] virtual Role role_of(char32_t code) const = 0;
};

class WhitespaceSplit final : public SplitCharacters {
 public:
  explicit WhitespaceSplit(const json&) {}

 private:
  Role role_of(char32_t code) const override {
    return is_white_space(code) ? Role::removed : Role::part;
  }
};

class BertPreTokenizer final : public SplitCharacters {
 public:
  explicit BertPreTokenizer(const json&) {}

 private:
  Role role_of(char32_t code) const override {
    if (is_white_space(code)) return Role::removed;
    return is_punctuation(code) ? Role::alone : Role::part;
  }
};

/// Numbers of all scripts: each digit is a piece, or each run of digits.
class Digits final : public PreTokenizer {
 public:
  explicit Digits(const json& description)
      : individual_(flag(description, "individual_digits", false)) {}
  Pieces apply(Pieces pieces, bool) const override {
    Pieces result(pieces.limit_bytes());
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      const std::string_view text = pieces[i];
      bool in_number = false;
      for (std::size_t at = 0; at < text.size();) {
        const std::size_t begin = at;
        const bool is_digit = is_number(next_code_point(text, at));
        if (is_digit != in_number || (is_digit && individual_)) result.end_piece();
        result.add_part(text.substr(begin, at - begin));
        in_number = is_digit;
      }
      result.end_piece();
    }
    return result;
  }

 private:
  bool individual_;
};

/// Bytes as letters; before, if asked for, words are cut as GPT-2 does (Radford et al. 2019).
class ByteLevel final : public PreTokenizer {
 public:
  explicit ByteLevel(const json& description)
      : adds_space_(flag(description, "add_prefix_space", true)) {
    if (flag(description, "use_regex", true))
      words_.emplace(
          R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)");
  }
  Pieces apply(Pieces pieces, bool) const override {
    Pieces result(pieces.limit_bytes());
    std::vector<Match> matches;
    std::string with_space;
    const auto add = [&](std::string_view word) {
      for (const char byte : word) result.add_part(byte_letters().letter(byte));
      result.end_piece();
    };
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      std::string_view text = pieces[i];
      if (adds_space_ && !text.starts_with(' ')) text = (with_space = " ") += text;
      if (words_) {
        words_->find_all(text, matches);
      } else {
        matches.clear();
      }
      std::size_t at = 0;
      for (const Match& match : matches) {
        add(text.substr(at, match.begin - at));
        add(text.substr(match.begin, match.end - match.begin));
        at = match.end;
      }
      add(text.substr(at));
    }
    return result;
  }

 private:
  bool adds_space_;
  std::optional<RegularExpression> words_;
};

/// A mark in place of spaces and, if asked for, in front of the text (Kudo and Richardson 2018).
class Metaspace final : public PreTokenizer {
 public:
  explicit Metaspace(const json& description)
      : mark_(required_as<std::string>(description, "replacement")),
        splits_(flag(description, "split", true)) {
    if (count_code_points(mark_) != 1)
      throw pare::FormatError("the replacement " + in_quotes(mark_) + " is not one character");
    // Older files say only whether it is added.
    const bool adds = flag(description, "add_prefix_space", true);
    const auto scheme = pare::field_as<std::string>(description, {"prepend_scheme"})
                            .value_or(adds ? "always" : "never");
    if (scheme != "always" && scheme != "first" && scheme != "never")
      throw pare::FormatError("the prepend_scheme " + in_quotes(scheme) + " is not known");
    always_ = scheme == "always";
    first_ = scheme == "first";
  }
  Pieces apply(Pieces pieces, bool begins_text) const override {
    Pieces result(pieces.limit_bytes());
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      const std::string_view text = pieces[i];
      const bool is_marked = text.starts_with(' ') || text.starts_with(mark_);
      if (!is_marked && (always_ || (first_ && begins_text && i == 0))) result.add_part(mark_);
      for (std::size_t at = 0; at < text.size();) {
        const std::size_t begin = at;
        (void)next_code_point(text, at);
        std::string_view character = text.substr(begin, at - begin);
        if (character == " ") character = mark_;
        if (splits_ && character == mark_) result.end_piece();
        result.add_part(character);
      }
      result.end_piece();
    }
    return result;
  }

 private:
  std::string mark_;
  bool splits_, always_, first_;
};

class PreTokenizerSequence final : public PreTokenizer {
 public:
  explicit PreTokenizerSequence(const json& description) {
    for (const json& part : required_list(description, "pretokenizers"))
      parts_.push_back(read_pre_tokenizer(part));
  }
  Pieces apply(Pieces pieces, bool begins_text) const override {
    for (const auto& part : parts_)
      if (part) pieces = part->apply(std::move(pieces), begins_text);
    return pieces;
  }

 private:
  std::vector<std::unique_ptr<PreTokenizer>> parts_;
};

template <class T>
std::unique_ptr<PreTokenizer> read(const json& description) {
  return std::make_unique<T>(description);
}

constexpr ComponentType<PreTokenizer> pre_tokenizer_types[] = {
    {"Sequence", read<PreTokenizerSequence>},
    {"Split", read<SplitPattern>},
    {"ByteLevel", read<ByteLevel>},
    {"Digits", read<Digits>},
    {"Metaspace", read<Metaspace>},
    {"WhitespaceSplit", read<WhitespaceSplit>},
    {"BertPreTokenizer", read<BertPreTokenizer>},
};

}  // namespace

std::unique_ptr<PreTokenizer> read_pre_tokenizer(const json& description) {
  if (description.is_null()) return nullptr;
  require_few_components(description, "pretokenizers");
  return read_component<PreTokenizer>(pre_tokenizer_types, "pre_tokenizer", description);
}

}  // namespace tokenizer
