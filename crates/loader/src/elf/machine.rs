//! Machines, classes and byte orders by their common names.

use std::fmt;

use compat_sys::Architecture;
use goblin::elf::header;

/// The machine that an object was built for (`e_machine`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Machine(pub u16);

/// The machines with a name: `e_machine`, and the output of `uname -m` on them.
const NAMES: &[(u16, &str)] = &[
    (header::EM_X86_64, "x86_64"),
    (header::EM_386, "i386"),
    (header::EM_AARCH64, "aarch64"),
    (header::EM_ARM, "arm"),
    (header::EM_RISCV, "riscv"),
    (header::EM_PPC64, "ppc64"),
    (header::EM_PPC, "ppc"),
    (header::EM_S390, "s390"),
    (header::EM_MIPS, "mips"),
    (header::EM_SPARCV9, "sparc64"),
    (header::EM_IA_64, "ia64"),
    (258, "loongarch"),
];

impl Machine {
    /// AMD64.
    pub const X86_64: Self = Self(header::EM_X86_64);
    /// Intel 80386 and its successors in 32-bit mode.
    pub const I386: Self = Self(header::EM_386);
    /// Arm in 64-bit state.
    pub const AARCH64: Self = Self(header::EM_AARCH64);
    /// Arm in 32-bit state.
    pub const ARM: Self = Self(header::EM_ARM);
    /// RISC-V.
    pub const RISCV: Self = Self(header::EM_RISCV);
    /// 64-bit PowerPC.
    pub const PPC64: Self = Self(header::EM_PPC64);
    /// S/390 and z/Architecture.
    pub const S390: Self = Self(header::EM_S390);
    /// MIPS.
    pub const MIPS: Self = Self(header::EM_MIPS);
    /// LoongArch.
    pub const LOONGARCH: Self = Self(258);
    /// Alpha.
    pub const ALPHA: Self = Self(0x9026);
    /// 64-bit SPARC.
    pub const SPARC64: Self = Self(header::EM_SPARCV9);
    /// Itanium.
    pub const IA64: Self = Self(header::EM_IA_64);

    /// Returns the machine that this program was compiled for.
    pub fn of_this_program() -> Self {
        if cfg!(target_arch = "x86_64") {
            Self::X86_64
        } else if cfg!(target_arch = "aarch64") {
            Self::AARCH64
        } else if cfg!(target_arch = "riscv64") {
            Self::RISCV
        } else if cfg!(target_arch = "powerpc64") {
            Self::PPC64
        } else if cfg!(target_arch = "s390x") {
            Self::S390
        } else {
            Self(0)
        }
    }

    /// Returns the machine with the given name, as printed by [`fmt::Display`].
    pub fn from_name(name: &str) -> Option<Self> {
        let named = NAMES.iter().find(|(_, known)| *known == name).map(|(number, _)| Self(*number));
        named.or_else(|| name.strip_prefix("machine-")?.parse().ok().map(Self))
    }
}

impl Machine {
    /// Returns whether its programs are usually big-endian. If both orders are usual, this machine's order
    /// counts.
    pub fn is_big_endian(self) -> bool {
        let always = [header::EM_S390, header::EM_SPARCV9, header::EM_PPC].contains(&self.0);
        let native = self == Self::of_this_program() && cfg!(target_endian = "big");
        always || native
    }

    /// Returns the machine and the byte order for a name of `uname -m`, Debian or OCI.
    pub fn from_usual_name(name: &str) -> Option<(Self, bool)> {
        let machine = match Architecture::named(name).map_or(name, |architecture| architecture.name) {
            "riscv64" => Self::RISCV,
            "ppc64le" => return Some((Self::PPC64, false)),
            "ppc64" => return Some((Self::PPC64, true)),
            "mipsel" | "mips64el" => return Some((Self::MIPS, false)),
            "mips" | "mips64" => return Some((Self::MIPS, true)),
            "s390x" => Self::S390,
            "loongarch64" => Self::LOONGARCH,
            name => Self::from_name(name)?,
        };
        Some((machine, machine.is_big_endian()))
    }

    /// Returns the usual name of a machine with a byte order, which for most is the output of `uname -m` on it.
    pub fn usual_name(self, big_endian: bool) -> String {
        match self {
            Self::RISCV => "riscv64".to_owned(),
            Self::PPC64 if !big_endian => "ppc64le".to_owned(),
            Self::S390 => "s390x".to_owned(),
            Self::LOONGARCH => "loongarch64".to_owned(),
            // `uname -m` prints the same name for both.
            Self::MIPS if !big_endian => "mipsel".to_owned(),
            other => other.to_string(),
        }
    }

    /// Returns the usual name of the machine for an object.
    pub fn usual_name_of(self, class: Class, big_endian: bool) -> String {
        match (self, class) {
            (Self::RISCV, Class::Elf32) => "riscv32".to_owned(),
            (Self::S390, Class::Elf32) => "s390".to_owned(),
            (Self::LOONGARCH, Class::Elf32) => "loongarch32".to_owned(),
            (Self::MIPS, Class::Elf64) if big_endian => "mips64".to_owned(),
            (Self::MIPS, Class::Elf64) => "mips64el".to_owned(),
            (Self::AARCH64, _) if big_endian => "aarch64_be".to_owned(),
            (Self::ARM, _) if big_endian => "armeb".to_owned(),
            _ => self.usual_name(big_endian),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(number, _)| *number == self.0) {
            Some((_, name)) => formatter.write_str(name),
            None => write!(formatter, "machine-{}", self.0),
        }
    }
}

impl fmt::Debug for Machine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// The width of addresses (`EI_CLASS`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// 32 bits.
    Elf32,
    /// 64 bits.
    Elf64,
}

impl Class {
    /// Returns the width in bits: 32 or 64.
    pub fn bits(self) -> u8 {
        match self {
            Self::Elf32 => 32,
            Self::Elf64 => 64,
        }
    }

    /// Returns the class with the given width in bits.
    pub fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            32 => Some(Self::Elf32),
            64 => Some(Self::Elf64),
            _ => None,
        }
    }
}

/// The byte order (`EI_DATA`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endian {
    /// Least significant byte first.
    Little,
    /// Most significant byte first.
    Big,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_an_unknown_machine_keeps_its_number() {
        for machine in [Machine::X86_64, Machine::AARCH64, Machine::RISCV, Machine(9999)] {
            assert_eq!(Machine::from_name(&machine.to_string()), Some(machine));
        }
        assert_eq!(Machine(9999).to_string(), "machine-9999");
        assert_eq!(Machine::from_name("toaster"), None);
        for (name, machine) in [
            ("s390x", Machine::S390),
            ("ppc64le", Machine::PPC64),
            ("ppc64", Machine::PPC64),
            ("mipsel", Machine::MIPS),
        ] {
            let (found, big_endian) = Machine::from_usual_name(name).unwrap();
            assert_eq!((found, found.usual_name(big_endian).as_str()), (machine, name));
        }
        assert_eq!(Machine::from_usual_name("arm64"), Some((Machine::AARCH64, false)));
    }
}
