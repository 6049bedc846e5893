#include "training/teacher_cache.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <span>
#include <string_view>
#include <utility>

#include "pare/core/error.hpp"
#include "pare/core/float16.hpp"
#include "pare/io/atomic_file.hpp"
#include "pare/io/mapped_file.hpp"
#include "pare/io/xxh64.hpp"

namespace training {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view magic = "PARETOPK";

std::uint64_t hash_of(std::span<const std::byte> bytes) { return pare::Xxh64().finish(bytes); }

template <class T>
void append(std::string& bytes, T value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}

/// Writes values one after the other, and reads them.
class Cursor {
 public:
  explicit Cursor(std::byte* at) : at_(at) {}
  template <class T>
  void put(T value) {
    std::memcpy(std::exchange(at_, at_ + sizeof value), &value, sizeof value);
  }
  template <class T>
  T take() {
    T value;
    std::memcpy(&value, std::exchange(at_, at_ + sizeof value), sizeof value);
    return value;
  }

 private:
  std::byte* at_;
};

}  // namespace

TeacherCache::TeacherCache(fs::path path, const std::string& key,
                           const TeacherCacheOptions& options)
    : path_(std::move(path)), options_(options) {
  options_.kept = std::min(options.kept, options.classes);
  if (options_.kept < 1 || options.tokens < 1)
    throw pare::ArgumentError("a cache of " + std::to_string(options_.kept) + " classes of " +
                              std::to_string(options.tokens) + " tokens");
  id_bytes_ = options.classes <= Index{1} << 16 ? 2 : 4;
  value_bytes_ = options.is_half ? 2 : 4;
  const auto tokens = static_cast<std::size_t>(options.tokens);
  const auto entries = tokens * static_cast<std::size_t>(options_.kept);
  record_bytes_ = entries * (id_bytes_ + value_bytes_) + tokens * sizeof(float);
  record_bytes_ = (record_bytes_ + 7) / 8 * 8 + sizeof(std::uint64_t);
  const std::string own = header(key);
  header_bytes_ = own.size();
  if (!fs::exists(fs::symlink_status(path_))) pare::write_file(path_, own);
  {
    const pare::MappedFile file(path_);
    const std::string_view found(reinterpret_cast<const char*>(file.bytes().data()),
                                 file.bytes().size());
    if (!found.starts_with(magic))
      throw pare::ArgumentError(path_.string() +
                                " is no cache of a teacher: name another file, or move it away");
    std::uint64_t json_bytes = 0;
    const bool has_size = found.size() >= 16;
    if (has_size) std::memcpy(&json_bytes, found.data() + 8, 8);
    std::uint64_t hash = 0;
    const bool is_whole = has_size && json_bytes <= found.size() - 16 &&
                          found.size() - 16 - json_bytes >= sizeof hash;
    if (is_whole) std::memcpy(&hash, found.data() + 16 + json_bytes, sizeof hash);
    if (!is_whole || hash != hash_of(file.bytes().first(16 + json_bytes)))
      throw pare::FormatError(path_.string() +
                              ": the header of this cache is damaged: remove it, and the teacher "
                              "is asked again");
    if (!found.starts_with(own))
      throw pare::ArgumentError(path_.string() +
                                " is the cache of another teacher, text, batches or temperature: "
                                "name another file, or remove it");
  }
  file_ = ::open(path_.c_str(), O_RDWR | O_CLOEXEC);
  if (file_ < 0) throw pare::detail::io_error(path_, "cannot open");
}

TeacherCache::~TeacherCache() { ::close(file_); }

std::string TeacherCache::header(const std::string& key) const {
  std::string json = nlohmann::json{{"version", 1},
                                    {"key", key},
                                    {"tokens", options_.tokens},
                                    {"classes", options_.classes},
                                    {"kept", options_.kept},
                                    {"ids", id_bytes_ == 2 ? "U16" : "U32"},
                                    {"values", options_.is_half ? "F16" : "F32"},
                                    {"temperature", options_.temperature}}
                         .dump();
  json.resize((json.size() + 7) / 8 * 8, ' ');
  std::string bytes(magic);
  append(bytes, static_cast<std::uint64_t>(json.size()));
  bytes += json;
  append(bytes, hash_of(std::as_bytes(std::span(bytes))));
  return bytes;
}

std::uint64_t TeacherCache::place_of(std::int64_t record) const {
  if (record < 0) throw pare::ArgumentError("record " + std::to_string(record) + " of a cache");
  return header_bytes_ + static_cast<std::uint64_t>(record) * record_bytes_;
}

