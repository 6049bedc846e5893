#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pare/io/stored_tensor.hpp"
#include "pare/io/xxh64.hpp"
#include "pare/kernels/packed_matrix.hpp"

namespace pare {

/// A packed matrix in a file.
struct PackedRecord {
  std::string name;
  std::string format;  ///< Format::name: "int4" ...
  std::string layout;  ///< how the payload is arranged: "dense" or SparseLayout::name
  std::uint32_t layout_version = 1;
  PackedShape shape;
  std::uint64_t offset_bytes = 0;  ///< of the payload in the file
  std::uint64_t size_bytes = 0;    ///< of the payload
  std::uint64_t checksum = 0;      ///< XXH64 of the payload
};

/// The table of contents of a file of packed matrices. Integers are of the byte order that the mark
/// at 8 shows; a machine of the other order refuses the file.
///
///     offset  bytes
///          0      8  "PAREPACK"
///          8      4  u32 0x01020304, the byte order mark
///         12      4  u32 1, the version of this table
///         16      8  u64 length of the file
///         24      8  u64 number of matrices n
///         32      8  u64 length of the names, all together
///         40     16  zeros
///         56      8  u64 XXH64 of head, records and names, with zeros for these 8 bytes
///         64  128 n  records
///                    names, one behind the other, not terminated
///                    zeros up to a multiple of 4096
///                    payloads, each from the next multiple of 4096 on, zeros between them
///
/// A record:
///
///          0      8  u64 offset of the payload
///          8      8  u64 length of the payload
///         16      8  u64 XXH64 of the payload
///         24      8  u64 rows
///         32      8  u64 cols
///         40      8  i64 group size, -1 for the whole row
///         48     16  format, like "int4", filled up with zeros
///         64     16  layout, "dense" or the name of a sparse one, like "2:4"
///         80      8  scale type: "f32", "f16" or "bf16"
///         88      4  u32 version of the layout: 1
///         92      4  u32 1 with a column order, else 0
///         96      4  u32 length of the name
///        100     28  zeros
///
/// The payload of a dense matrix is what kernels::PackedSections describes. A sparse one has the
/// format "int8" and is what kernels::SparseSections describes, with the codes of the layout.
struct PackedHeader {
  std::uint64_t file_bytes = 0;
  std::vector<PackedRecord> records;

  static constexpr std::uint64_t alignment_bytes = 4096;  ///< a page: sections can be mapped

