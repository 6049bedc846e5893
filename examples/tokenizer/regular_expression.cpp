#include "tokenizer/regular_expression.hpp"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <new>
#include <utility>

#include "pare/core/error.hpp"
#include "tokenizer/unicode.hpp"

namespace tokenizer {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t longest_pattern = 1 << 14;

std::string message_of(int code) {
  PCRE2_UCHAR text[256];
  return pcre2_get_error_message(code, text, sizeof text) < 0
             ? "error " + std::to_string(code)
             : std::string(reinterpret_cast<const char*>(text));
}

/// What matching needs beside the expression, once for each thread.
struct MatchMemory {
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
  pcre2_jit_stack* stack = pcre2_jit_stack_create(1 << 15, 1 << 23, nullptr);
  Clock::time_point deadline = Clock::time_point::max();
  unsigned steps = 0;

  MatchMemory() {
    if (!context || !data || !stack) throw std::bad_alloc();
    pcre2_jit_stack_assign(context, nullptr, stack);
    pcre2_set_heap_limit(context, 1 << 16);  // kibibytes, without JIT
    pcre2_set_callout(context, look_at_clock, this);
  }
  MatchMemory(const MatchMemory&) = delete;
  MatchMemory& operator=(const MatchMemory&) = delete;
  ~MatchMemory() {
    pcre2_jit_stack_free(stack);
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
  }

  /// PCRE2 calls this between the items of a watched expression; not 0 ends the match.
  static int look_at_clock(pcre2_callout_block*, void* self) {
    auto& memory = *static_cast<MatchMemory*>(self);
    if (++memory.steps % 64 != 0 || Clock::now() < memory.deadline) return 0;
    return PCRE2_ERROR_CALLOUT;
  }
};

MatchMemory& match_memory() {
  thread_local MatchMemory memory;
  return memory;
}

/// Of a long text this much is looked at first, in bytes. A match that does not reach the end is
/// the same as in the whole text, and nothing can take long in so little.
constexpr std::size_t window = 4096;

/// The expression as PCRE2 must read it to mean the same. Throws FormatError for what Oniguruma's
/// Ruby syntax means otherwise.
class Translation {
 public:
  explicit Translation(std::string_view pattern) : pattern_(pattern) {}

  [[nodiscard]] std::string text() {
    while (at_ < pattern_.size()) {
      if (pattern_[at_] == '\\')
        escape();
      else if (in_class_)
        in_class();
      else
        outside();
    }
    return std::move(result_);
  }

 private:
  // In Latin-1 Oniguruma counts the superscript digits and fractions, too.
  static constexpr std::string_view word =
      R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\xB2\xB3\xB9\xBC-\xBE)";

  [[noreturn]] static void refuse(std::string_view what) {
    throw pare::FormatError(std::string(what) + " is not supported");
  }
  [[nodiscard]] bool follows(std::string_view text) const {
    return pattern_.substr(at_).starts_with(text);
  }
  void copy(std::size_t count) {
    result_ += pattern_.substr(at_, count);
    at_ += count;
  }

  void escape() {
    const std::string_view both = pattern_.substr(at_, 2);
    const char next = both.size() == 2 ? both[1] : '\0';
    const bool is_letter = (next >= 'a' && next <= 'z') || (next >= 'A' && next <= 'Z');
    if (next == 's' || next == 'S') {
      result_ += next == 's' ? "\\p{White_Space}" : "\\P{White_Space}";
      at_ += 2;
    } else if (next == 'w' || (next == 'W' && !in_class_)) {
      ((result_ += in_class_ ? "" : next == 'w' ? "[" : "[^") += word) += in_class_ ? "" : "]";
      at_ += 2;
    } else if (is_letter && std::string_view("AZdDpPrntfxz").find(next) == std::string_view::npos) {
      refuse(both);
    } else if (next >= '1' && next <= '9') {
      refuse("a reference back");  // each takes as long as what it refers to
    } else {
      copy(2);
      if (is_letter && follows("{"))  // such as \p{L}
        copy(std::min(pattern_.find('}', at_), pattern_.size() - 1) + 1 - at_);
    }
  }

  void in_class() {
    if (follows("&&")) refuse("&& in a class");
    if (follows("[")) refuse("a class within a class");
    in_class_ = !follows("]");
    copy(1);
  }

  void outside() {
    if (follows("(*")) refuse("(*");
    if (follows("{,")) refuse("{,");
    if (follows("}+")) refuse("}+");
    if (follows("(?")) {
      const std::string_view kinds[] = {
          "(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:", "(?-i:"};
      if (std::none_of(std::begin(kinds), std::end(kinds),
                       [&](auto kind) { return follows(kind); }))
        refuse(pattern_.substr(at_, 3));
    }
    in_class_ = follows("[");
    copy(follows("[^") ? 2 : 1);
    if (in_class_ && follows("]")) {  // the first of a class is one of its characters
      result_ += '\\';
      copy(1);
    }
  }

  std::string_view pattern_;
  std::size_t at_ = 0;
  bool in_class_ = false;
  std::string result_;
};

}  // namespace

