#include "tokenizer/bert_normalizer.hpp"

#include <algorithm>

#include "tokenizer/growing_text.hpp"
#include "tokenizer/json_fields.hpp"

namespace tokenizer {
namespace {

/// Ideographs, by the blocks that BERT's own tokenizer names.
bool is_ideograph(char32_t code) {
  static constexpr struct {
    char32_t first, last;
  } blocks[] = {{0x4E00, 0x9FFF},   {0x3400, 0x4DBF},   {0x20000, 0x2A6DF}, {0x2A700, 0x2B73F},
                {0x2B740, 0x2B81F}, {0x2B920, 0x2CEAF}, {0xF900, 0xFAFF},   {0x2F800, 0x2FA1F}};
  return std::any_of(std::begin(blocks), std::end(blocks),
                     [&](const auto& block) { return code >= block.first && code <= block.last; });
}

class BertNormalizer final : public Normalizer {
 public:
  explicit BertNormalizer(const nlohmann::json& description)
      : clean_(flag(description, "clean_text", true)),
        isolate_(flag(description, "handle_chinese_chars", true)),
        lower_(flag(description, "lowercase", true)),
        strip_(flag(description, "strip_accents", lower_)) {}

  std::string apply(std::string text, std::size_t limit) const override {
    if (clean_ || isolate_) text = cleaned(text, limit);
    if (strip_) text = to_normal_form(text, NormalForm::d);
    if (strip_ || lower_) text = folded(text, limit);
    return text;
  }

 private:
  [[nodiscard]] std::string cleaned(std::string_view text, std::size_t limit) const {
    GrowingText result(limit);
    for (std::size_t at = 0; at < text.size();) {
      char32_t code = next_code_point(text, at);
      if (clean_) {
        const bool is_blank = code == '\t' || code == '\n' || code == '\r';
        if (code == 0 || code == 0xFFFD || (!is_blank && is_control(code))) continue;
        if (is_white_space(code)) code = ' ';
      }
      const bool stands_alone = isolate_ && is_ideograph(code);
      if (stands_alone) result.add(U' ');
      result.add(code);
      if (stands_alone) result.add(U' ');
    }
    return result.take();
  }

  [[nodiscard]] std::string folded(std::string_view text, std::size_t limit) const {
    GrowingText result(limit);
    for (std::size_t at = 0; at < text.size();) {
      const char32_t code = next_code_point(text, at);
      if (strip_ && is_nonspacing_mark(code)) continue;
      if (lower_)
        result.add_lowercase(code);
      else
        result.add(code);
    }
    return result.take();
  }

  bool clean_, isolate_, lower_, strip_;
};

}  // namespace

std::unique_ptr<Normalizer> read_bert_normalizer(const nlohmann::json& description) {
  return std::make_unique<BertNormalizer>(description);
}

}  // namespace tokenizer