  /// Gives the payloads their places. Throws ArgumentError for a name given twice.
  void place();
  /// The bytes up to the end of the names.
  [[nodiscard]] std::vector<std::byte> encode() const;
  /// Reads and validates the head of a file that is given whole; payloads are only located.
  /// Throws FormatError naming the offset.
  [[nodiscard]] static PackedHeader parse(std::span<const std::byte> file);
};

namespace detail {

struct StoredPackedHead {
  char magic[8] = {'P', 'A', 'R', 'E', 'P', 'A', 'C', 'K'};
  std::uint32_t byte_order = 0x01020304u;
  std::uint32_t version = 1;
  std::uint64_t file_bytes = 0, matrices = 0, names_bytes = 0;
  std::uint64_t zeros[2] = {};
  std::uint64_t checksum = 0;
};
static_assert(sizeof(StoredPackedHead) == 64);

struct StoredPackedRecord {
  std::uint64_t offset_bytes = 0, size_bytes = 0, checksum = 0, rows = 0, cols = 0;
  std::int64_t group_size = -1;
  char format[16] = {}, layout[16] = {}, scale_type[8] = {};
  std::uint32_t layout_version = 1, has_column_order = 0, name_bytes = 0;
  char zeros[28] = {};
};
static_assert(sizeof(StoredPackedRecord) == 128);

[[noreturn]] inline void fail_at(std::uint64_t offset, const std::string& reason) {
  throw FormatError("at offset " + std::to_string(offset) + ": " + reason);
}

/// Text of a field that zeros fill up.
template <std::size_t N>
[[nodiscard]] std::string field_text(const char (&field)[N], std::uint64_t offset) {
  const std::string_view all(field, N);
  const std::string_view text = all.substr(0, all.find('\0'));
  for (const char c : all.substr(text.size()))
    if (c != '\0') fail_at(offset, "text goes on behind its end");
  return std::string(text);
}

template <std::size_t N>
void set_field(char (&field)[N], std::string_view text) {
  if (text.size() > N) throw ArgumentError(in_quotes(text) + " is too long for its field");
  text.copy(field, N);
}

/// Checks what does not depend on other records; the name is not there yet.
[[nodiscard]] inline PackedRecord decode_record(const StoredPackedRecord& stored,
                                                std::uint64_t offset) {
  PackedRecord record;
  record.format = field_text(stored.format, offset + 48);
  record.layout = field_text(stored.layout, offset + 64);
  const std::string scale_type = field_text(stored.scale_type, offset + 80);
  bool known = false;
  for (const ScaleType type : {ScaleType::f32, ScaleType::f16, ScaleType::bf16})
    if (scale_type == to_string(type)) record.shape.scale_type = type, known = true;
  if (!known) fail_at(offset + 80, "unknown scale type " + in_quotes(scale_type));
  constexpr std::uint64_t most = std::numeric_limits<std::int32_t>::max();
  if (stored.rows > most) fail_at(offset + 24, std::to_string(stored.rows) + " rows are too many");
  if (stored.cols > most)
    fail_at(offset + 32, std::to_string(stored.cols) + " columns are too many");
  record.shape.rows = static_cast<Index>(stored.rows);
  record.shape.cols = static_cast<Index>(stored.cols);
  record.shape.group_size = static_cast<Index>(stored.group_size);
  record.layout_version = stored.layout_version;
  if (stored.has_column_order > 1) fail_at(offset + 92, "neither 0 nor 1");
  record.shape.has_column_order = stored.has_column_order == 1;
  for (const char zero : stored.zeros)
    if (zero != 0) fail_at(offset + 100, "not zeros");
  record.offset_bytes = stored.offset_bytes;
  record.size_bytes = stored.size_bytes;
  record.checksum = stored.checksum;
  return record;
}

[[nodiscard]] constexpr std::uint64_t next_payload(std::uint64_t end) noexcept {
  constexpr std::uint64_t page = PackedHeader::alignment_bytes;
  return (end + page - 1) / page * page;
}

/// The head, when it and the length of the file fit each other.
[[nodiscard]] inline StoredPackedHead read_packed_head(std::span<const std::byte> file) {
  StoredPackedHead head;
  const StoredPackedHead expected;
  if (file.size() < sizeof(head))
    fail_at(file.size(), "the file ends inside the head of packed matrices");
  std::memcpy(&head, file.data(), sizeof(head));
  if (std::memcmp(head.magic, expected.magic, sizeof(head.magic)) != 0)
    fail_at(0, "no file of packed matrices");
  if (head.byte_order == 0x04030201u)
    fail_at(8, "packed on a machine of the other byte order: pack again on this one");
  if (head.byte_order != expected.byte_order) fail_at(8, "no byte order mark");
  if (head.version != expected.version)
    fail_at(12, "version " + std::to_string(head.version) + " of the table, only " +
                    std::to_string(expected.version) + " is known");
  if (head.file_bytes != file.size())
    fail_at(16, "the file should have " + std::to_string(head.file_bytes) + " bytes and has " +
                    std::to_string(file.size()) + ": it is truncated or damaged");
  const std::uint64_t room = file.size() - sizeof(head);
  if (head.matrices > room / sizeof(StoredPackedRecord))
    fail_at(24, std::to_string(head.matrices) + " matrices reach beyond the file");
  if (head.names_bytes > room - head.matrices * sizeof(StoredPackedRecord))
    fail_at(32, "names of " + std::to_string(head.names_bytes) + " bytes reach beyond the file");
  if (head.zeros[0] != 0 || head.zeros[1] != 0) fail_at(40, "not zeros");
  return head;
}

/// Of the head and what follows it, records and names.
[[nodiscard]] inline std::uint64_t packed_table_checksum(StoredPackedHead head,
                                                         std::span<const std::byte> rest) {
  head.checksum = 0;
  Xxh64 hash;
  hash.add(std::as_bytes(std::span(&head, 1)));
  return hash.finish(rest);
}

}  // namespace detail

inline void PackedHeader::place() {
  std::set<std::string_view> seen;
  file_bytes = sizeof(detail::StoredPackedHead);
  for (const PackedRecord& record : records) {
    if (!seen.insert(record.name).second)
      throw ArgumentError("the name " + detail::in_quotes(record.name) + " is given twice");
    file_bytes += sizeof(detail::StoredPackedRecord) + record.name.size();
  }
  for (PackedRecord& record : records) {
    record.offset_bytes = detail::next_payload(file_bytes);
    file_bytes = record.offset_bytes + record.size_bytes;
  }
}

inline std::vector<std::byte> PackedHeader::encode() const {
  detail::StoredPackedHead head;
  head.file_bytes = file_bytes;
  head.matrices = records.size();
  for (const PackedRecord& record : records) head.names_bytes += record.name.size();

  std::vector<std::byte> table;
  const auto append = [&](const void* data, std::size_t size) {
    const auto* bytes = static_cast<const std::byte*>(data);
    table.insert(table.end(), bytes, bytes + size);
  };
  append(&head, sizeof(head));
  for (const PackedRecord& record : records) {
    detail::StoredPackedRecord stored;
    stored.offset_bytes = record.offset_bytes;
    stored.size_bytes = record.size_bytes;
    stored.checksum = record.checksum;
    stored.rows = static_cast<std::uint64_t>(record.shape.rows);
    stored.cols = static_cast<std::uint64_t>(record.shape.cols);
    stored.group_size = record.shape.group_size;
    detail::set_field(stored.format, record.format);
    detail::set_field(stored.layout, record.layout);
    detail::set_field(stored.scale_type, to_string(record.shape.scale_type));
    stored.layout_version = record.layout_version;
    stored.has_column_order = record.shape.has_column_order;
    stored.name_bytes = static_cast<std::uint32_t>(record.name.size());
    append(&stored, sizeof(stored));
  }
  for (const PackedRecord& record : records) append(record.name.data(), record.name.size());
  head.checksum = detail::packed_table_checksum(head, std::span(table).subspan(sizeof(head)));
  std::memcpy(table.data(), &head, sizeof(head));
  return table;
}

inline PackedHeader PackedHeader::parse(std::span<const std::byte> file) {
  const detail::StoredPackedHead head = detail::read_packed_head(file);
  const std::uint64_t names = sizeof(head) + head.matrices * sizeof(detail::StoredPackedRecord);
  const std::uint64_t table_bytes = names + head.names_bytes;
  const auto rest =
      file.subspan(sizeof(head), static_cast<std::size_t>(table_bytes) - sizeof(head));
  if (detail::packed_table_checksum(head, rest) != head.checksum)
    detail::fail_at(56, "the checksum of the table is wrong: the file is damaged");

  PackedHeader header;
  std::set<std::string> seen;
  std::uint64_t name = names, end = table_bytes;
  for (std::uint64_t i = 0; i < head.matrices; ++i) {
    const std::uint64_t at = sizeof(head) + i * sizeof(detail::StoredPackedRecord);
    detail::StoredPackedRecord stored;
    std::memcpy(&stored, file.data() + at, sizeof(stored));
    PackedRecord record = detail::decode_record(stored, at);
    if (stored.name_bytes > table_bytes - name) detail::fail_at(at + 96, "the name is too long");
    record.name.assign(reinterpret_cast<const char*>(file.data()) + name, stored.name_bytes);
    if (!seen.insert(record.name).second)
      detail::fail_at(name, "the name " + detail::in_quotes(record.name) + " comes twice");
    name += stored.name_bytes;
    if (record.offset_bytes != detail::next_payload(end))
      detail::fail_at(at, "the payload does not follow the one before at " +
                              std::to_string(detail::next_payload(end)));
    if (record.offset_bytes > file.size() || record.size_bytes > file.size() - record.offset_bytes)
      detail::fail_at(at + 8, "the payload reaches beyond the file");
    end = record.offset_bytes + record.size_bytes;
    header.records.push_back(std::move(record));
  }
  if (name != table_bytes) detail::fail_at(name, "bytes behind the last name");
  if (end != file.size()) detail::fail_at(end, "bytes behind the last payload");
  header.file_bytes = file.size();
  return header;
}

}  // namespace pare
