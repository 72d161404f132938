//! The sub-directories for the CPU that glibc searches in every directory, and the choice of cache entries.
//!
//! Sources: glibc's `elf/dl-hwcaps.c` and `elf/dl-cache.c`. The predecessors of glibc-hwcaps, searched up to
//! 2.36, are in `sysdeps/x86/dl-hwcap.h`, `dl-procinfo.c` and `cpu-features.c` of those releases.

use crate::elf::Machine;
use crate::host::{CacheEntry, DynamicLoader, LibraryCache, Platform};
use crate::loader::Facts;

/// The bit of `tls` in the mask of a cache entry.
const TLS: u64 = 1 << 63;
/// The bits of the platforms. An entry has either none of them or exactly the CPU's (`_DL_HWCAP_PLATFORM`).
const PLATFORMS: u64 = 0b1111 << 48;

/// The CPU features that a loader up to 2.36 knows.
struct Legacy {
    /// `AT_PLATFORM`, or the loader's replacement for it; empty if the processor has no such name.
    platform: &'static str,
    /// Its bit in the mask of a cache entry.
    platform_bit: u64,
    /// The capabilities that have sub-directories, with their bits, from the lowest bit on.
    capabilities: Vec<(&'static str, u64)>,
}

impl Legacy {
    /// `haswell` and `avx512_1` are only for Intel's CPUs.
    fn of(machine: Machine, platform: &Platform) -> Self {
        let level = platform.isa.filter(|_| platform.is_intel).map_or(1, |isa| isa.highest());
        match machine {
            Machine::X86_64 => {
                let mut capabilities = vec![("x86_64", 1 << 1)];
                capabilities.extend((level >= 4).then_some(("avx512_1", 1 << 2)));
                if level >= 3 {
                    Self { platform: "haswell", platform_bit: 1 << 50, capabilities }
                } else {
                    Self { platform: "x86_64", platform_bit: 0, capabilities }
                }
            }
            Machine::I386 => {
                Self { platform: "i686", platform_bit: 1 << 49, capabilities: vec![("sse2", 1 << 0)] }
            }
            Machine::AARCH64 => Self { platform: "aarch64", platform_bit: 0, capabilities: Vec::new() },
            _ => Self { platform: "", platform_bit: 0, capabilities: Vec::new() },
        }
    }

    /// Returns every combination, the most specific first (`_dl_important_hwcaps`). The platform may have the
    /// same name as a capability, so some combinations occur twice.
    fn subdirectories(&self) -> Vec<String> {
        let mut names = vec!["tls"];
        names.extend(Some(self.platform).filter(|platform| !platform.is_empty()));
        names.extend(self.capabilities.iter().rev().map(|(name, _)| *name));
        let path = |mask: usize| {
            let chosen =
                names.iter().enumerate().filter(|(index, _)| mask >> (names.len() - 1 - index) & 1 != 0);
            chosen.map(|(_, name)| format!("{name}/")).collect::<String>()
        };
        let mut all: Vec<String> = Vec::new();
        for path in (1..1_usize << names.len()).rev().map(path) {
            if !all.contains(&path) {
                all.push(path);
            }
        }
        all
    }

    /// Returns whether a cache entry for the given capabilities is for this CPU.
    fn has(&self, wanted: u64) -> bool {
        let known = self.capabilities.iter().fold(TLS | PLATFORMS, |mask, (_, bit)| mask | bit);
        let platform = wanted & PLATFORMS;
        wanted & !known == 0 && (platform == 0 || platform == self.platform_bit)
    }
}

/// The sub-directories and cache entries of one program.
pub(super) struct Hwcaps {
    /// The sub-directories that are searched in each directory, best first, each with a trailing slash. The
    /// last one is the directory itself.
    pub subdirectories: Vec<String>,
    legacy: Option<Legacy>,
    /// The flags of an entry for the machine. A loader for i386 also accepts an entry without a particular C
    /// library.
    flags: i32,
    /// The loader prefers an entry of its own C library to one without a particular C library (before 2.33).
    prefers_own_flags: bool,
}

impl Hwcaps {
    /// Returns those of a program with its loader on a CPU.
    pub(super) fn of(program: &Facts, loader: &DynamicLoader, platform: &Platform) -> Self {
        let machine = program.machine;
        let mut subdirectories = Vec::new();
        if loader.searches_hwcaps && machine == Machine::X86_64 {
            let level = platform.isa.map_or(1, |isa| isa.highest());
            let levels = (2..=level.min(4)).rev();
            subdirectories.extend(levels.map(|level| format!("glibc-hwcaps/x86-64-v{level}/")));
        }
        if loader.searches_hwcaps && machine == platform.machine {
            subdirectories.extend(platform.hwcaps.iter().map(|name| format!("glibc-hwcaps/{name}/")));
        }
        let legacy = loader.searches_legacy_hwcaps.then(|| Legacy::of(machine, platform));
        subdirectories.extend(legacy.iter().flat_map(Legacy::subdirectories));
        subdirectories.push(String::new());
        let flags = LibraryCache::required_flags(machine, program.class);
        Self { subdirectories, legacy, flags, prefers_own_flags: !loader.searches_hwcaps }
    }

