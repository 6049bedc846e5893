#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "pare/core/huge_page_memory.hpp"
#include "pare/io/atomic_file.hpp"
#include "pare/io/file_kind.hpp"
#include "pare/io/mapped_file.hpp"
#include "pare/io/packed_header.hpp"
#include "pare/kernels/any_packed_matrix.hpp"

namespace pare {

/// A packed matrix on its way to a file, a view; for the bytes see PackedHeader.
class PackedEntry {
 public:
  template <PackedWeight W>
  PackedEntry(std::string name, const W& w) : payload_(w.storage().bytes()) {
    record_.name = std::move(name);
    record_.format = W::format::name;
    record_.layout = W::layout::name;
    record_.shape = w.shape();
    record_.size_bytes = payload_.size();
  }
  PackedEntry(const std::string& name, const AnyPackedMatrix& w)
      : PackedEntry(w.visit([&](const auto& packed) { return PackedEntry(name, packed); })) {}

  /// Without place and checksum.
  [[nodiscard]] const PackedRecord& record() const noexcept { return record_; }
  [[nodiscard]] std::span<const std::byte> payload() const noexcept { return payload_; }

 private:
  PackedRecord record_;
  std::span<const std::byte> payload_;
};

/// Writes packed matrices, ready for the kernels, into one file; see AtomicFile.
///
///     save_packed("layer.pack", {{"q", w_q}, {"k", w_k}});
///
/// Errors    ArgumentError for a name given twice; IoError
inline void save_packed(const std::filesystem::path& path, std::span<const PackedEntry> entries) {
  PackedHeader header;
  for (const PackedEntry& entry : entries) {
    header.records.push_back(entry.record());
    header.records.back().checksum = xxh64(entry.payload());
  }
  header.place();
  AtomicFile file(path);
  file.write_at(header.file_bytes - 1, std::vector<std::byte>(1));  // empty payloads count too
  file.write_at(0, header.encode());
  for (std::size_t i = 0; i < entries.size(); ++i)
    file.write_at(header.records[i].offset_bytes, entries[i].payload());
  file.commit();
}
inline void save_packed(const std::filesystem::path& path,
                        std::initializer_list<PackedEntry> entries) {
  save_packed(path, std::span(entries.begin(), entries.size()));
}
/// One matrix, under the empty name.
template <PackedWeight W>
void save_packed(const std::filesystem::path& path, const W& w) {
  save_packed(path, {PackedEntry({}, w)});
}
inline void save_packed(const std::filesystem::path& path, const AnyPackedMatrix& w) {
  save_packed(path, {PackedEntry({}, w)});
}

/// Collects packed matrices for a file, of formats of the library and of any other: views, which
/// outlive `save`.
///
///     PackedFileWriter().add("q", w_q).add<MyFormat>("k", w_k).save("layer.pack");
class PackedFileWriter {
 public:
  template <Format F>
  PackedFileWriter& add(std::string name, const PackedMatrix<F>& w) {
    entries_.emplace_back(std::move(name), w);
    return *this;
  }
  template <PackedWeight W>
  PackedFileWriter& add(std::string name, const W& w) {
    entries_.emplace_back(std::move(name), w);
    return *this;
  }
  PackedFileWriter& add(const std::string& name, const AnyPackedMatrix& w) {
    entries_.emplace_back(name, w);
    return *this;
  }
  /// Errors    as save_packed
  void save(const std::filesystem::path& path) const { save_packed(path, entries_); }

 private:
  std::vector<PackedEntry> entries_;
};

/// A file of packed matrices, open for reading. `load` and `map` know the formats of the library;
/// with a format as template argument they read that one, whatever it is.
///
/// Errors    IoError; FormatError naming file, offset and reason when the head is malformed.
///           load, map and verify: ArgumentError when no matrix has the name; FormatError for a
///           format or layout that is not known, a format that the layout does not hold, a payload
///           that does not fit its shape or names columns that there are not, and by load and
///           verify for a wrong checksum
class PackedFile {
 public:
  explicit PackedFile(const std::filesystem::path& path)
      : PackedFile(std::make_shared<const MappedFile>(path), path.string()) {}

