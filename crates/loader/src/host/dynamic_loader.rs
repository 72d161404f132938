//! The search rules of a dynamic loader, read from its file.
//!
//! The default directories, the cache's path and `$LIB` of glibc are compiled into `ld.so` as adjacent
//! NUL-terminated strings. Its messages reveal the checks it makes. musl's defaults are constants of its
//! `ldso/dynlink.c`. Nothing is ever executed.

use crate::elf::{self, Class, Machine};
use crate::spec::{DynamicLoader, Flavour};
use compat_sys::raw;

/// The most directories that count as compiled-in defaults. Loaders have two to six.
const MOST_DIRECTORIES: usize = 64;

impl DynamicLoader {
    /// Reads the facts from the bytes of the loader at `path`. `None` if it is neither glibc's nor musl's.
    pub fn parse(path: &str, data: &[u8], machine: Machine, class: Class) -> Option<Self> {
        let data = &*elf::constants(data).concat();
        if contains(data, b"musl libc") || contains(data, b"/etc/ld-musl-") {
            return Some(Self::musl(path, data));
        }
        let cache_path = string_ending_with(data, b"/ld.so.cache\0")?;
        let searches_hwcaps = contains(data, b"glibc-hwcaps");
        let directories = default_directories(data).unwrap_or_else(|| usual_directories(machine, class));
        let first = directories.first().map(|directory| directory.trim_start_matches('/')).unwrap_or("lib");
        Some(Self {
            path: path.to_owned(),
            flavour: Flavour::Glibc { version: glibc_version(data) },
            lib_token: first.strip_prefix("usr/").unwrap_or(first).to_owned(),
            default_directories: directories,
            cache_path,
            searches_hwcaps,
            searches_legacy_hwcaps: !searches_hwcaps || contains(data, b"Legacy HW"),
            checks_isa: contains(data, b"CPU ISA level is lower than required"),
            knows_relr: contains(data, b"GLIBC_ABI_DT_RELR"),
        })
    }

    fn musl(path: &str, data: &[u8]) -> Self {
        // Packed relocations are supported from 1.2.4 on. A file without a visible version is new enough.
        let knows_relr = musl_version(data).is_none_or(|version| version >= (1, 2, 4));
        Self {
            path: path.to_owned(),
            flavour: Flavour::Musl,
            default_directories: ["/lib", "/usr/local/lib", "/usr/lib"].map(String::from).to_vec(),
            cache_path: string_ending_with(data, b".path\0").unwrap_or_default(),
            lib_token: "lib".to_owned(),
            searches_hwcaps: false,
            searches_legacy_hwcaps: false,
            checks_isa: false,
            knows_relr,
        }
    }

    /// Whether it is musl's loader.
    pub fn is_musl(&self) -> bool {
        self.flavour == Flavour::Musl
    }

    /// Whether it is a glibc loader older than the given version. A loader without a visible version counts as
    /// older, because 2.33 and newer state it.
    pub fn is_older_than(&self, major: u32, minor: u32) -> bool {
        match self.flavour {
            Flavour::Glibc { version } => version.is_none_or(|version| version < (major, minor)),
            Flavour::Musl => false,
        }
    }

    /// The file that lists musl's directories instead of the defaults: `/etc/ld-musl-x86_64.path` for a loader
    /// in `/lib` (`ldso/dynlink.c`: relative to the parent of the loader's directory).
    pub fn musl_path_file(&self) -> String {
        let directory = self.path.rsplit_once('/').map_or("", |(directory, _)| directory);
        let prefix = directory.rsplit_once('/').map_or("", |(prefix, _)| prefix);
        let named = self.cache_path.rsplit('/').next().filter(|name| name.starts_with("ld-musl-"));
        let own = self.path.rsplit('/').next().unwrap_or_default().split(".so").next().unwrap_or_default();
        let name = named.map_or_else(|| format!("{own}.path"), str::to_owned);
        format!("{prefix}/etc/{name}")
    }

    /// The path of the usual glibc loader of a machine (`RTLD` in glibc's `shlib-versions`). It is used for
    /// libraries, which do not name a loader.
    pub fn usual_path(machine: Machine, class: Class, big_endian: bool) -> Option<&'static str> {
        Some(match (machine, class) {
            (Machine::X86_64, Class::Elf64) => "/lib64/ld-linux-x86-64.so.2",
            (Machine::X86_64, Class::Elf32) => "/libx32/ld-linux-x32.so.2",
            (Machine::I386, _) => "/lib/ld-linux.so.2",
            (Machine::AARCH64, _) => "/lib/ld-linux-aarch64.so.1",
            (Machine::ARM, _) => "/lib/ld-linux-armhf.so.3",
            (Machine::RISCV, Class::Elf64) => "/lib/ld-linux-riscv64-lp64d.so.1",
            (Machine::PPC64, _) if big_endian => "/lib64/ld64.so.1",
            (Machine::PPC64, _) => "/lib64/ld64.so.2",
            (Machine::S390, Class::Elf64) => "/lib/ld64.so.1",
            (Machine::MIPS, Class::Elf64) => "/lib64/ld.so.1",
            (Machine::MIPS, Class::Elf32) => "/lib/ld.so.1",
            (Machine::LOONGARCH, _) => "/lib64/ld-linux-loongarch-lp64d.so.1",
            _ => return None,
        })
    }

    /// The path of the usual musl loader of a machine.
    pub fn usual_musl_path(machine: Machine) -> String {
        format!("/lib/ld-musl-{machine}.so.1")
    }
}