    /// Returns the path of the entry that the loader chooses. `entries` are those for one name, in the order of
    /// the cache.
    pub(super) fn choose(&self, entries: Vec<CacheEntry>) -> Option<String> {
        let has = |entry: &CacheEntry| match (&self.legacy, entry.legacy_hwcaps) {
            (_, 0) => true,
            (Some(legacy), wanted) => legacy.has(wanted),
            (None, _) => false,
        };
        let fitting =
            entries.into_iter().filter(|entry| LibraryCache::fits(entry.flags, self.flags) && has(entry));
        // The best sub-directory that this CPU supports. A plain entry before any of them ends the choice.
        let rank = |entry: &CacheEntry| match &entry.subdirectory {
            None => Some((usize::MAX, self.prefers_own_flags && entry.flags != self.flags)),
            Some(name) => {
                let known = format!("glibc-hwcaps/{name}/");
                Some((self.subdirectories.iter().position(|s| *s == known)?, false))
            }
        };
        let ranked = fitting.filter_map(|entry| Some((rank(&entry)?, entry)));
        ranked.min_by_key(|(rank, _)| *rank).map(|(_, entry)| entry.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::IsaLevel;

    fn legacy(machine: Machine, level: u32, is_intel: bool) -> Legacy {
        let isa = Some(IsaLevel::up_to(level));
        Legacy::of(machine, &Platform { machine: Machine::X86_64, isa, is_intel, ..Platform::default() })
    }

    #[test]
    fn legacy_capabilities_are_combined_most_specific_first() {
        let plain = ["tls/x86_64/x86_64/", "tls/x86_64/", "tls/", "x86_64/x86_64/", "x86_64/"];
        assert_eq!(legacy(Machine::X86_64, 4, false).subdirectories(), plain);
        let haswell = legacy(Machine::X86_64, 3, true).subdirectories();
        assert_eq!(haswell[..3], ["tls/haswell/x86_64/", "tls/haswell/", "tls/x86_64/"]);
        assert_eq!(haswell.len(), 7);
        let skylake = legacy(Machine::X86_64, 4, true).subdirectories();
        assert_eq!(skylake[0], "tls/haswell/avx512_1/x86_64/");
        let i386 = ["tls/i686/sse2/", "tls/i686/", "tls/sse2/", "tls/", "i686/sse2/", "i686/", "sse2/"];
        assert_eq!(legacy(Machine::I386, 3, true).subdirectories(), i386);
    }

    #[test]
    fn the_bits_of_a_cache_entry_are_those_of_its_sub_directories() {
        let (sse2, x86_64, avx512_1) = (1, 1 << 1, 1 << 2);
        let (i586, i686, haswell, xeon_phi) = (1 << 48, 1 << 49, 1 << 50, 1 << 51);
        let plain = legacy(Machine::X86_64, 4, false);
        assert!(plain.has(0) && plain.has(x86_64) && plain.has(TLS | x86_64));
        for wanted in [sse2, avx512_1, i586, i686, haswell, xeon_phi, 1 << 62, TLS | haswell] {
            assert!(!plain.has(wanted), "{wanted:x}");
        }
        let skylake = legacy(Machine::X86_64, 4, true);
        assert!(skylake.has(TLS | haswell | avx512_1 | x86_64));
        assert!(!skylake.has(xeon_phi) && !skylake.has(haswell | xeon_phi) && !skylake.has(i686));
        assert!(!legacy(Machine::X86_64, 3, true).has(avx512_1));
        let i386 = legacy(Machine::I386, 3, true);
        assert!(i386.has(sse2) && i386.has(TLS | i686 | sse2));
        assert!(!i386.has(i586) && !i386.has(haswell) && !i386.has(x86_64));
    }

    #[test]
    fn an_entry_of_no_particular_c_library_is_taken_on_i386_alone() {
        let entry = |path: &str, flags| CacheEntry {
            path: path.to_owned(),
            flags,
            subdirectory: None,
            legacy_hwcaps: 0,
        };
        let entries = || vec![entry("/a", 1), entry("/b", 3), entry("/c", 0x303)];
        let hwcaps = |flags, prefers_own_flags| Hwcaps {
            subdirectories: Vec::new(),
            legacy: None,
            flags,
            prefers_own_flags,
        };
        assert_eq!(hwcaps(3, true).choose(entries()).as_deref(), Some("/b"));
        assert_eq!(hwcaps(3, false).choose(entries()).as_deref(), Some("/a"));
        assert_eq!(hwcaps(0x303, false).choose(entries()).as_deref(), Some("/c"));
        assert_eq!(hwcaps(3, true).choose(vec![entry("/a", 1)]).as_deref(), Some("/a"));
    }
}
