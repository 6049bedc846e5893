#include "pare/io/packed_file.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pare/core/parallel_openmp.hpp"
#include "pare/kernels/matmul.hpp"
#include "support/catch.hpp"
#include "support/random_matrix.hpp"
#include "support/random_sparse.hpp"
#include "support/temporary_directory.hpp"

using namespace pare;
using Catch::Matchers::Contains;

namespace {

/// Ordered and with zero points, so that every section is there.
PackedMatrix<UInt<3>> example() {
  Random random(1);
  auto q = test::random_quantized<UInt<3>>(20, 70, 32, ScaleType::f16, random);
  test::shuffle_groups(q, random);
  return pack(q);
}

/// The bytes of a file, at an address to which payloads are aligned.
struct Image {
  HugePageMemory memory;
  explicit Image(const std::string& file) : memory(file.size()) {
    const auto bytes = std::as_bytes(std::span(file));
    std::copy(bytes.begin(), bytes.end(), memory.data());
  }
  template <class T>
  void set(std::size_t offset, T value) {
    std::memcpy(memory.data() + offset, &value, sizeof(value));
  }
  /// Makes the checksum of the table right again.
  void seal() {
    std::uint64_t matrices, names;
    std::memcpy(&matrices, memory.data() + 24, 8);
    std::memcpy(&names, memory.data() + 32, 8);
    set(56, std::uint64_t{0});
    set(56, xxh64(memory.bytes().first(static_cast<std::size_t>(64 + 128 * matrices + names))));
  }
  [[nodiscard]] PackedFile open() const { return PackedFile::from_bytes(memory.bytes(), "f"); }
};

std::string two_matrices(const AnyPackedMatrix& first = example()) {
  const test::TemporaryDirectory directory;
  const auto path = directory / "w";
  save_packed(path, {{"first", first}, {"second", example()}});
  return test::read_text(path);
}

/// Checks that the first of two matrices is refused once `value` stands at `offset`, and only that.
template <class T>
void check_refused(const std::string& file, std::size_t offset, T value,
                   const std::string& message) {
  Image image(file);
  image.set(offset, value);
  image.seal();
  const PackedFile packed = image.open();
  CAPTURE(offset, message);
  CHECK_THROWS_AS(packed.map("first"), FormatError);
  CHECK_THROWS_WITH(packed.map("first"),
                    Contains("f: matrix \"first\" at offset 4096: ") && Contains(message));
  CHECK_THROWS_AS(packed.load("first"), FormatError);
  CHECK(packed.map("second") == AnyPackedMatrix(example()));
}

/// A position in the payload of the first matrix.
std::size_t in_payload(const kernels::Section& section) {
  return static_cast<std::size_t>(4096 + section.offset_bytes);
}

/// The text of a record's field of 16 bytes.
std::array<char, 16> field(std::string_view text) {
  std::array<char, 16> filled{};
  text.copy(filled.data(), filled.size());
  return filled;
}

/// In groups and ordered, so that every section is there; three strips of some blocks.
template <SparseLayout L>
SparseMatrix<L> sparse_example() {
  Random random(3);
  return pack<L>(test::random_sparse<L>({0, 70, 90, 32, 0.5, ScaleType::f16, true}, random));
}

/// Products with float32 and int8 activations, one token and several.
template <SparseLayout L>
std::vector<Matrix<float>> products(const SparseMatrix<L>& w, KernelName force = {}) {
  std::vector<Matrix<float>> results;
  for (const Index tokens : {1, 2, 9}) {
    const Matrix<float> x = test::random_matrix(tokens, w.cols());
    matmul(x, w, results.emplace_back(Matrix<float>({tokens, w.rows()})));
    matmul_dynamic(x, w, results.emplace_back(Matrix<float>({tokens, w.rows()})), {},
                   {.force = force});
  }
  return results;
}

}  // namespace

