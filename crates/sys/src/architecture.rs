//! Names of architectures, and the level of this machine's CPU.

/// The names of one architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Architecture {
    /// The name that `uname -m` prints.
    pub name: &'static str,
    /// The name in `GOARCH`, which images use (image-spec, `image-index.md`).
    pub go: &'static str,
    /// The names that Debian, Rust and older kernels use.
    pub others: &'static [&'static str],
}

/// The architectures with several names. All others have the same name everywhere (`riscv64`, `s390x`).
const ARCHITECTURES: &[Architecture] = &[
    Architecture { name: "x86_64", go: "amd64", others: &["x86-64"] },
    Architecture { name: "i386", go: "386", others: &["i486", "i586", "i686", "x86"] },
    Architecture { name: "aarch64", go: "arm64", others: &[] },
    Architecture { name: "arm", go: "arm", others: &["armv6l", "armv7l", "armv8l", "armhf", "armel"] },
    Architecture { name: "ppc64le", go: "ppc64le", others: &["ppc64el", "powerpc64le"] },
    Architecture { name: "ppc64", go: "ppc64", others: &["powerpc64"] },
    Architecture { name: "mipsel", go: "mipsle", others: &[] },
    Architecture { name: "mips64el", go: "mips64le", others: &[] },
    Architecture { name: "loongarch64", go: "loong64", others: &[] },
];

impl Architecture {
    /// Returns the architecture with several names that has this name.
    pub fn named(name: &str) -> Option<Self> {
        let has_name = |known: &&Self| known.name == name || known.go == name || known.others.contains(&name);
        ARCHITECTURES.iter().find(has_name).copied()
    }
}

/// The level of this CPU (x86-64 psABI, table "Micro-Architecture Levels"), from 1 to 4. `None` on another
/// architecture.
#[cfg(target_arch = "x86_64")]
pub fn x86_64_level() -> Option<u32> {
    macro_rules! all {
        ($($feature:tt),+) => { $(std::arch::is_x86_feature_detected!($feature))&&+ };
    }
    let v2 = all!("cmpxchg16b", "popcnt", "sse3", "ssse3", "sse4.1", "sse4.2");
    let v3 = v2 && all!("avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "lzcnt", "movbe");
    let v4 = v3 && all!("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl");
    Some(1 + u32::from(v2) + u32::from(v3) + u32::from(v4))
}

/// The level of this CPU. `None`, because it is not an x86-64 CPU.
#[cfg(not(target_arch = "x86_64"))]
pub fn x86_64_level() -> Option<u32> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_of_one_architecture() {
        for architecture in ARCHITECTURES {
            for name in [architecture.name, architecture.go].iter().chain(architecture.others) {
                assert_eq!(Architecture::named(name), Some(*architecture), "{name}");
            }
        }
        assert_eq!(Architecture::named("s390x"), None);
    }
}