struct RegularExpression::Compiled {
  pcre2_code* quick = nullptr;
  pcre2_code* watched = nullptr;  ///< the same, with looks at the clock while it is matched

  Compiled() = default;
  Compiled(const Compiled&) = delete;
  Compiled& operator=(const Compiled&) = delete;
  ~Compiled() {
    pcre2_code_free(quick);
    pcre2_code_free(watched);
  }
};

RegularExpression::~RegularExpression() = default;
RegularExpression::RegularExpression(RegularExpression&&) noexcept = default;

RegularExpression::RegularExpression(std::string pattern)
    : compiled_(std::make_unique<Compiled>()), pattern_(std::move(pattern)) {
  const std::string shown = pattern_.substr(0, next_boundary(pattern_, 100));
  pare::with_context("the regular expression \"" + shown + "\"", [&] {
    if (pattern_.size() > longest_pattern) throw pare::FormatError("it is too long");
    const std::string text = Translation(pattern_).text();
    const std::unique_ptr<pcre2_compile_context, void (*)(pcre2_compile_context*)> context(
        pcre2_compile_context_create(nullptr), pcre2_compile_context_free);
    if (!context) throw std::bad_alloc();
    pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
    pcre2_set_parens_nest_limit(context.get(), 100);
    const auto compile = [&](std::uint32_t more) {
      int error = 0;
      PCRE2_SIZE offset = 0;
      // Lines begin and end for ^ and $ as in Oniguruma's Ruby syntax.
      pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(),
                                       PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE |
                                           PCRE2_NEVER_BACKSLASH_C | PCRE2_USE_OFFSET_LIMIT | more,
                                       &error, &offset, context.get());
      if (!code) throw pare::FormatError(message_of(error));
      // Where there is no compiler for this machine, the interpreter gives the same.
      (void)pcre2_jit_compile(code, PCRE2_JIT_COMPLETE | PCRE2_JIT_PARTIAL_HARD);
      return code;
    };
    compiled_->quick = compile(0);
    compiled_->watched = compile(PCRE2_AUTO_CALLOUT);
  });
}

void RegularExpression::start_clock(std::size_t text_bytes) {
  match_memory().deadline =
      Clock::now() + std::chrono::seconds(10) +
      std::chrono::microseconds(
          10 * static_cast<std::int64_t>(std::min<std::size_t>(text_bytes, std::size_t{1} << 40)));
}

void RegularExpression::find_all(std::string_view text, std::vector<Match>& matches) const {
  matches.clear();
  MatchMemory& memory = match_memory();
  const auto fail = [&](std::size_t at, const std::string& why) {
    throw pare::ArgumentError("the regular expression \"" +
                              pattern_.substr(0, next_boundary(pattern_, 100)) +
                              "\" stops at byte " + std::to_string(at) + ": " + why);
  };
  // One of PCRE2's results; matches may begin up to `last`.
  const auto match = [&](pcre2_code* code, std::size_t size, std::size_t at, std::size_t last,
                         std::uint32_t options) {
    // Enough for a run as long as the text to be tried character by character some times.
    pcre2_set_match_limit(memory.context, static_cast<std::uint32_t>(std::min<std::size_t>(
                                              200'000 + 16 * (size - at), 1u << 31)));
    pcre2_set_offset_limit(memory.context, last);
    return pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(text.data()), size, at,
                       PCRE2_NO_UTF_CHECK | options, memory.data, memory.context);
  };
  // Limits hold for each place where a match may begin: few are tried between looks at the clock,
  // and more when that was quick.
  constexpr std::size_t fewest_starts = 8;
  std::size_t starts = fewest_starts, behind_last = std::string_view::npos;
  Clock::time_point before = Clock::now();
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t last = std::min(text.size(), at + starts);
    const std::size_t end = next_boundary(text, std::min(text.size(), last + window));
    int result = match(compiled_->quick, end, at, last, end < text.size() ? PCRE2_PARTIAL_HARD : 0);
    const PCRE2_SIZE* found = pcre2_get_ovector_pointer(memory.data);
    if (result == PCRE2_ERROR_PARTIAL) {
      at = std::max<std::size_t>(at, found[0]);
      result = match(compiled_->watched, text.size(), at, last, 0);
    }
    const Clock::time_point now = Clock::now();
    if (result == PCRE2_ERROR_CALLOUT || now > memory.deadline) fail(at, "it takes too long");
    if (result < 0 && result != PCRE2_ERROR_NOMATCH) fail(at, message_of(result));
    starts = now - before < std::chrono::milliseconds(1) ? std::min<std::size_t>(2 * starts, 4096)
                                                         : fewest_starts;
    before = now;
    if (result == PCRE2_ERROR_NOMATCH) {
      at = next_boundary(text, last + 1);
    } else if (found[0] == found[1] && found[1] == behind_last) {
      at = next_boundary(text, at + 1);
    } else {
      matches.push_back({found[0], found[1]});
      at = behind_last = found[1];
    }
  }
}

}  // namespace tokenizer