TEST_CASE("matrices of every format come back, loaded and mapped", "[packed_file]") {
  const test::TemporaryDirectory directory;
  Random random(2);
  std::vector<PackedEntry> entries;
  PackedMatrices expected;
  for_each_type(AllFormats{}, [&]<class F>(TypeTag<F>) {
    for (const auto& [rows, cols, group_size] :
         {std::array<Index, 3>{33, 129, 32}, {16, 64, -1}, {0, 5, -1}, {3, 0, -1}, {1, 1, 1}})
      for (const bool shuffled : {false, true}) {
        auto q = test::random_quantized<F>(rows, cols, group_size, ScaleType::bf16, random);
        if (shuffled) test::shuffle_groups(q, random);
        expected.emplace(std::string(F::name) + " " + std::to_string(expected.size()), pack(q));
      }
  });
  for (const auto& [name, w] : expected) entries.emplace_back(name, w);
  save_packed(directory / "w", entries);
  CHECK(load_packed(directory / "w") == expected);
  CHECK(load_packed(directory / "w", {.parallel_for = OpenMpFor(3)}) == expected);
  CHECK(map_packed(directory / "w") == expected);
  CHECK(map_packed(directory / "w", {.verify = true}) == expected);
  CHECK(directory.entries() == std::set<std::string>{"w"});
}

TEST_CASE("matrices of every sparse layout come back and multiply as before", "[packed_file]") {
  const test::TemporaryDirectory directory;
  Random random(4);
  for_each_type(AllSparseLayouts{}, [&]<class L>(TypeTag<L>) {
    std::vector<SparseMatrix<L>> saved;
    for (const test::SparseCase& c : test::sparse_cases)
      saved.push_back(pack<L>(test::random_sparse<L>(c, random)));
    saved.push_back(sparse_example<L>());
    std::vector<PackedEntry> entries;
    PackedMatrices expected;
    for (const SparseMatrix<L>& w : saved) {
      entries.emplace_back(std::to_string(entries.size()), w);
      expected.emplace(entries.back().record().name, w);
    }
    save_packed(directory / "w", entries);
    const PackedMatrices loaded = load_packed(directory / "w");
    const PackedMatrices mapped = map_packed(directory / "w");
    CHECK(loaded == expected);
    CHECK(load_packed(directory / "w", {.parallel_for = OpenMpFor(3)}) == expected);
    CHECK(mapped == expected);
    CHECK(map_packed(directory / "w", {.verify = true}) == expected);
    for (std::size_t i = 0; i < saved.size(); ++i)
      for (const PackedMatrices* matrices : {&loaded, &mapped}) {
        const AnyPackedMatrix& any = matrices->at(std::to_string(i));
        CAPTURE(any.layout(), any.rows(), any.cols());
        const auto& w = any.as<SparseMatrix<L>>();
        CHECK(w.storage().is_shared() == (matrices == &mapped));
        CHECK(unpack(w) == unpack(saved[i]));
        CHECK(products(w) == products(saved[i]));
      }
  });
  save_packed(directory / "one", sparse_example<TwoFour>());
  CHECK(PackedFile(directory / "one").load() == AnyPackedMatrix(sparse_example<TwoFour>()));
}

TEST_CASE("one matrix needs no name", "[packed_file]") {
  const test::TemporaryDirectory directory;
  const auto w = example();
  save_packed(directory / "w", w);
  const PackedFile file(directory / "w");
  CHECK(file.load() == AnyPackedMatrix(w));
  CHECK(file.map() == AnyPackedMatrix(w));
  CHECK(file.contains(""));
  CHECK_FALSE(file.contains("w"));
  CHECK_THROWS_WITH(file.load("w"), Contains("w: holds no matrix \"w\""));
  CHECK_THROWS_AS(file.map("w"), ArgumentError);
  CHECK_THROWS_AS(file.verify("w"), ArgumentError);
  save_packed(directory / "none", {});
  CHECK(load_packed(directory / "none").empty());
  save_packed(directory / "w", AnyPackedMatrix(w));
  CHECK(file.load() == AnyPackedMatrix(w));  // the file that was replaced is still mapped
}

