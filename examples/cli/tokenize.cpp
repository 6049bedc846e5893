#include <cstdio>
#include <limits>
#include <optional>

#include "cli/input_paths.hpp"
#include "cli/options.hpp"
#include "cli/report.hpp"
#include "cli/standard_output.hpp"
#include "cli/tokens.hpp"
#include "pare/core/error.hpp"
#include "pare/io/atomic_file.hpp"
#ifdef PARE_HAVE_TOKENIZER_JSON
#include "tokenizer/tokenizer.hpp"
#include "tokenizer/unicode.hpp"
#endif

namespace cli {
namespace {

namespace fs = std::filesystem;

fs::path tokenizer_file(const fs::path& model) {
  if (!fs::is_directory(model)) return model;
  fs::path file = model / "tokenizer.json";
  if (!fs::exists(file)) throw pare::ArgumentError(model.string() + " has no tokenizer.json");
  return file;
}

#ifdef PARE_HAVE_TOKENIZER_JSON
std::string read_utf8(const fs::path& path) {
  std::string text = read_bytes(path);
  if (const std::size_t at = tokenizer::find_invalid_utf8(text); at != std::string::npos)
    throw pare::ArgumentError(path.string() + ": not UTF-8 at byte " + std::to_string(at));
  return text;
}

/// Numbers outside the vocabulary are the tokenizer's to leave out; below 0 there is none.
std::vector<std::int32_t> read_ids(const fs::path& path) {
  std::vector<std::int32_t> ids;
  for (const std::int64_t id : read_token_ids(path)) {
    if (id < 0)
      throw pare::ArgumentError(path.string() + ": token " + std::to_string(ids.size()) + " is " +
                                std::to_string(id) + ", below 0");
    ids.push_back(static_cast<std::int32_t>(
        std::min<std::int64_t>(id, std::numeric_limits<std::int32_t>::max())));
  }
  return ids;
}

void to_ids(const TokenizeCommand& options, const tokenizer::Tokenizer& tokenizer) {
  using tokenizer::SpecialTokens;
  const auto special = options.plain ? SpecialTokens::leave_out : SpecialTokens::add;
  const std::string text = read_utf8(options.text);
  const auto ids = options.pair.empty()
                       ? tokenizer.encode(text, special).ids
                       : tokenizer.encode_pair(text, read_utf8(options.pair), special).ids;
  if (!options.out.empty()) return write_token_file(options.out, ids);
  for (const std::int32_t id : ids) std::printf("%d\n", id);
  flush_standard_output();
}

void to_text(const TokenizeCommand& options, const tokenizer::Tokenizer& tokenizer) {
  const std::string text = tokenizer.decode(read_ids(options.ids), options.skip_special);
  if (!options.out.empty()) return pare::write_file(options.out, text);
  std::fwrite(text.data(), 1, text.size(), stdout);
  flush_standard_output();
}
#endif

}  // namespace

void tokenize(const TokenizeCommand& options) {
  const bool encodes = !options.text.empty();
  if (encodes == !options.ids.empty())
    throw pare::ArgumentError("give either --text FILE or --decode FILE");
  const fs::path file = tokenizer_file(options.model);
  InputPaths inputs;
  inputs.add_model(options.model);
  for (const fs::path& input : {file, options.text, options.pair, options.ids})
    inputs.add_file(input);
  if (encodes)
    require_report_path("--out", options.out, {".npy"}, inputs);
  else
    require_report_path("--out", options.out, {}, inputs);
#ifdef PARE_HAVE_TOKENIZER_JSON
  const tokenizer::Tokenizer tokenizer(file);
  encodes ? to_ids(options, tokenizer) : to_text(options, tokenizer);
#else
  throw pare::ArgumentError(file.string() + ": " + no_tokenizer_json);
#endif
}

}  // namespace cli
