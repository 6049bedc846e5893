#include "cli/tokens.hpp"

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string_view>

#include "pare/core/error.hpp"
#include "pare/io/atomic_file.hpp"
#include "pare/io/file_kind.hpp"

namespace cli {
namespace {

pare::FileKind kind_of(std::string_view bytes) {
  return pare::file_kind(std::as_bytes(std::span(bytes.data(), bytes.size())));
}

namespace fs = std::filesystem;

/// What a file that holds no token ids is, to be added to a complaint about one.
std::string instead_of_tokens(std::string_view bytes) {
  const pare::FileKind kind = kind_of(bytes);
  const bool is_array = bytes.starts_with("\x93NUMPY");
  return kind.known() && !is_array ? "; the file is " + std::string(kind.name) : std::string();
}

template <class Stored>
std::vector<std::int64_t> to_ids(std::string_view bytes) {
  std::vector<std::int64_t> ids(bytes.size() / sizeof(Stored));
  for (std::size_t i = 0; i < ids.size(); ++i) {
    Stored value;
    std::memcpy(&value, bytes.data() + i * sizeof(Stored), sizeof(Stored));
    ids[i] = value;
  }
  return ids;
}

/// Layout: NumPy Enhancement Proposal 1; versions 1 to 3 differ in the width of the length field.
std::vector<std::int64_t> parse_npy(const std::string& file) {
  const auto fail = [](const std::string& why) { throw pare::FormatError(why); };
  if (file.size() < 12) fail("a truncated .npy header");
  const int major = static_cast<unsigned char>(file[6]);
  if (major < 1 || major > 3) fail("unknown .npy version " + std::to_string(major));
  std::size_t length = 0;
  const std::size_t field = major == 1 ? 2 : 4;
  for (std::size_t i = 0; i < field; ++i)
    length |= static_cast<std::size_t>(static_cast<unsigned char>(file[8 + i])) << (8 * i);
  const std::size_t begin = 8 + field;
  if (length > file.size() - begin) fail("a truncated .npy header");
  const std::string header = file.substr(begin, length);
  const std::string_view data = std::string_view(file).substr(begin + length);
  const bool wide = header.find("'<i8'") != std::string::npos;
  if (!wide && header.find("'<i4'") == std::string::npos)
    fail("the ids are neither '<i4' nor '<i8': " + header);
  const auto shape = header.find("'shape': (");
  const auto end = header.find(')', shape);
  if (shape == std::string::npos || end == std::string::npos) fail("a .npy header without a shape");
  const std::string extents = header.substr(shape + 10, end - shape - 10);
  if (extents.find(',') == std::string::npos || extents.find(',') + 1 != extents.size())
    fail("the ids have the shape (" + extents + "), not one dimension");
  const std::size_t count = std::strtoull(extents.c_str(), nullptr, 10);
  const std::size_t width = wide ? 8 : 4;
  if (count > data.size() / width || count * width != data.size())
    fail("the shape (" + extents + ") does not fit " + std::to_string(data.size()) +
         " bytes of data");
  return wide ? to_ids<std::int64_t>(data) : to_ids<std::int32_t>(data);
}

/// The ids of a .npy file or of raw little-endian int32.
std::vector<std::int64_t> ids_of(const std::string& bytes) {
  const bool npy = bytes.starts_with("\x93NUMPY");
  if (!npy && bytes.size() % 4 != 0)
    throw pare::FormatError(std::to_string(bytes.size()) +
                            " bytes are not a whole number of int32 token ids" +
                            instead_of_tokens(bytes));
  return npy ? parse_npy(bytes) : to_ids<std::int32_t>(bytes);
}

}  // namespace

std::string read_bytes(const fs::path& path) {
  // Pipes that the shell opened for us are read; a FIFO in the file system would wait for a writer,
  // and some devices never end.
  std::error_code ignored;
  const fs::file_status status = fs::status(path, ignored);
  const bool is_opened_already = path == "/dev/stdin" || path.string().starts_with("/dev/fd/") ||
                                 path.string().starts_with("/proc/self/fd/");
  const auto refuse = [&](std::string_view what) {
    throw pare::IoError(path.string() + ": this is " + std::string(what) + ", not a file");
  };
  if (status.type() == fs::file_type::directory) refuse("a directory");
  if (status.type() == fs::file_type::fifo && !is_opened_already) refuse("a FIFO (named pipe)");
  if (status.type() == fs::file_type::socket) refuse("a socket");
  if (fs::is_other(status) && status.type() != fs::file_type::fifo) refuse("a device");
  std::ifstream file(path, std::ios::binary);
  if (!file) throw pare::IoError(path.string() + ": cannot open the file");
  std::string bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (bytes.starts_with("version https://git-lfs"))
    throw pare::FormatError(path.string() + ": this is " + std::string(kind_of(bytes).name) + ": " +
                            std::string(kind_of(bytes).remedy));
  return bytes;
}

std::vector<std::int64_t> read_token_ids(const fs::path& path) {
  const std::string bytes = read_bytes(path);
  return pare::with_context(path.string(), [&] { return ids_of(bytes); });
}

Tokens read_token_file(const fs::path& path, pare::Index vocab_size) {
  const std::string bytes = read_bytes(path);
  return pare::with_context(path.string(), [&] {
    const auto ids = ids_of(bytes);
    if (ids.empty()) throw pare::ArgumentError("the file holds no token ids");
    Tokens tokens;
    for (std::size_t i = 0; i < ids.size(); ++i) {
      if (ids[i] < 0 || ids[i] >= vocab_size)
        throw pare::ArgumentError("token " + std::to_string(i) + " is " + std::to_string(ids[i]) +
                                  ", outside the vocabulary of " + std::to_string(vocab_size) +
                                  instead_of_tokens(bytes));
      tokens.ids.push_back(static_cast<std::int32_t>(ids[i]));
    }
    return tokens;
  });
}

void write_token_file(const fs::path& path, std::span<const std::int32_t> ids) {
  std::string header =
      "{'descr': '<i4', 'fortran_order': False, 'shape': (" + std::to_string(ids.size()) + ",), }";
  while ((10 + header.size() + 1) % 64 != 0) header += ' ';
  header += '\n';
  std::string file("\x93NUMPY\x01\x00", 8);
  file += static_cast<char>(header.size() & 255);
  file += static_cast<char>(header.size() >> 8);
  file += header;
  file.append(reinterpret_cast<const char*>(ids.data()), ids.size_bytes());
  pare::write_file(path, file);
}

std::string read_text_file(const std::filesystem::path& path) {
  std::string text = read_bytes(path);
  if (text.empty()) throw pare::ArgumentError(path.string() + ": the file is empty");
  return text;
}

}  // namespace cli