TEST_CASE("a mapped matrix lies in the file and outlives its reader", "[packed_file]") {
  const test::TemporaryDirectory directory;
  const auto w = example();
  save_packed(directory / "w", {{"a", w}, {"b", w}});
  const AnyPackedMatrix mapped = map_packed(directory / "w").at("b");
  std::filesystem::remove(directory / "w");
  mapped.visit([&](const auto& matrix) {
    CHECK(matrix.storage().is_shared());
    CHECK(reinterpret_cast<std::uintptr_t>(matrix.storage().bytes().data()) % 4096 == 0);
  });
  CHECK(mapped == AnyPackedMatrix(w));
}

TEST_CASE("the layout of a file is the documented one", "[packed_file]") {
  const auto w = example();
  const std::string file = two_matrices();
  const auto read = [&]<class T>(TypeTag<T>, std::size_t offset) {
    T value;
    std::memcpy(&value, file.data() + offset, sizeof(value));
    return value;
  };
  const TypeTag<std::uint64_t> u64;
  const auto payload = static_cast<std::size_t>(w.bytes());
  CHECK(file.size() == 8192 + payload);
  CHECK(file.substr(0, 8) == "PAREPACK");
  CHECK(read(TypeTag<std::uint32_t>{}, 8) == 0x01020304);
  CHECK(read(TypeTag<std::uint32_t>{}, 12) == 1);
  CHECK(read(u64, 16) == file.size());
  CHECK(read(u64, 24) == 2);
  CHECK(read(u64, 32) == 11);
  for (std::size_t i = 0; i < 2; ++i) {
    const std::size_t at = 64 + 128 * i;
    CHECK(read(u64, at) == 4096 * (i + 1));
    CHECK(read(u64, at + 8) == payload);
    CHECK(read(u64, at + 16) == xxh64(w.storage().bytes()));
    CHECK(read(u64, at + 24) == 20);
    CHECK(read(u64, at + 32) == 70);
    CHECK(read(TypeTag<std::int64_t>{}, at + 40) == 32);
    CHECK(file.substr(at + 48, 16) == std::string("uint3") + std::string(11, '\0'));
    CHECK(file.substr(at + 64, 16) == std::string("dense") + std::string(11, '\0'));
    CHECK(file.substr(at + 80, 8) == std::string("f16") + std::string(5, '\0'));
    CHECK(read(TypeTag<std::uint32_t>{}, at + 88) == 1);
    CHECK(read(TypeTag<std::uint32_t>{}, at + 92) == 1);
    CHECK(read(TypeTag<std::uint32_t>{}, at + 96) == (i == 0 ? 5 : 6));
    CHECK(std::memcmp(file.data() + 4096 * (i + 1), w.storage().bytes().data(), payload) == 0);
  }
  CHECK(file.substr(64 + 256, 11) == "firstsecond");
}

TEST_CASE("a record names the sparse layout", "[packed_file]") {
  CHECK(names(AllSparseLayouts{}) == "blocks-32x4, blocks-16x4, 2:4");  // files hold these
  for_each_type(AllSparseLayouts{}, [&]<class L>(TypeTag<L>) {
    const auto w = sparse_example<L>();
    const std::string file = two_matrices(w);
    const std::span<const std::byte> payload = w.storage().bytes();
    const auto text = [](std::string_view name) {
      return std::string(name) + std::string(16 - name.size(), '\0');
    };
    CHECK(file.substr(64 + 48, 16) == text("int8"));
    CHECK(file.substr(64 + 64, 16) == text(L::name));
    CHECK(file.substr(64 + 88, 8) == std::string("\1\0\0\0\1\0\0\0", 8));
    CHECK(std::memcmp(file.data() + 4096, payload.data(), payload.size()) == 0);
    const PackedRecord record = Image(file).open().records()[0];
    CHECK(record.format == "int8");
    CHECK(record.layout == L::name);
    CHECK(record.shape == w.shape());
    CHECK(record.size_bytes == payload.size());
    CHECK(record.checksum == xxh64(payload));
  });
}

