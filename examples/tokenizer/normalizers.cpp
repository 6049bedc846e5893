#include "tokenizer/normalizers.hpp"

#include <vector>

#include "tokenizer/bert_normalizer.hpp"
#include "tokenizer/character_map.hpp"
#include "tokenizer/component_list.hpp"
#include "tokenizer/growing_text.hpp"
#include "tokenizer/pattern.hpp"
#include "tokenizer/unicode.hpp"

namespace tokenizer {
namespace {

using nlohmann::json;

template <NormalForm form>
class UnicodeForm final : public Normalizer {
 public:
  explicit UnicodeForm(const json&) {}
  std::string apply(std::string text, std::size_t limit) const override {
    GrowingText result(limit);
    result.add(to_normal_form(text, form));
    return result.take();
  }
};

class Lowercase final : public Normalizer {
 public:
  explicit Lowercase(const json&) {}
  std::string apply(std::string text, std::size_t limit) const override {
    GrowingText result(limit);
    for (std::size_t at = 0; at < text.size();) result.add_lowercase(next_code_point(text, at));
    return result.take();
  }
};

class Replace final : public Normalizer {
 public:
  explicit Replace(const json& description)
      : pattern_(required(description, "pattern")),
        content_(required_as<std::string>(description, "content")) {}
  std::string apply(std::string text, std::size_t limit) const override {
    return pattern_.replace_all(text, content_, limit);
  }

 private:
  Pattern pattern_;
  std::string content_;
};

class Prepend final : public Normalizer {
 public:
  explicit Prepend(const json& description)
      : prefix_(required_as<std::string>(description, "prepend")) {}
  std::string apply(std::string text, std::size_t limit) const override {
    if (text.empty()) return text;
    GrowingText result(limit);
    result.add(prefix_);
    result.add(text);
    return result.take();
  }

 private:
  std::string prefix_;
};

/// White space at the ends.
class StripEnds final : public Normalizer {
 public:
  explicit StripEnds(const json& description)
      : left_(required_as<bool>(description, "strip_left")),
        right_(required_as<bool>(description, "strip_right")) {}
  std::string apply(std::string text, std::size_t) const override {
    std::size_t begin = 0, end = text.size();
    for (std::size_t next = 0; left_ && begin < end; begin = next)
      if (!is_white_space(next_code_point(text, next))) break;
    while (right_ && end > begin) {
      const std::size_t before = previous_boundary(text, end);
      std::size_t at = before;
      if (!is_white_space(next_code_point(text, at))) break;
      end = before;
    }
    return text.substr(begin, end - begin);
  }

 private:
  bool left_, right_;
};

/// SentencePiece's map. A short grapheme cluster is looked up whole, and a known beginning stands
/// for all of it; otherwise each code point is.
class Precompiled final : public Normalizer {
 public:
  explicit Precompiled(const json& description) {
    if (const auto map = pare::field_as<std::string>(description, {"precompiled_charsmap"}))
      if (!map->empty()) map_.emplace(*map);
  }
  std::string apply(std::string text, std::size_t limit) const override {
    if (!map_) return text;
    GrowingText result(limit);
    const std::string_view all = text;
    for (std::size_t at = 0; at < all.size();) {
      const std::size_t end = grapheme_end(all, at);
      if (end - at < 6) {
        if (const auto mapped = map_->find(all.substr(at, end - at))) {
          result.add(*mapped);
          at = end;
          continue;
        }
      }
      while (at < end) {
        const std::size_t begin = at;
        (void)next_code_point(all, at);
        const std::string_view character = all.substr(begin, at - begin);
        result.add(map_->find(character).value_or(character));
      }
    }
    return result.take();
  }

 private:
  std::optional<CharacterMap> map_;
};

class NormalizerSequence final : public Normalizer {
 public:
  explicit NormalizerSequence(const json& description) {
    for (const json& part : required_list(description, "normalizers"))
      parts_.push_back(read_normalizer(part));
  }
  std::string apply(std::string text, std::size_t limit) const override {
    for (const auto& part : parts_)
      if (part) text = part->apply(std::move(text), limit);
    return text;
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> parts_;
};

template <class T>
std::unique_ptr<Normalizer> read(const json& description) {
  return std::make_unique<T>(description);
}

constexpr ComponentType<Normalizer> normalizer_types[] = {
    {"Sequence", read<NormalizerSequence>},
    {"NFC", read<UnicodeForm<NormalForm::c>>},
    {"NFD", read<UnicodeForm<NormalForm::d>>},
    {"NFKC", read<UnicodeForm<NormalForm::kc>>},
    {"NFKD", read<UnicodeForm<NormalForm::kd>>},
    {"Lowercase", read<Lowercase>},
    {"Replace", read<Replace>},
    {"Prepend", read<Prepend>},
    {"Strip", read<StripEnds>},
    {"Precompiled", read<Precompiled>},
    {"BertNormalizer", read_bert_normalizer},
};

}  // namespace

std::unique_ptr<Normalizer> read_normalizer(const json& description) {
  if (description.is_null()) return nullptr;
  require_few_components(description, "normalizers");
  return read_component<Normalizer>(normalizer_types, "normalizer", description);
}

}  // namespace tokenizer