  /// A file in memory that outlives this and what is mapped from it, at an address for which
  /// 64-byte alignment holds. `name` is for messages.
  [[nodiscard]] static PackedFile from_bytes(std::span<const std::byte> bytes,
                                             std::string name = "memory") {
    return PackedFile({std::shared_ptr<const void>(), bytes.data()}, bytes, std::move(name));
  }

  [[nodiscard]] const std::vector<PackedRecord>& records() const noexcept {
    return header_.records;
  }
  [[nodiscard]] bool contains(std::string_view name) const noexcept {
    return find(name) != header_.records.end();
  }

  /// A copy in huge pages: what kernels read fastest. Independent of the file.
  [[nodiscard]] AnyPackedMatrix load(std::string_view name = {}) const {
    return load(record(name));
  }
  [[nodiscard]] AnyPackedMatrix load(const PackedRecord& record) const {
    return checked(record, [&] { return matrix(record, copied(record)); });
  }

  /// The matrix as it lies in the file: there at once, read when used, in ordinary pages. Keeps the
  /// whole file mapped.
  ///
  /// Reads of the payload what kernels find their way by, and no more: zero points, column order,
  /// the first blocks and quads of a sparse matrix. So whatever the rest holds, nothing reads out
  /// of bounds later; but damage there goes unnoticed without `verify`, and the file must stay as
  /// it is.
  [[nodiscard]] AnyPackedMatrix map(std::string_view name = {}) const { return map(record(name)); }
  [[nodiscard]] AnyPackedMatrix map(const PackedRecord& record) const {
    return checked(record, [&] { return matrix(record, PackedStorage(payload(record), owner_)); });
  }

  /// The same of a dense matrix of format F, one of the library's or any other.
  template <Format F>
  [[nodiscard]] PackedMatrix<F> load(std::string_view name = {}) const {
    const PackedRecord& found = record(name);
    return checked(found, [&] {
      require_format<F>(found);
      return PackedMatrix<F>(found.shape, copied(found));
    });
  }
  template <Format F>
  [[nodiscard]] PackedMatrix<F> map(std::string_view name = {}) const {
    const PackedRecord& found = record(name);
    return checked(found, [&] {
      require_format<F>(found);
      return PackedMatrix<F>(found.shape, PackedStorage(payload(found), owner_));
    });
  }

  /// Reads the payload and compares its checksum.
  void verify(std::string_view name = {}) const { verify(record(name)); }
  void verify(const PackedRecord& record) const {
    checked(record, [&] { check_sum(record, xxh64(payload(record))); });
  }

 private:
  PackedFile(std::shared_ptr<const MappedFile> file, std::string name)
      : PackedFile(file, file->bytes(), std::move(name)) {}
  PackedFile(std::shared_ptr<const void> owner, std::span<const std::byte> bytes, std::string name)
      : owner_(std::move(owner)),
        bytes_(bytes),
        name_(std::move(name)),
        header_(with_context(name_, [&] {
          return detail::name_other_kinds(bytes_, packed_kind,
                                          [&] { return PackedHeader::parse(bytes_); });
        })) {}

  static constexpr std::string_view packed_kind =
      "a file of packed matrices, as pare pack writes them";

  [[nodiscard]] std::vector<PackedRecord>::const_iterator find(
      std::string_view name) const noexcept {
    return std::find_if(header_.records.begin(), header_.records.end(),
                        [&](const PackedRecord& record) { return record.name == name; });
  }
  [[nodiscard]] const PackedRecord& record(std::string_view name) const {
    const auto found = find(name);
    if (found == header_.records.end())
      throw ArgumentError(name_ + ": holds no matrix " + detail::in_quotes(name));
    return *found;
  }
  [[nodiscard]] std::span<const std::byte> payload(const PackedRecord& record) const noexcept {
    return bytes_.subspan(static_cast<std::size_t>(record.offset_bytes),
                          static_cast<std::size_t>(record.size_bytes));
  }