TEST_CASE("a malformed head is refused with its offset", "[packed_file]") {
  const std::string file = two_matrices();
  const auto refuses = [&](std::size_t offset, auto value, const std::string& message,
                           bool seal = true) {
    Image image(file);
    image.set(offset, value);
    if (seal) image.seal();
    CAPTURE(offset, message);
    CHECK_THROWS_AS(image.open(), FormatError);
    CHECK_THROWS_WITH(image.open(), Contains("f: at offset ") && Contains(message));
  };
  const std::uint64_t huge = ~std::uint64_t{0};
  refuses(0, 'p', "offset 0: no file of packed matrices");
  refuses(8, 0x04030201u, "offset 8: packed on a machine of the other byte order");
  refuses(8, 0u, "offset 8: no byte order mark");
  refuses(12, 2u, "offset 12: version 2");
  refuses(16, huge, "offset 16: the file should have");
  refuses(24, huge, "matrices reach beyond the file", false);
  refuses(24, std::uint64_t{1} << 57, "matrices reach beyond the file", false);
  refuses(32, huge, "names of", false);
  refuses(40, 'x', "offset 40: not zeros");
  refuses(100, 'x', "offset 56: the checksum of the table is wrong", false);
  refuses(64, std::uint64_t{0}, "offset 64: the payload does not follow");
  refuses(64, huge - 4095, "offset 64: the payload does not follow");
  refuses(72, huge, "offset 72: the payload reaches beyond the file");
  refuses(64 + 128 + 8, huge - 8191, "offset 200: the payload reaches beyond the file");
  refuses(64 + 128 + 8, std::uint64_t{64}, "bytes behind the last payload");
  refuses(64 + 24, std::uint64_t{1} << 31, "offset 88: 2147483648 rows are too many");
  refuses(64 + 32, huge, "offset 96: 18446744073709551615 columns are too many");
  refuses(64 + 48 + 6, 'x', "offset 112: text goes on behind its end");
  refuses(64 + 80, 'g', "offset 144: unknown scale type \"g16\"");
  refuses(64 + 92, 2u, "offset 156: neither 0 nor 1");
  refuses(64 + 96, ~0u, "offset 160: the name is too long");
  refuses(64 + 96, 4u, "bytes behind the last name");
  refuses(64 + 127, 'x', "offset 164: not zeros");
  for (const std::size_t size : {std::size_t{0}, std::size_t{63}, std::size_t{64}, file.size() - 1})
    CHECK_THROWS_AS(Image(file.substr(0, size)).open(), FormatError);
  CHECK_THROWS_AS(Image(file + '\0').open(), FormatError);
}

TEST_CASE("a payload that does not fit its record is refused", "[packed_file]") {
  const std::string file = two_matrices();
  const auto refuses = [&](std::size_t offset, auto value, const std::string& message) {
    check_refused(file, offset, value, message);
  };
  refuses(64 + 8, std::uint64_t{4096}, "bytes, not in 4096");
  refuses(64 + 24, std::uint64_t{40}, "uint3 of shape [40, 70] is packed in");
  refuses(64 + 24, std::uint64_t{0x7fffffff}, "packed in");
  refuses(64 + 40, std::int64_t{-2}, "group size -2");
  refuses(64 + 40, std::int64_t{71}, "group size 71");
  refuses(64 + 40, std::int64_t{0}, "group size 0");
  refuses(64 + 48, 'w', "no format is named \"wint3\"");
  refuses(64 + 64, 'w', "no layout is named \"wense\"; there are dense, ");
  refuses(64 + 88, 2u, "layout \"dense\" version 2 is not known");
  refuses(64 + 92, 0u, "packed in");

  const auto sections = kernels::packed_sections<UInt<3>>(example().shape());
  refuses(in_payload(sections.column_order), -1, "position 0 of the column order holds column -1");
  refuses(in_payload(sections.zero_points), '\x08', "zero point 0 is 8");
}

