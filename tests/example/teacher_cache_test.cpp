#include "training/teacher_cache.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>

#include "pare/core/float16.hpp"
#include "pare/core/random.hpp"
#include "pare/core/thread_pool.hpp"
#include "pare/io/xxh64.hpp"
#include "support/catch.hpp"
#include "support/temporary_directory.hpp"

using namespace pare;
using training::TeacherCache;
using training::TeacherCacheOptions;

namespace {

Matrix<float> random_logits(Index tokens, Index classes, std::uint64_t seed) {
  Random random(seed);
  Matrix<float> logits({tokens, classes});
  for (float& logit : logits.span()) logit = 3.0f * random.normal();
  return logits;
}

std::string bytes_of_cache(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_cache(const std::filesystem::path& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

bool same(const TopKLogits<float>& a, const TopKLogits<float>& b) {
  return a.classes == b.classes && a.log_probabilities == b.log_probabilities &&
         a.log_rest == b.log_rest && a.temperature == b.temperature;
}

}  // namespace

TEST_CASE("a cache gives back the most likely classes, as close as its numbers are") {
  struct Case {
    TeacherCacheOptions options;
    double tolerance;  ///< of a log-probability, relative
  };
  const Case cases[] = {
      {{.tokens = 5, .classes = 40, .kept = 8}, 1.1e-3},
      {{.tokens = 5, .classes = 40, .kept = 8, .is_half = false}, 1e-6},
      {{.tokens = 130, .classes = 40, .kept = 3, .temperature = 2.0, .is_half = false}, 1e-6},
      {{.tokens = 3, .classes = 7, .kept = 64, .is_half = false}, 1e-6},
      {{.tokens = 1, .classes = 70000, .kept = 2, .is_half = false}, 1e-6},
  };
  ThreadPool pool(3);
  for (const Case& c : cases) {
    CAPTURE(c.options.tokens, c.options.classes, c.options.kept, c.options.is_half);
    const test::TemporaryDirectory directory;
    const Index kept = std::min(c.options.kept, c.options.classes);
    TopKLogits<float> written;
    const Matrix<float> logits = random_logits(c.options.tokens, c.options.classes, 3);
    {
      TeacherCache cache(directory / "c", "key", c.options);
      CHECK_FALSE(cache.read(0));
      written = cache.write(2, logits, {.parallel_for = pool});
      CHECK_FALSE(cache.read(0));
      CHECK_FALSE(cache.read(1));
      CHECK_FALSE(cache.read(3));
    }
    const TeacherCache again(directory / "c", "key", c.options);
    const auto read = again.read(2);
    REQUIRE(read);
    CHECK(same(*read, written));
    CHECK(read->classes.cols() == kept);
    Matrix<double> wide(logits.shape());
    std::copy(logits.begin(), logits.end(), wide.begin());
    const auto exact = top_k_logits<double>(wide, kept, c.options.temperature);
    CHECK(read->classes == exact.classes);
    for (Index t = 0; t < c.options.tokens; ++t) {
      double sum = std::exp(static_cast<double>(read->log_rest[t]));
      for (Index r = 0; r < kept; ++r) {
        const auto log_p = static_cast<double>(read->log_probabilities(t, r));
        CHECK(log_p ==
              Approx(exact.log_probabilities(t, r)).epsilon(c.tolerance).margin(c.tolerance));
        sum += std::exp(log_p);
      }
      CHECK(sum == Approx(1.0).epsilon(1e-6));
      if (kept == c.options.classes) CHECK(std::isinf(read->log_rest[t]));
    }
  }
}

TEST_CASE("the bytes of a cache are those that its page describes") {
  const test::TemporaryDirectory directory;
  {
    TeacherCache cache(directory / "c", "k", {.tokens = 2, .classes = 4, .kept = 1});
    // Even odds among four: log(1/4) of one, log(3/4) of the rest.
    (void)cache.write(0, Matrix<float>({2, 4}), {});
  }
  const std::string bytes = bytes_of_cache(directory / "c");
  CHECK(bytes.starts_with("PARETOPK"));
  std::uint64_t size = 0, hash = 0;
  std::memcpy(&size, bytes.data() + 8, 8);
  CHECK(size % 8 == 0);
  std::memcpy(&hash, bytes.data() + 16 + size, 8);
  const auto all = std::as_bytes(std::span(bytes));
  CHECK(hash == Xxh64().finish(all.first(16 + size)));
  CHECK_THAT(bytes, ContainsSubstring("\"values\":\"F16\"") && ContainsSubstring("\"key\":\"k\""));
  const auto record = all.subspan(24 + size);
  // Two ids of 2 bytes, two values of 2, two rests of 4, and the checksum.
  REQUIRE(record.size() == 24);
  std::uint16_t ids[2], values[2];
  float rests[2];
  std::memcpy(ids, record.data(), 4);
  std::memcpy(values, record.data() + 4, 4);
  std::memcpy(rests, record.data() + 8, 8);
  std::memcpy(&hash, record.data() + 16, 8);
  CHECK(ids[0] == 0);
  CHECK(ids[1] == 0);
  CHECK(values[0] == Float16(std::log(0.25f)).bits);
  CHECK(rests[1] == Approx(std::log(0.75f)));
  CHECK(hash == Xxh64().finish(record.first(16)));
}

TEST_CASE("what of a cache is missing, cut off or damaged is asked again") {
  const test::TemporaryDirectory directory;
  const TeacherCacheOptions options{.tokens = 3, .classes = 9, .kept = 4};
  const auto file = directory / "c";
  TopKLogits<float> first, second;
  {
    TeacherCache cache(file, "key", options);
    first = cache.write(0, random_logits(3, 9, 1), {});
    second = cache.write(1, random_logits(3, 9, 2), {});
  }
  const std::string whole = bytes_of_cache(file);
  std::uint64_t json = 0;
  std::memcpy(&json, whole.data() + 8, 8);
  const std::size_t head = 24 + json, record = (whole.size() - head) / 2;
  for (std::size_t size = head; size < whole.size(); size += 7) {
    write_cache(file, std::string_view(whole).substr(0, size));
    TeacherCache cache(file, "key", options);
    CHECK(cache.read(0).has_value() == (size >= head + record));
    CHECK_FALSE(cache.read(1));
    CHECK(same(cache.write(1, random_logits(3, 9, 2), {}), second));
    CHECK(same(*cache.read(1), second));
  }
  for (std::size_t at = head; at < whole.size(); ++at) {
    std::string damaged = whole;
    damaged[at] ^= 1;
    write_cache(file, damaged);
    const TeacherCache cache(file, "key", options);
    CHECK(cache.read(0).has_value() == (at >= head + record));
    CHECK(cache.read(1).has_value() == (at < head + record));
  }
}

TEST_CASE("files that are no cache, or another's, are left alone in one line") {
  const test::TemporaryDirectory directory;
  const TeacherCacheOptions options{.tokens = 3, .classes = 9, .kept = 4};
  const auto file = directory / "c";
  { const TeacherCache cache(file, "key", options); }
  const std::string good = bytes_of_cache(file);
  struct Case {
    std::string bytes;
    std::string key;
    TeacherCacheOptions options;
    std::string says;
  };
  std::string damaged = good;
  damaged[40] ^= 1;
  std::vector<Case> cases{
      {"text\n", "key", options, "no cache of a teacher"},
      {"", "key", options, "no cache of a teacher"},
      {damaged, "key", options, "damaged"},
      {good.substr(0, 12), "key", options, "damaged"},
      {good.substr(0, good.size() - 1), "key", options, "damaged"},
      {"PARETOPK\xff\xff\xff\xff\xff\xff\xff\xff" + good.substr(16), "key", options, "damaged"},
      {good, "other", options, "another teacher"},
      {good, "key", {.tokens = 3, .classes = 9, .kept = 5}, "another teacher"},
      {good, "key", {.tokens = 3, .classes = 9, .kept = 4, .temperature = 2.0}, "another teacher"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.says, c.key, c.bytes.size());
    write_cache(file, c.bytes);
    std::string error;
    try {
      const TeacherCache cache(file, c.key, c.options);
    } catch (const Error& e) {
      error = e.what();
    }
    CHECK_THAT(error, ContainsSubstring(c.says) && ContainsSubstring(file.string()));
    CHECK(error.find('\n') == std::string::npos);
    CHECK(bytes_of_cache(file) == c.bytes);
  }
  CHECK_THROWS_AS(TeacherCache(directory.path(), "key", options), IoError);
  CHECK_THROWS_AS(TeacherCache(directory / "none" / "c", "key", options), IoError);
  TeacherCache cache(directory / "d", "key", options);
  CHECK_THROWS_AS(cache.write(0, Matrix<float>({3, 8}), {}), ShapeError);
  CHECK_THROWS_AS(cache.read(-1), ArgumentError);
}