fn contains(data: &[u8], needle: &[u8]) -> bool {
    find(data, needle).is_some()
}

fn find(data: &[u8], needle: &[u8]) -> Option<usize> {
    memchr::memmem::find(data, needle)
}

/// Returns the whole NUL-terminated string with the given ending (including its NUL).
fn string_ending_with(data: &[u8], end: &[u8]) -> Option<String> {
    let at = find(data, end)?;
    let start = data[..at].iter().rposition(|byte| *byte == 0).map_or(0, |nul| nul + 1);
    let text = &data[start..at + end.len() - 1];
    std::str::from_utf8(text).ok().map(str::to_owned)
}

/// Finds `release version 2.36.`, as `ld.so --version` prints it.
fn glibc_version(data: &[u8]) -> Option<(u32, u32)> {
    const BANNER: &[u8] = b"release version ";
    let at = find(data, BANNER)? + BANNER.len();
    let text = std::str::from_utf8(data.get(at..at + 8)?).ok()?;
    let mut numbers = text.split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

/// Finds the version that musl's `libc.so` contains as a separate string.
fn musl_version(data: &[u8]) -> Option<(u32, u32, u32)> {
    data.split(|byte| *byte == 0).filter(|string| (5..=12).contains(&string.len())).find_map(|string| {
        let mut numbers = std::str::from_utf8(string).ok()?.split('.').map(|number| number.parse().ok());
        let version = (numbers.next()??, numbers.next()??, numbers.next()??);
        numbers.next().is_none().then_some(version)
    })
}

/// Returns the longest run of adjacent strings that begin and end with a slash and name a library directory.
fn default_directories(data: &[u8]) -> Option<Vec<String>> {
    let mut best: Vec<&[u8]> = Vec::new();
    let mut run: Vec<&[u8]> = Vec::new();
    for string in data.split(|byte| *byte == 0) {
        let is_directory = string.len() > 2
            && string.starts_with(b"/")
            && string.ends_with(b"/")
            && string.iter().all(u8::is_ascii_graphic)
            && find(string, b"lib").is_some();
        if is_directory {
            run.push(string);
            continue;
        }
        if run.len() > best.len() {
            best = std::mem::take(&mut run);
        }
        run.clear();
    }
    let text = |bytes: &&[u8]| raw::text(bytes).trim_end_matches('/').to_owned();
    (1..=MOST_DIRECTORIES).contains(&best.len()).then(|| best.iter().map(text).collect())
}

fn usual_directories(_: Machine, class: Class) -> Vec<String> {
    match class {
        Class::Elf64 => ["/lib64", "/usr/lib64"].map(String::from).to_vec(),
        Class::Elf32 => ["/lib", "/usr/lib"].map(String::from).to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(path: &str, data: &[u8]) -> Option<DynamicLoader> {
        DynamicLoader::parse(path, data, Machine::X86_64, Class::Elf64)
    }

    #[test]
    fn a_glibc_loader_tells_its_directories_version_and_token() {
        let data =
            b"\x01\0/proc/self/\0/lib/x86_64-linux-gnu/\0/usr/lib/x86_64-linux-gnu/\0/lib/\0/usr/lib/\0\
            \0/etc/ld.so.cache\0glibc-hwcaps\0stable release version 2.36.\nCopyright\0";
        let loader = parse("/lib64/ld-linux-x86-64.so.2", data).unwrap();
        assert_eq!(loader.flavour, Flavour::Glibc { version: Some((2, 36)) });
        let directories = ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib", "/usr/lib"];
        assert_eq!(loader.default_directories, directories);
        assert_eq!(loader.lib_token, "lib/x86_64-linux-gnu");
        assert_eq!(loader.cache_path, "/etc/ld.so.cache");
        assert!(loader.searches_hwcaps && !loader.knows_relr);
    }

    #[test]
    fn a_musl_loader_reads_the_path_file_beside_it() {
        let loader = parse("/lib/ld-musl-x86_64.so.1", b"musl libc (x86_64)\nVersion %s\0").unwrap();
        assert_eq!(loader.flavour, Flavour::Musl);
        assert_eq!(loader.musl_path_file(), "/etc/ld-musl-x86_64.path");
    }

    #[test]
    fn directories_have_no_slash_at_their_end_and_a_file_full_of_them_tells_none() {
        let slashes = parse("/x", b"\0/lib//\0\0/etc/ld.so.cache\0").unwrap();
        assert_eq!(slashes.default_directories, ["/lib"]);
        let data = [&b"/lib/\0".repeat(100_000)[..], b"\0/etc/ld.so.cache\0"].concat();
        assert_eq!(parse("/x", &data).unwrap().default_directories, ["/lib64", "/usr/lib64"]);
    }

    #[test]
    fn another_file_is_no_loader() {
        assert_eq!(parse("/bin/sh", b"\x7fELF nothing of the kind"), None);
    }
}