TEST_CASE("a sparse payload that does not fit its record is refused", "[packed_file]") {
  for_each_type(AllSparseLayouts{}, [&]<class L>(TypeTag<L>) {
    const auto w = sparse_example<L>();
    const std::string file = two_matrices(w), name(L::name);
    CAPTURE(name);
    const auto refuses = [&](std::size_t offset, auto value, const std::string& message) {
      check_refused(file, offset, value, message);
    };
    const auto payload = static_cast<std::uint64_t>(w.bytes());
    REQUIRE(payload % 4096 != 0);
    refuses(64 + 8, detail::next_payload(payload), "bytes, not in ");
    refuses(64 + 8, payload - 1, "bytes, not in ");
    refuses(64 + 24, std::uint64_t{100}, name + " of shape [100, 90] ");
    refuses(64 + 24, std::uint64_t{0x7fffffff}, name + " of shape ");
    refuses(64 + 32, std::uint64_t{128}, name + " of shape [70, 128] ");
    refuses(64 + 40, std::int64_t{-2}, "group size -2");
    refuses(64 + 40, std::int64_t{91}, "group size 91");
    refuses(64 + 48, field("int4"), "layout " + name + " holds int8, not int4");
    refuses(64 + 48, field("uint8"), "layout " + name + " holds int8, not uint8");
    refuses(64 + 48, field(""), "layout " + name + " holds int8, not ");
    refuses(64 + 64, field(""), "no layout is named \"\"; there are dense, ");
    refuses(64 + 64, field("2:4 "), "no layout is named \"2:4 \"");
    refuses(64 + 64, field("dense"), "int8 of shape [70, 90] is packed in ");
    refuses(64 + 80, std::array{'f', '3', '2'}, "bytes, not in ");
    refuses(64 + 88, 2u, "layout \"" + name + "\" version 2 is not known");
    refuses(64 + 92, 0u, "bytes, not in ");
    const std::size_t order = in_payload(w.sections().column_order);
    refuses(order, -1, "position 0 of the column order holds column -1");
    refuses(order, 90, "position 0 of the column order holds column 90");
    refuses(order + 4, w.column_order()[0], "position 1 of the column order holds column ");
    for_each_type(AllSparseLayouts{}, [&]<class Other>(TypeTag<Other>) {
      if (Other::name == name) return;
      Image image(file);
      image.set(64 + 64, field(Other::name));
      image.seal();
      CHECK_THROWS_AS(image.open().map("first"), FormatError);
      CHECK_THROWS_AS(image.open().load("first"), FormatError);
    });
    for (const std::size_t size : {std::size_t{4096}, file.size() - 1})
      CHECK_THROWS_AS(Image(file.substr(0, size)).open(), FormatError);
  });
}

TEST_CASE("blocks that are not where kernels may look are refused", "[packed_file]") {
  for_each_type(AllSparseLayouts{}, [&]<class L>(TypeTag<L>) {
    if constexpr (L::has_blocks) {
      const auto w = sparse_example<L>();
      const std::string file = two_matrices(w);
      CAPTURE(L::name, w.blocks());
      const auto refuses = [&](std::size_t offset, auto value, const std::string& message) {
        check_refused(file, offset, value, message);
      };
      const std::span first(w.view().sparse.first_blocks, static_cast<std::size_t>(4));
      const std::uint16_t* quads = w.view().sparse.quads;
      REQUIRE(first[1] >= 2);
      REQUIRE(first[2] > first[1]);
      const std::size_t firsts = in_payload(w.sections().first_blocks);
      const std::size_t total = firsts + static_cast<std::size_t>(w.sections().strips) * 8;
      const auto fours = static_cast<std::uint16_t>(2 * w.sections().units);
      const std::string in_fours =
          "do not ascend in " + std::to_string(fours) + " fours of columns";
      const std::string strip_0 = "the blocks of strip 0 " + in_fours;
      refuses(firsts, std::int64_t{1}, strip_0);
      refuses(firsts, std::int64_t{-1}, strip_0);
      refuses(firsts + 8, std::int64_t{-1}, strip_0);
      refuses(firsts + 8, first[2] + 1, "do not ascend");
      refuses(firsts + 8, first[1] - 1, "the blocks of strip 1 do not ascend");
      refuses(firsts + 8, w.blocks() + 1, strip_0);
      refuses(firsts + 8, std::numeric_limits<std::int64_t>::max(), strip_0);
      for (const std::int64_t blocks :
           {std::int64_t{-1}, std::numeric_limits<std::int64_t>::min(),
            std::numeric_limits<std::int64_t>::max(), std::int64_t{w.sections().most_blocks() + 1}})
        refuses(total, blocks, "cannot have " + std::to_string(blocks) + " blocks");
      refuses(total, w.blocks() - 1, "bytes, not in ");
      refuses(total, w.blocks() + 1, "bytes, not in ");
      const std::size_t quad = in_payload(w.sections().quads);
      refuses(quad, std::uint16_t{0xffff}, strip_0);
      refuses(quad + 2, quads[0], strip_0);
      refuses(quad, quads[1], strip_0);
      refuses(quad + static_cast<std::size_t>(w.blocks() - 1) * 2, fours, in_fours);
      Image wide(file);  // 16 bits would not say which four it is
      wide.set(64 + 32, static_cast<std::uint64_t>(kernels::max_block_cols + 8));
      wide.set(64 + 40, std::int64_t{-1});
      wide.seal();
      CHECK_THROWS_WITH(wide.open().map("first"), Contains("cannot have 0 blocks"));
    }
  });
}

