#include "runtime/plugin/library.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "runtime/base/status.h"
#include "runtime/plugin/memory.h"

namespace graphrun {
namespace {

constexpr char kSymbol[] = "graphrun_plugin";

#if defined(__x86_64__)
constexpr int kMachine = EM_X86_64;
#elif defined(__aarch64__)
constexpr int kMachine = EM_AARCH64;
#elif defined(__riscv)
constexpr int kMachine = EM_RISCV;
#elif defined(__powerpc64__)
constexpr int kMachine = EM_PPC64;
#else
constexpr int kMachine = EM_NONE;
#endif
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
constexpr int kByteOrder = ELFDATA2LSB;
#else
constexpr int kByteOrder = ELFDATA2MSB;
#endif

absl::Status CheckHeader(const std::string& path, const ElfW(Ehdr) & header) {
  if (header.e_ident[EI_CLASS] != (sizeof(void*) == 8 ? ELFCLASS64 : ELFCLASS32)) {
    return PluginError(path, ": is a shared library for another word size than this program's ",
                       8 * sizeof(void*), " bits");
  }
  if (header.e_ident[EI_DATA] != kByteOrder ||
      (kMachine != EM_NONE && header.e_machine != kMachine)) {
    return PluginError(path, ": is compiled for another processor (ELF machine ", header.e_machine,
                       "; this program is ", kMachine, "). Compile it for this one");
  }
  if (header.e_type != ET_DYN) {
    return PluginError(path, ": is no shared library (ELF type ", header.e_type,
                       "). Link it with -shared");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckElf(const std::string& path) {
  struct stat file;
  if (stat(path.c_str(), &file) != 0) {
    return PluginError(path, ": ", std::strerror(errno),
                       ". --plugin takes the path of a shared library");
  }
  if (S_ISDIR(file.st_mode)) return PluginError(path, ": is a folder, not a shared library");
  if (!S_ISREG(file.st_mode)) return PluginError(path, ": is no regular file");
  std::ifstream in(path, std::ios::binary);
  if (!in) return PluginError(path, ": cannot be read: ", std::strerror(errno));
  ElfW(Ehdr) header = {};
  in.read(reinterpret_cast<char*>(&header), sizeof(header));
  const auto got = in.gcount();
  if (got < SELFMAG || std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) {
    return PluginError(path, ": is not a shared library (no ELF file)");
  }
  if (got < static_cast<std::streamsize>(sizeof(header))) {
    return PluginError(path, ": is cut short: ", file.st_size, " bytes");
  }
  GR_RETURN_IF_ERROR(CheckHeader(path, header));
  const uint64_t size = static_cast<uint64_t>(file.st_size);
  if (header.e_phentsize != sizeof(ElfW(Phdr)) || header.e_phnum == 0 || header.e_phoff > size ||
      header.e_phnum * sizeof(ElfW(Phdr)) > size - header.e_phoff) {
    return PluginError(path,
                       ": its ELF header is damaged: the program headers lie outside the file");
  }
  in.seekg(static_cast<std::streamoff>(header.e_phoff));
  for (int i = 0; i < header.e_phnum; ++i) {
    ElfW(Phdr) segment;
    if (!in.read(reinterpret_cast<char*>(&segment), sizeof(segment))) {
      return PluginError(path, ": cannot be read: ", std::strerror(errno));
    }
    if (segment.p_type != PT_LOAD && segment.p_type != PT_DYNAMIC) continue;
    if (segment.p_offset > size || segment.p_filesz > size - segment.p_offset) {
      return PluginError(path, ": is cut short: it has ", size, " bytes, and a segment ends at ",
                         segment.p_offset + segment.p_filesz, ". Copy or build it again");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<const gr_entry*> OpenLibrary(const std::string& path) {
  GR_RETURN_IF_ERROR(CheckElf(path));
  // A name without a slash would be looked for in the system's folders.
  const std::string place = path.find('/') == std::string::npos ? "./" + path : path;
  void* library = nullptr;
  try {
    library = dlopen(place.c_str(), RTLD_NOW | RTLD_LOCAL);
  } catch (...) {
    return PluginError(path, ": threw an exception while it was loaded");
  }
  if (library == nullptr) {
    const char* why = dlerror();
    return PluginError(path, ": cannot be loaded: ", why == nullptr ? "no reason given" : why);
  }
  void* symbol = dlsym(library, kSymbol);
  if (symbol == nullptr) {
    return PluginError(path, ": has no symbol ", kSymbol,
                       ": is no plugin of graphrun, or its entry (GR_PLUGIN) is not exported");
  }
  Dl_info info;
  ElfW(Sym)* about = nullptr;
  if (dladdr1(symbol, &info, reinterpret_cast<void**>(&about), RTLD_DL_SYMENT) != 0 &&
      about != nullptr) {
    if (ELF64_ST_TYPE(about->st_info) != STT_OBJECT) {
      return PluginError(path, ": ", kSymbol,
                         " is a function or nothing; it must be the gr_entry that GR_PLUGIN makes");
    }
    if (about->st_size < sizeof(size_t)) {
      return PluginError(path, ": ", kSymbol, " has ", about->st_size,
                         " bytes; it must be a gr_entry");
    }
  }
  const auto* given = static_cast<const gr_entry*>(symbol);
  GR_ASSIGN_OR_RETURN(const gr_entry entry, TableReader::One(given, GR_THROUGH(gr_entry, abi_minor),
                                                             absl::StrCat(path, ": ", kSymbol)));
  const std::string versions =
      absl::StrCat("it was compiled for version ", entry.abi_major, ".", entry.abi_minor,
                   " of the plugin interface; this graphrun has ", GR_ABI_MAJOR, ".", GR_ABI_MINOR);
  if (entry.abi_major != GR_ABI_MAJOR) {
    return PluginError(path, ": ", versions, ". Compile it with this graphrun's graphrun_plugin.h");
  }
  if (entry.abi_minor > GR_ABI_MINOR) {
    return PluginError(path, ": ", versions,
                       ". Use a newer graphrun, or compile it with this one's graphrun_plugin.h");
  }
  if (entry.struct_size < GR_THROUGH(gr_entry, init) || entry.init == nullptr) {
    return PluginError(path, ": ", kSymbol, " has no init");
  }
  return given;
}

}  // namespace graphrun
