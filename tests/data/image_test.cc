#include "runtime/data/image.h"

#include <gtest/gtest.h>
#include <png.h>

#include <numeric>

#include "absl/strings/match.h"
#include "runtime/base/file.h"
#include "runtime/base/rng.h"
#include "runtime/data/loader.h"
#include "runtime/data/open.h"
#include "tests/data/files.h"

namespace graphrun {
namespace {

using namespace testing_files;  // NOLINT: the helpers of these tests
using Pixels = std::vector<uint8_t>;
using Doubles = std::vector<double>;

TEST(ImageTest, PngIsDecodedExactly) {
  const auto grey = DecodeImage(Png(2, 2, 1, {1, 2, 3, 255}), "g.png");
  ASSERT_TRUE(grey.ok()) << grey.status();
  EXPECT_EQ(grey->pixels, (Pixels{1, 2, 3, 255}));
  const auto rgb = DecodeImage(Png(1, 2, 3, {1, 2, 3, 4, 5, 6}), "c.png");
  EXPECT_EQ(rgb->pixels, (Pixels{1, 4, 2, 5, 3, 6}));
  EXPECT_EQ(rgb->info.channels, 3);
  EXPECT_EQ(rgb->info.width, 2);
  const auto alpha = DecodeImage(Png(1, 1, 4, {9, 8, 7, 255}), "a.png");
  EXPECT_EQ(alpha->pixels, (Pixels{9, 8, 7}));
  EXPECT_EQ(DecodeImage(Png(1, 1, 2, {9, 255}), "a.png")->pixels, (Pixels{9}));
}

TEST(ImageTest, EveryKindOfPngIsDecoded) {
  const auto decode = [](const std::string& bytes) {
    const auto image = DecodeImage(bytes, "x.png");
    EXPECT_TRUE(image.ok()) << image.status();
    return image.ok() ? image->pixels : Pixels();
  };
  // Two bits a pixel, the leftmost in the upper bits: 0 1 2 3.
  EXPECT_EQ(decode(RawPng(4, PNG_COLOR_TYPE_PALETTE, 2, false, {"\x1b"})),
            (Pixels{0, 10, 20, 30, 0, 20, 40, 60, 0, 30, 60, 90}));
  EXPECT_EQ(decode(RawPng(4, PNG_COLOR_TYPE_GRAY, 2, false, {"\x1b"})), (Pixels{0, 85, 170, 255}));
  EXPECT_EQ(decode(RawPng(4, PNG_COLOR_TYPE_GRAY, 1, false, {"\x50"})), (Pixels{0, 255, 0, 255}));
  EXPECT_EQ(decode(RawPng(1, PNG_COLOR_TYPE_GRAY, 16, false, {"\x12\xff"})), (Pixels{0x12}));
  EXPECT_EQ(decode(RawPng(1, PNG_COLOR_TYPE_RGB_ALPHA, 16, false, {"\1\2\3\4\5\6\7\x08"})),
            (Pixels{1, 3, 5}));
  EXPECT_EQ(decode(RawPng(3, PNG_COLOR_TYPE_GRAY, 8, true, {"abc", "def", "ghi"})),
            (Pixels{'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i'}));
}

TEST(ImageTest, JpegIsDecodedNearly) {
  const Pixels flat(16 * 16 * 3, 200);
  const auto rgb = DecodeImage(Jpeg(16, 16, 3, flat), "a.jpg");
  ASSERT_TRUE(rgb.ok()) << rgb.status();
  EXPECT_EQ(rgb->pixels.size(), flat.size());
  for (const uint8_t v : rgb->pixels) EXPECT_NEAR(v, 200, 2);
  EXPECT_EQ(DecodeImage(Jpeg(16, 16, 1, flat), "a.jpg")->info.channels, 1);
  const auto cmyk = DecodeImage(Jpeg(8, 8, 4, Pixels(256, 7)), "a.jpg");
  EXPECT_TRUE(absl::StrContains(cmyk.status().message(), "CMYK"));
}

TEST(ImageTest, ChannelsAreConvertedWhereAsked) {
  const std::string rgb = Png(1, 2, 3, {255, 0, 0, 10, 20, 30});
  EXPECT_EQ(DecodeImage(rgb, "x", 1)->pixels, (Pixels{76, 18}));
  EXPECT_EQ(DecodeImage(Png(1, 2, 1, {4, 5}), "x", 3)->pixels, (Pixels{4, 5, 4, 5, 4, 5}));
}

TEST(ImageTest, ResizingKeepsFlatImagesAndAveragesWhereItShrinks) {
  const Image flat = {{3, 5, 1}, Pixels(15, 77)};
  for (const int64_t size : {1, 2, 7}) {
    const Image r = ResizeImage(flat, size, size);
    EXPECT_EQ(r.pixels, Pixels(static_cast<size_t>(size * size), 77));
  }
  const Image ramp = {{1, 2, 1}, {0, 100}};
  EXPECT_EQ(ResizeImage(ramp, 1, 4).pixels, (Pixels{0, 25, 75, 100}));
  const Image stripes = {{1, 8, 1}, {0, 200, 0, 200, 0, 200, 0, 200}};
  for (const uint8_t v : ResizeImage(stripes, 1, 2).pixels) EXPECT_NEAR(v, 100, 15);
}

TEST(ImageTest, FilesCutOffAnywhereAreRefused) {
  Pixels noise(12 * 12 * 3);
  Rng rng(3);
  for (uint8_t& v : noise) v = static_cast<uint8_t>(rng.Below(256));
  for (const std::string& whole : {Png(12, 12, 3, noise), Jpeg(12, 12, 3, noise)}) {
    // A JPEG file whose last marker is missing holds all of its pixels.
    for (size_t size = 0; size + 3 < whole.size(); ++size) {
      const auto cut = DecodeImage(whole.substr(0, size), "cut");
      EXPECT_EQ(KindOf(cut.status()), ErrorKind::kData) << size << " of " << whole.size();
    }
  }
}

TEST(ImageTest, FilesChangedAnywhereNeverCrash) {
  Pixels noise(9 * 9 * 3);
  std::iota(noise.begin(), noise.end(), uint8_t{0});
  Rng rng(4);
  for (const std::string& whole : {Png(9, 9, 3, noise), Jpeg(9, 9, 3, noise)}) {
    for (int k = 0; k < 3000; ++k) {
      std::string changed = whole;
      for (int n = 0; n < 3; ++n) {
        changed[rng.Below(changed.size())] = static_cast<char>(rng.Below(256));
      }
      DecodeImage(changed, "changed").IgnoreError();
    }
  }
}

TEST(ImageTest, AbsurdSizesAreRefused) {
  std::string png = Png(1, 1, 1, {0});
  // The width, with its checksum, of a header that claims 0x00fffff0 pixels a row.
  const std::string header("\0\xff\xff\xf0\0\xff\xff\xf0", 8);
  png.replace(16, 8, header);
  EXPECT_EQ(KindOf(DecodeImage(png, "huge.png").status()), ErrorKind::kData);
  std::string jpeg = Jpeg(8, 8, 1, Pixels(64, 1));
  const size_t frame = jpeg.find("\xff\xc0");
  jpeg.replace(frame + 5, 4, "\xff\x00\xff\x00", 4);
  EXPECT_TRUE(absl::StrContains(DecodeImage(jpeg, "huge.jpg").status().message(), "65280 x 65280"));
}

std::string Folder() {
  const std::string folder = NewFolder();
  Write(folder, "dog/b.png", Png(2, 2, 1, {5, 6, 7, 8}));
  Write(folder, "dog/a.png", Png(2, 2, 1, {1, 2, 3, 4}));
  Write(folder, "cat/z.PNG", Png(2, 2, 1, {9, 9, 9, 9}));
  Write(folder, "cat/notes.txt", "not an image");
  Write(folder, "cat/.hidden.png", "not an image");
  return folder;
}

TEST(ImageFolderTest, SubFoldersAreClassesInOrder) {
  const auto d = OpenDataset(Folder());
  ASSERT_TRUE(d.ok()) << d.status();
  EXPECT_EQ((*d)->size(), 3);
  EXPECT_EQ((*d)->fields()[0].dims, (Dims{1, 2, 2}));
  EXPECT_EQ((*d)->fields()[0].range, 255);
  EXPECT_EQ((*d)->fields()[1].classes, (std::vector<std::string>{"cat", "dog"}));
  EXPECT_EQ(Row(**d, 0, 1), (Doubles{0}));
  EXPECT_EQ(Row(**d, 1, 0), (Doubles{1, 2, 3, 4}));
  EXPECT_EQ(Row(**d, 2, 1), (Doubles{1}));
}

TEST(ImageFolderTest, DecodedImagesAreKept) {
  const std::string folder = Folder();
  const auto kept = OpenDataset(folder), read = OpenDataset(folder, {.cache_bytes = 0});
  EXPECT_EQ(Row(**kept, 1, 0), Row(**read, 1, 0));
  Write(folder, "dog/a.png", Png(2, 2, 1, {0, 0, 0, 0}));
  EXPECT_EQ(Row(**kept, 1, 0), (Doubles{1, 2, 3, 4}));
  EXPECT_EQ(Row(**read, 1, 0), (Doubles{0, 0, 0, 0}));
}

TEST(ImageFolderTest, OtherSizesAreAnErrorOrResized) {
  const std::string folder = Folder();
  Write(folder, "dog/wide.png", Png(2, 4, 1, {0, 0, 100, 100, 0, 0, 100, 100}));
  const auto strict = OpenDataset(folder);
  EXPECT_EQ(KindOf(strict.status()), ErrorKind::kData);
  EXPECT_TRUE(absl::StrContains(strict.status().message(),
                                "dog/wide.png: is 4 x 2 grey, but the samples are 2 x 2 grey; "
                                "give --image-size"));
  DataOptions options;
  options.resize = true;
  options.height = options.width = 4;
  const auto resized = OpenDataset(folder, options);
  ASSERT_TRUE(resized.ok()) << resized.status();
  EXPECT_EQ((*resized)->fields()[0].dims, (Dims{1, 4, 4}));
  EXPECT_EQ(Row(**resized, 3, 0)[7], 100);
}

TEST(ImageFolderTest, ColoursMixedWithGreyAreAnErrorOrConverted) {
  const std::string folder = Folder();
  Write(folder, "dog/c.png", Png(2, 2, 3, Pixels(12, 50)));
  EXPECT_TRUE(absl::StrContains(OpenDataset(folder).status().message(), "--image-channels"));
  const auto d = OpenDataset(folder, {.channels = 3});
  ASSERT_TRUE(d.ok()) << d.status();
  EXPECT_EQ((*d)->fields()[0].dims, (Dims{3, 2, 2}));
}

TEST(ImageFolderTest, WhatCannotBeReadIsNamed) {
  const std::string empty_class = Folder();
  ASSERT_TRUE(CreateDirs(JoinPath(empty_class, "bird")).ok());
  EXPECT_TRUE(absl::StrContains(OpenDataset(empty_class).status().message(), "bird: has no PNG"));
  const std::string foreign = Folder();
  Write(foreign, "cat/x.webp", "RIFF");
  EXPECT_TRUE(absl::StrContains(OpenDataset(foreign).status().message(), "x.webp: only PNG and"));
  const std::string liar = Folder();
  Write(liar, "cat/x.png", "GIF89a");
  EXPECT_TRUE(absl::StrContains(OpenDataset(liar).status().message(), "begins with \"GIF89a\""));
  EXPECT_EQ(KindOf(OpenDataset(Folder(), {.height = 5}).status()), ErrorKind::kUsage);
  DataOptions known;
  known.classes = {"cat"};
  EXPECT_TRUE(absl::StrContains(OpenDataset(Folder(), known).status().message(), "dog: is none"));
}

TEST(ImageFolderTest, PartsAreSubFolders) {
  const std::string folder = NewFolder();
  Write(folder, "train/a/1.png", Png(1, 1, 1, {1}));
  Write(folder, "test/a/1.png", Png(1, 1, 1, {2}));
  EXPECT_EQ(Row(**OpenDataset(folder), 0, 0), (Doubles{1}));
  EXPECT_EQ(Row(**OpenDataset(folder, {.part = "test"}), 0, 0), (Doubles{2}));
  EXPECT_EQ(KindOf(OpenDataset(Folder(), {.part = "test"}).status()), ErrorKind::kData);
}

TEST(ImageFolderTest, ManyWorkersReadTheSameAsNone) {
  const auto d = *OpenDataset(Folder());
  std::vector<std::vector<double>> seen;
  for (const int workers : {0, 4}) {
    LoaderOptions options;
    options.batch_size = 2;
    options.workers = workers;
    const auto loader = *DataLoader::Create(d, ShuffledSampler(3, 1), options);
    std::vector<double> all;
    for (int k = 0; k < 20; ++k) {
      const Tensor& t = (**loader->Next()).fields[0];
      for (int64_t i = 0; i < t.num_elements(); ++i) all.push_back(t.AsDouble(i));
    }
    seen.push_back(all);
  }
  EXPECT_EQ(seen[0], seen[1]);
}

}  // namespace
}  // namespace graphrun