TEST_CASE("what a sparse payload holds besides its indices leads nobody astray", "[packed_file]") {
  Random random(5);
  for_each_type(AllSparseLayouts{}, [&]<class L>(TypeTag<L>) {
    const auto w = sparse_example<L>();
    Image image(two_matrices(w));
    const kernels::SparseSections& sections = w.sections();
    for (const kernels::Section& section :
         {sections.codes, sections.compensation, sections.row_sums})
      for (Index i = 0; i < section.size_bytes; ++i)
        image.set(in_payload(section) + static_cast<std::size_t>(i),
                  static_cast<std::uint8_t>(random.below(256)));
    image.seal();
    const PackedFile file = image.open();
    CHECK_THROWS_WITH(file.load("first"), Contains("the checksum of the payload is wrong"));
    CHECK_THROWS_AS(file.verify("first"), FormatError);
    const AnyPackedMatrix mapped = file.map("first");
    const auto& damaged = mapped.as<SparseMatrix<L>>();
    CHECK_FALSE(damaged == w);
    CHECK(unpack(damaged).cols() == 90);
    for (const KernelName kernel : {KernelName::automatic, KernelName::reference})
      CHECK(products(damaged, kernel).size() == 6);
  });
}

TEST_CASE("damage inside a payload is found by load and by verify", "[packed_file]") {
  Image image(two_matrices());
  image.set(8192 + 5, '\x55');
  const PackedFile file = image.open();
  CHECK(file.load("first") == AnyPackedMatrix(example()));
  CHECK_NOTHROW(file.verify("first"));
  CHECK_THROWS_WITH(file.load("second"),
                    "f: matrix \"second\" at offset 8192: the checksum of the payload is wrong: "
                    "the file is damaged");
  CHECK_THROWS_AS(file.verify("second"), FormatError);
  CHECK_FALSE(file.map("second") == AnyPackedMatrix(example()));
}

TEST_CASE("names are unique and kept as they are", "[packed_file]") {
  const test::TemporaryDirectory directory;
  const auto w = example();
  CHECK_THROWS_WITH(save_packed(directory / "w", {{"a", w}, {"a", w}}),
                    "the name \"a\" is given twice");
  CHECK(directory.entries().empty());
  const std::string strange("\0\n\xff", 3);
  save_packed(directory / "w", {{strange, w}, {"", w}});
  CHECK(load_packed(directory / "w").contains(strange));

  save_packed(directory / "w", {{"a", w}, {"b", w}});
  Image image(test::read_text(directory / "w"));
  image.set(64 + 256 + 1, 'a');
  image.seal();
  CHECK_THROWS_WITH(image.open(), "f: at offset 321: the name \"a\" comes twice");
  CHECK_THROWS_AS(PackedFile(directory / "none"), IoError);
}
