//! The C library that an object was built for, according to the names in it.
//!
//! Sources: the sonames of glibc, musl, bionic (Android) and the BSDs, the paths of their loaders, and
//! `EI_OSABI` (System V gABI, "ELF Identification").

use crate::loader::Facts;

/// A C library, in the detail that matters for a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// The GNU C library.
    Glibc,
    /// musl.
    Musl,
    /// Android's C library.
    Bionic,
    /// The C library of another operating system, or an unknown one.
    Other,
}

impl Family {
    /// Returns the C library that an object needs, or `None` if it names none.
    pub fn of(facts: &Facts) -> Option<Self> {
        match facts.os_abi {
            // NetBSD, Solaris, FreeBSD, OpenBSD.
            2 | 6 | 9 | 12 => Some(Self::Other),
            _ => match facts.interpreter.as_deref() {
                Some(interpreter) => Some(Self::of_interpreter(interpreter)),
                None => Self::of_needs(facts),
            },
        }
    }

    fn of_interpreter(path: &str) -> Self {
        let name = path.rsplit('/').next().unwrap_or_default();
        let begins = |beginnings: &[&str]| beginnings.iter().any(|beginning| name.starts_with(beginning));
        match () {
            () if begins(&["ld-musl-"]) => Self::Musl,
            () if begins(&["ld-linux", "ld64.so."]) || path == "/lib/ld.so.1" => Self::Glibc,
            () if path.starts_with("/system/bin/linker") => Self::Bionic,
            () => Self::Other,
        }
    }

    fn of_needs(facts: &Facts) -> Option<Self> {
        const BIONIC: [&str; 5] = ["libm.so", "libdl.so", "liblog.so", "libandroid.so", "libstdc++.so"];
        const GLIBC: [&str; 6] =
            ["libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libutil.so.1", "libresolv.so.2"];
        let names = || facts.needed.iter().map(|dependency| dependency.name.as_str());
        let needs = |list: &[&str]| names().any(|name| list.contains(&name));
        let wants_bionic = || {
            facts
                .version_needs
                .iter()
                .any(|(_, versions)| versions.iter().any(|(version, _)| version == "LIBC"))
        };
        // All parts of musl are in libc.so. A list that names separate parts is bionic's.
        match () {
            () if needs(&["libc.so.6", "libc.so.6.1"])
                || names().any(|name| name.starts_with("ld-linux")) =>
            {
                Some(Self::Glibc)
            }
            () if names().any(|name| name.starts_with("libc.musl-")) => Some(Self::Musl),
            () if needs(&["libc.so"]) && (needs(&BIONIC) || wants_bionic()) => Some(Self::Bionic),
            () if needs(&["libc.so"]) => Some(Self::Musl),
            () if needs(&BIONIC[..4]) => Some(Self::Bionic),
            () if names().any(|name| name.starts_with("libc.so.")) => Some(Self::Other),
            () if needs(&GLIBC) => Some(Self::Glibc),
            () => None,
        }
    }

    /// The name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Glibc => "glibc",
            Self::Musl => "musl",
            Self::Bionic => "Android",
            Self::Other => "another operating system",
        }
    }
}
