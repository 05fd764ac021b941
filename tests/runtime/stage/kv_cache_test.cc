#include "runtime/stage/kv_cache.h"

#include <algorithm>
#include <set>

#include <gtest/gtest.h>

#include "kernels/ref/ref_backend.h"

namespace catena {
namespace {

class KvCacheTest : public ::testing::Test {
 protected:
  void Make(int pages, int64_t window) {
    backend_ = NewRefBackend(Activations::kF32);
    stream_ = *backend_->NewStream({});
    pool_ = *backend_->NewKvPool({1, 1, 2, DType::kF32}, pages);
    cache_ = std::make_unique<KvCache>(pool_.get(), stream_.get(), window);
  }
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<KvPool> pool_;
  std::unique_ptr<KvCache> cache_;
};

TEST_F(KvCacheTest, PagesBelongToOneSequenceAndComeBack) {
  Make(10, 0);
  ASSERT_TRUE(cache_->Open(1, 0).ok());
  ASSERT_TRUE(cache_->Open(2, 1).ok());
  EXPECT_EQ(cache_->Open(1, 0).code(), absl::StatusCode::kAlreadyExists);
  ASSERT_TRUE(cache_->Reserve(1, 65).ok());
  ASSERT_TRUE(cache_->Reserve(2, 128).ok());
  ASSERT_TRUE(cache_->Reserve(1, 64).ok());  // has them
  std::set<int32_t> pages(cache_->Find(1)->pages.begin(), cache_->Find(1)->pages.end());
  pages.insert(cache_->Find(2)->pages.begin(), cache_->Find(2)->pages.end());
  EXPECT_EQ(pages.size(), 4u);
  EXPECT_EQ(cache_->Find(2)->rotary, 1);
  cache_->Close(1);
  cache_->Close(1);
  cache_->Close(2);
  EXPECT_EQ(cache_->free_pages(), 10);
  EXPECT_EQ(cache_->Find(1), nullptr);
}

TEST_F(KvCacheTest, WhatIsPromisedIsThereAndNobodyElseGetsIt) {
  Make(10, 0);
  ASSERT_TRUE(cache_->Open(1, 0, {256, 256, 64}).ok());
  EXPECT_EQ(cache_->free_pages(), 6);
  ASSERT_TRUE(cache_->Open(2, 0).ok());
  EXPECT_EQ(cache_->Reserve(2, 7 * 64).code(), absl::StatusCode::kResourceExhausted);
  ASSERT_TRUE(cache_->Reserve(2, 6 * 64).ok());
  EXPECT_EQ(cache_->Open(3, 0, {1, 1, 1}).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(cache_->Open(3, 0, {11 * 64, 1, 1}).code(), absl::StatusCode::kInvalidArgument);
  ASSERT_TRUE(cache_->Reserve(1, 256).ok());
  EXPECT_EQ(cache_->free_pages(), 0);
  EXPECT_FALSE(cache_->Reserve(1, 257).ok());
  cache_->SetLength(1, 256);
  ASSERT_TRUE(cache_->Truncate(1, 64).ok());
  EXPECT_EQ(cache_->free_pages(), 0);  // they are still promised
  cache_->Close(1);
  cache_->Close(2);
  EXPECT_EQ(cache_->free_pages(), 10);
}

// A long sequence holds only what its window sees, and is promised no more.
TEST_F(KvCacheTest, APromiseUnderAWindowCoversTheWholeSequence) {
  constexpr int64_t kWindow = 100, kRows = 70, kLength = 1500;
  Make(static_cast<int>(PagesFor(kWindow + KvCache::kRollBack + kRows)) + 2, kWindow);
  ASSERT_TRUE(cache_->Open(1, 0, {kLength, kLength, kRows}).ok());
  EXPECT_EQ(cache_->free_pages(), 0);
  for (int64_t length = 0; length < kLength;) {
    length = std::min(kLength, length + kRows);
    ASSERT_TRUE(cache_->Reserve(1, length).ok()) << length;
    cache_->SetLength(1, length);
    EXPECT_EQ(cache_->free_pages(), 0);
  }
  cache_->Close(1);
  EXPECT_EQ(cache_->free_pages(), cache_->total_pages());
}

// Remembers which pages were zeroed.
struct RecordingPool : KvPool {
  int pages() const override { return 4; }
  int64_t page_bytes() const override { return 1; }
  void Zero(Stream&, absl::Span<const int32_t> ids) override {
    zeroed.insert(zeroed.end(), ids.begin(), ids.end());
  }
  std::vector<int32_t> zeroed;
};

TEST_F(KvCacheTest, ZeroesPagesWheneverTheyAreHandedOut) {
  Make(1, 0);
  RecordingPool pool;
  KvCache cache(&pool, stream_.get(), 0);
  for (int round = 1; round <= 3; ++round) {
    ASSERT_TRUE(cache.Open(1, 0).ok());
    ASSERT_TRUE(cache.Reserve(1, 2 * kPagePositions).ok());
    EXPECT_EQ(pool.zeroed.size(), 2u * round);
    for (int32_t page : cache.Find(1)->pages) {
      EXPECT_EQ(std::count(pool.zeroed.end() - 2, pool.zeroed.end(), page), 1);
    }
    cache.Close(1);
  }
}

TEST_F(KvCacheTest, ReservesAllOrNothing) {
  Make(3, 0);
  ASSERT_TRUE(cache_->Open(1, 0).ok());
  EXPECT_EQ(cache_->Reserve(1, 4 * kPagePositions).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(cache_->free_pages(), 3);
  EXPECT_EQ(cache_->Reserve(7, 1).code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(cache_->Reserve(1, 3 * kPagePositions).ok());
}

TEST_F(KvCacheTest, TheLastPositionsCanBeForgottenUnderAWindow) {
  Make(10, 70);
  ASSERT_TRUE(cache_->Open(1, 0).ok());
  ASSERT_TRUE(cache_->Reserve(1, 500).ok());
  for (int64_t length = KvCache::kRollBack; length <= 500; ++length) {
    cache_->SetLength(1, length);
    EXPECT_TRUE(cache_->Truncate(1, length - KvCache::kRollBack).ok()) << length;
    ASSERT_TRUE(cache_->Reserve(1, 500).ok());
  }
}

TEST_F(KvCacheTest, GivesBackWhatNoLaterPositionSees) {
  Make(10, 70);
  ASSERT_TRUE(cache_->Open(1, 0).ok());
  ASSERT_TRUE(cache_->Reserve(1, 300).ok());
  EXPECT_EQ(cache_->free_pages(), 5);
  // Position 132 sees from 63: the first page is still needed.
  cache_->SetLength(1, 132 + KvCache::kRollBack);
  EXPECT_EQ(cache_->free_pages(), 5);
  cache_->SetLength(1, 133 + KvCache::kRollBack);
  EXPECT_EQ(cache_->free_pages(), 6);
  EXPECT_EQ(cache_->Find(1)->pages[0], -1);
  cache_->SetLength(1, 290);
  EXPECT_EQ(cache_->free_pages(), 8);
  cache_->Close(1);
  EXPECT_EQ(cache_->free_pages(), 10);
}

TEST_F(KvCacheTest, TruncatesUnlessTheWindowHasMovedOn) {
  Make(10, 70);
  ASSERT_TRUE(cache_->Open(1, 0).ok());
  ASSERT_TRUE(cache_->Reserve(1, 300).ok());
  cache_->SetLength(1, 290);
  EXPECT_TRUE(cache_->Truncate(1, 289).ok());
  EXPECT_EQ(cache_->Truncate(1, 100).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(cache_->Truncate(1, 291).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(cache_->Find(1)->length, 289);
  EXPECT_TRUE(cache_->Truncate(1, 0).ok());  // from the start, nothing is missing
  EXPECT_EQ(cache_->free_pages(), 10);
}

TEST_F(KvCacheTest, TruncatingGivesBackWholePages) {
  Make(10, 0);
  ASSERT_TRUE(cache_->Open(1, 0).ok());
  ASSERT_TRUE(cache_->Reserve(1, 300).ok());
  cache_->SetLength(1, 300);
  ASSERT_TRUE(cache_->Truncate(1, 64).ok());
  EXPECT_EQ(cache_->free_pages(), 9);
  ASSERT_TRUE(cache_->Truncate(1, 0).ok());
  EXPECT_EQ(cache_->free_pages(), 10);
}

}  // namespace
}  // namespace catena
