#include "runtime/base/file.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "runtime/base/status.h"

namespace graphrun {
namespace {

class FileTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = absl::StrCat(testing::TempDir(), "/graphrun-file-XXXXXX");
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override {
    (void)!chdir("/");
    (void)!system(absl::StrCat("rm -rf '", folder_, "'").c_str());
  }
  std::string Path(absl::string_view name) const { return JoinPath(folder_, name); }
  std::string folder_;
};

TEST_F(FileTest, AtomicWriteReplacesAFileAndLeavesNothingElse) {
  ASSERT_TRUE(WriteFileAtomic(Path("a"), "one").ok());
  ASSERT_TRUE(WriteFileAtomic(Path("a"), std::string("tw\0o", 4)).ok());
  EXPECT_EQ(*ReadFile(Path("a")), std::string("tw\0o", 4));
  EXPECT_EQ(*ListFolder(folder_), std::vector<std::string>{"a"});
}

TEST_F(FileTest, WithoutCommitTheOldFileStays) {
  ASSERT_TRUE(WriteFileAtomic(Path("a"), "old").ok());
  {
    auto file = AtomicFile::Create(Path("a"));
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE((*file)->Append("new").ok());
    EXPECT_EQ((*file)->size(), 3);
  }
  EXPECT_EQ(*ReadFile(Path("a")), "old");
  EXPECT_EQ(ListFolder(folder_)->size(), 1u);
}

TEST_F(FileTest, AReplacedFileKeepsItsPermissionsAndALinkStaysALink) {
  ASSERT_TRUE(WriteFileAtomic(Path("a"), "old").ok());
  ASSERT_EQ(chmod(Path("a").c_str(), 0640), 0);
  ASSERT_EQ(symlink("a", Path("link").c_str()), 0);
  ASSERT_TRUE(WriteFileAtomic(Path("link"), "new").ok());
  EXPECT_EQ(*ReadFile(Path("a")), "new");
  struct stat st;
  ASSERT_EQ(lstat(Path("link").c_str(), &st), 0);
  EXPECT_TRUE(S_ISLNK(st.st_mode));
  ASSERT_EQ(stat(Path("a").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0640u);
}

TEST_F(FileTest, ADeviceIsWrittenToAndNotReplaced) {
  ASSERT_TRUE(WriteFileAtomic("/dev/null", "gone").ok());
  struct stat st;
  ASSERT_EQ(stat("/dev/null", &st), 0);
  EXPECT_TRUE(S_ISCHR(st.st_mode));
}

TEST_F(FileTest, ErrorsNameThePathAndTheReason) {
  const absl::Status missing = ReadFile(Path("none")).status();
  EXPECT_EQ(KindOf(missing), ErrorKind::kIo);
  EXPECT_EQ(missing.message(),
            absl::StrCat(Path("none"), ": cannot open for reading: No such file or directory"));
  EXPECT_TRUE(absl::StrContains(ReadFile(folder_).status().message(), "Is a directory"));
  EXPECT_FALSE(WriteFileAtomic(Path("none/a"), "x").ok());
  EXPECT_FALSE(WriteFileAtomic(folder_, "x").ok());
  EXPECT_FALSE(WriteFileAtomic("", "x").ok());
  EXPECT_FALSE(ListFolder(Path("none")).ok());
  EXPECT_FALSE(MemoryMap::Open(folder_).ok());
  EXPECT_FALSE(MemoryMap::Open(Path("none")).ok());
}

TEST_F(FileTest, ReadingStopsAtTheLimit) {
  ASSERT_TRUE(WriteFileAtomic(Path("a"), "12345").ok());
  EXPECT_EQ(*ReadFile(Path("a"), 5), "12345");
  EXPECT_EQ(KindOf(ReadFile(Path("a"), 4).status()), ErrorKind::kLimit);
  EXPECT_EQ(KindOf(ReadFile("/dev/zero", 1 << 20).status()), ErrorKind::kLimit);
}

TEST_F(FileTest, AMapShowsTheFileAsItWasWhenReplaced) {
  ASSERT_TRUE(WriteFileAtomic(Path("a"), "first").ok());
  auto map = MemoryMap::Open(Path("a"));
  ASSERT_TRUE(map.ok());
  ASSERT_TRUE(WriteFileAtomic(Path("a"), "other").ok());
  EXPECT_EQ((*map)->bytes(), "first");
  ASSERT_TRUE(WriteFileAtomic(Path("empty"), "").ok());
  EXPECT_EQ((*MemoryMap::Open(Path("empty")))->size(), 0);
}

TEST_F(FileTest, FoldersAreMadeWithThoseAboveAndListedInOrder) {
  ASSERT_TRUE(CreateDirs(Path("x/y//z/")).ok());
  ASSERT_TRUE(CreateDirs(Path("x/y/z")).ok());
  EXPECT_TRUE(IsFolder(Path("x/y/z")));
  for (const char* name : {"b", "a", "B"}) {
    ASSERT_TRUE(WriteFileAtomic(Path(absl::StrCat("x/", name)), "").ok());
  }
  EXPECT_EQ(*ListFolder(Path("x")), (std::vector<std::string>{"B", "a", "b", "y"}));
  const absl::Status blocked = CreateDirs(Path("x/a/c"));
  EXPECT_TRUE(absl::StrContains(blocked.message(), "x/a: cannot make a folder")) << blocked;
}

TEST_F(FileTest, TruncateAndRemoveTellWhatTheyDid) {
  ASSERT_TRUE(WriteFileAtomic(Path("a"), "12345").ok());
  ASSERT_TRUE(TruncateFile(Path("a"), 2).ok());
  EXPECT_EQ(*FileSize(Path("a")), 2);
  EXPECT_TRUE(RemoveFile(Path("a")).ok());
  EXPECT_TRUE(RemoveFile(Path("a")).ok());
  EXPECT_FALSE(FileExists(Path("a")));
  EXPECT_FALSE(FileSize(Path("a")).ok());
}

TEST_F(FileTest, PathsJoinAndSplit) {
  EXPECT_EQ(JoinPath("a/", "b"), "a/b");
  EXPECT_EQ(JoinPath("a", "/b"), "/b");
  EXPECT_EQ(JoinPath("", "b"), "b");
  EXPECT_EQ(BaseName("runs/a/"), "a");
  EXPECT_EQ(BaseName("/"), "/");
  EXPECT_EQ(FolderOf("runs/a"), "runs");
  EXPECT_EQ(FolderOf("a"), ".");
  EXPECT_EQ(FolderOf("/a"), "/");
}

TEST_F(FileTest, ALockKeepsOthersOutAndNamesItsOwner) {
  {
    auto lock = ScopedFileLock::Acquire(Path("lock"));
    ASSERT_TRUE(lock.ok()) << lock.status();
    const absl::Status second = ScopedFileLock::Acquire(Path("lock")).status();
    EXPECT_EQ(KindOf(second), ErrorKind::kLocked);
    EXPECT_TRUE(absl::StrContains(second.message(), absl::StrCat("process ", getpid()))) << second;
  }
  EXPECT_FALSE(FileExists(Path("lock")));
  EXPECT_TRUE(ScopedFileLock::Acquire(Path("lock")).ok());
}

TEST_F(FileTest, ALockFileLeftByADeadProcessIsNoLock) {
  const pid_t child = fork();
  if (child == 0) {
    auto lock = ScopedFileLock::Acquire(Path("lock"));
    _exit(lock.ok() ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  EXPECT_TRUE(FileExists(Path("lock")));
  EXPECT_TRUE(ScopedFileLock::Acquire(Path("lock")).ok());
}

}  // namespace
}  // namespace graphrun