std::optional<pare::TopKLogits<float>> TeacherCache::read(std::int64_t record) const {
  std::vector<std::byte> bytes(record_bytes_);
  const std::uint64_t place = place_of(record);
  for (std::size_t done = 0; done < bytes.size();) {
    const ::ssize_t count = ::pread(file_, bytes.data() + done, bytes.size() - done,
                                    static_cast<::off_t>(place + done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw pare::detail::io_error(path_, "cannot read");
    if (count == 0) return std::nullopt;
    done += static_cast<std::size_t>(count);
  }
  std::uint64_t hash;
  std::memcpy(&hash, bytes.data() + bytes.size() - sizeof hash, sizeof hash);
  if (hash != hash_of(std::span(bytes).first(bytes.size() - sizeof hash))) return std::nullopt;
  return decode(bytes);
}

pare::TopKLogits<float> TeacherCache::decode(const std::vector<std::byte>& bytes) const {
  const pare::Shape<2> shape{options_.tokens, options_.kept};
  pare::TopKLogits<float> top{pare::Matrix<Index>(shape), pare::Matrix<float>(shape),
                              pare::Vector<float>({options_.tokens}), options_.temperature};
  Cursor at(const_cast<std::byte*>(bytes.data()));
  for (Index& id : top.classes.span())
    id = id_bytes_ == 2 ? static_cast<Index>(at.take<std::uint16_t>())
                        : static_cast<Index>(at.take<std::uint32_t>());
  for (float& value : top.log_probabilities.span())
    value = options_.is_half ? static_cast<float>(at.take<pare::Float16>()) : at.take<float>();
  for (float& rest : top.log_rest.span()) rest = at.take<float>();
  // Rounded logarithms are made a distribution again.
  for (Index t = 0; t < options_.tokens; ++t) {
    double sum = std::exp(static_cast<double>(top.log_rest[t]));
    for (Index r = 0; r < options_.kept; ++r)
      sum += std::exp(static_cast<double>(top.log_probabilities(t, r)));
    const auto excess = static_cast<float>(std::log(sum));
    for (Index r = 0; r < options_.kept; ++r) top.log_probabilities(t, r) -= excess;
    top.log_rest[t] -= excess;
  }
  return top;
}

pare::TopKLogits<float> TeacherCache::write(std::int64_t record,
                                            pare::MatrixView<const float> logits,
                                            const pare::Execution& execution) {
  const pare::Shape<2> shape{options_.tokens, options_.classes};
  if (logits.shape() != shape)
    throw pare::ShapeError("logits of shape " + pare::to_string(logits.shape()) +
                           " for a cache of " + pare::to_string(shape));
  const std::uint64_t place = place_of(record);
  std::vector<std::byte> bytes(record_bytes_);
  const auto kept = static_cast<std::size_t>(options_.kept);
  const std::size_t entries = static_cast<std::size_t>(options_.tokens) * kept;
  constexpr Index rows = 64;
  execution.parallel_for(pare::ceil_div(options_.tokens, rows), [&](Index piece) {
    const Index first = piece * rows, count = std::min(rows, options_.tokens - first);
    const auto top = pare::top_k_logits<float>(logits.slice(0, first, count), options_.kept,
                                               options_.temperature);
    const auto before = static_cast<std::size_t>(first) * kept;
    Cursor ids(bytes.data() + before * id_bytes_);
    Cursor values(bytes.data() + entries * id_bytes_ + before * value_bytes_);
    Cursor rests(bytes.data() + entries * (id_bytes_ + value_bytes_) +
                 static_cast<std::size_t>(first) * sizeof(float));
    for (const Index id : top.classes.span())
      if (id_bytes_ == 2)
        ids.put(static_cast<std::uint16_t>(id));
      else
        ids.put(static_cast<std::uint32_t>(id));
    for (const float value : top.log_probabilities.span())
      if (options_.is_half)
        values.put(pare::Float16(value));
      else
        values.put(value);
    for (const float rest : top.log_rest.span()) rests.put(rest);
  });
  const std::uint64_t hash = hash_of(std::span(bytes).first(bytes.size() - sizeof(std::uint64_t)));
  std::memcpy(bytes.data() + bytes.size() - sizeof hash, &hash, sizeof hash);
  for (std::size_t done = 0; done < bytes.size();) {
    const ::ssize_t count = ::pwrite(file_, bytes.data() + done, bytes.size() - done,
                                     static_cast<::off_t>(place + done));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) throw pare::detail::io_error(path_, "cannot write", count < 0 ? errno : ENOSPC);
    done += static_cast<std::size_t>(count);
  }
  return decode(bytes);
}

}  // namespace training