  /// Copies the payload and returns its checksum, in pieces that stay in the cache in between.
  std::uint64_t read(const PackedRecord& record, std::byte* to) const noexcept {
    constexpr std::size_t piece = std::size_t{1} << 18;
    std::span<const std::byte> left = payload(record);
    Xxh64 hash;
    for (; left.size() > piece; left = left.subspan(piece), to += piece) {
      std::memcpy(to, left.data(), piece);
      hash.add({to, piece});
    }
    if (!left.empty()) std::memcpy(to, left.data(), left.size());
    return hash.finish({to, left.size()});
  }

  /// The payload in memory of its own, compared with its checksum.
  [[nodiscard]] PackedStorage copied(const PackedRecord& record) const {
    HugePageMemory memory(static_cast<std::size_t>(record.size_bytes));
    check_sum(record, read(record, memory.data()));
    return PackedStorage(std::move(memory));
  }

  static void check_sum(const PackedRecord& record, std::uint64_t checksum) {
    if (checksum != record.checksum)
      throw FormatError("the checksum of the payload is wrong: the file is damaged");
  }

  static void require_known_layout(const PackedRecord& record) {
    if (record.layout_version != 1)
      throw FormatError("layout " + detail::in_quotes(record.layout) + " version " +
                        std::to_string(record.layout_version) + " is not known");
  }

  template <Format F>
  static void require_format(const PackedRecord& record) {
    require_known_layout(record);
    if (record.format != F::name || record.layout != DenseLayout::name)
      throw FormatError("it is " + record.layout + " " + record.format + ", not dense " +
                        std::string(F::name));
  }

  [[nodiscard]] static AnyPackedMatrix matrix(const PackedRecord& record, PackedStorage storage) {
    require_known_layout(record);
    return with_packed(record.format, record.layout, [&]<class W>(TypeTag<W>) -> AnyPackedMatrix {
      return W(record.shape, std::move(storage));
    });
  }

  /// Runs `f`; what the library finds wrong inside is wrong with the file.
  template <class Function>
  std::invoke_result_t<Function> checked(const PackedRecord& record, Function&& f) const {
    try {
      return f();
    } catch (const Error& e) {
      throw FormatError(name_ + ": matrix " + detail::in_quotes(record.name) + " at offset " +
                        std::to_string(record.offset_bytes) + ": " + e.what());
    }
  }

  std::shared_ptr<const void> owner_;
  std::span<const std::byte> bytes_;
  std::string name_;
  PackedHeader header_;
};

using PackedMatrices = std::map<std::string, AnyPackedMatrix, std::less<>>;

/// All matrices of a file, copied into huge pages and compared with their checksums.
/// Errors    as PackedFile
[[nodiscard]] inline PackedMatrices load_packed(const std::filesystem::path& path,
                                                const Execution& execution = {}) {
  const PackedFile file(path);
  std::vector<std::optional<AnyPackedMatrix>> loaded(file.records().size());
  execution.parallel_for(static_cast<Index>(loaded.size()), [&](Index i) {
    const auto place = static_cast<std::size_t>(i);
    loaded[place] = file.load(file.records()[place]);
  });
  PackedMatrices matrices;
  for (std::size_t i = 0; i < loaded.size(); ++i)
    matrices.emplace(file.records()[i].name, std::move(*loaded[i]));
  return matrices;
}

struct MapOptions {
  /// Reads everything once to compare the checksums.
  bool verify = false;
};

/// All matrices of a file where they lie: see PackedFile::map.
/// Errors    as PackedFile
[[nodiscard]] inline PackedMatrices map_packed(const std::filesystem::path& path,
                                               const MapOptions& options = {}) {
  const PackedFile file(path);
  PackedMatrices matrices;
  for (const PackedRecord& record : file.records()) {
    if (options.verify) file.verify(record);
    matrices.emplace(record.name, file.map(record));
  }
  return matrices;
}

}  // namespace pare
