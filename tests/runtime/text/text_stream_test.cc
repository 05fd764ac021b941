#include "runtime/text/text_stream.h"

#include <fstream>
#include <sstream>

#include <gtest/gtest.h>

#include "tests/shared_data.h"

namespace catena {
namespace {

class TextStreamTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string path = SharedPath("phi3/tokenizer.json");
    if (path.empty()) GTEST_SKIP() << kNoSharedData;
    std::stringstream text;
    text << std::ifstream(path).rdbuf();
    tokenizer_ = *Tokenizer::FromTokenizerJson(text.str(), path);
  }
  std::shared_ptr<const Tokenizer> tokenizer_;
};

TEST_F(TextStreamTest, AStopStringOfByteTokensStopsAtOnce) {
  // "\n" is the byte token 13, withheld by the decoder while its run may go on.
  TextStream stream(tokenizer_.get(), {.stop = {"\n"}});
  EXPECT_EQ(stream.Push(15043), "Hello");
  EXPECT_FALSE(stream.stopped());
  EXPECT_EQ(stream.Push(13), "");
  EXPECT_TRUE(stream.stopped());
  EXPECT_EQ(stream.Flush(), "");
}

TEST_F(TextStreamTest, AStopStringAcrossTokensIsNotShown) {
  TextStream stream(tokenizer_.get(), {.stop = {"lo wor"}});
  EXPECT_EQ(stream.Push(15043), "Hel");
  EXPECT_EQ(stream.Push(3186), "");  // " world"
  EXPECT_TRUE(stream.stopped());
}

TEST_F(TextStreamTest, StopStringsWaitForMinTokens) {
  TextStream stream(tokenizer_.get(), {.min_tokens = 2, .stop = {"Hello"}});
  EXPECT_EQ(stream.Push(15043), "Hello");
  EXPECT_EQ(stream.Push(15043), " Hello");
  EXPECT_FALSE(stream.stopped());
  EXPECT_EQ(stream.Push(15043), " ");
  EXPECT_TRUE(stream.stopped());
}

TEST_F(TextStreamTest, WhatIsHeldBackComesAtTheEnd) {
  TextStream stream(tokenizer_.get(), {.stop = {"Hello, world"}});
  EXPECT_EQ(stream.Push(15043), "");
  EXPECT_EQ(stream.Flush(), "Hello");
  TextStream silent(nullptr, {});
  EXPECT_EQ(silent.Push(5), "");
  EXPECT_EQ(silent.Flush(), "");
}

}  // namespace
}  // namespace catena
