//! Programs that the kernel starts for file formats it does not support itself: binfmt_misc.
//!
//! Source: the kernel's `Documentation/admin-guide/binfmt-misc.rst` and `fs/binfmt_misc.c`. Each entry is a
//! file in `/proc/sys/fs/binfmt_misc` with its state, its interpreter, its flags, and either a magic number
//! with a mask or an extension.

use std::fs;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The directory in which the kernel lists the entries.
const DIRECTORY: &str = "/proc/sys/fs/binfmt_misc";
/// The number of bytes of a file that the kernel examines (`BINPRM_BUF_SIZE`).
const BUFFER_SIZE: usize = 256;
/// The most entries that are read.
const MOST_ENTRIES: usize = 256;

/// An enabled entry of binfmt_misc.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Handler {
    /// Its name.
    pub name: String,
    /// The program that it starts.
    pub interpreter: String,
    /// Its flags. F means that the program was opened when the entry was created, and is the same in every
    /// root.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub flags: String,
    /// The extension of its files, without the dot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension: Option<String>,
    /// The offset of the magic number in its files.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub offset: usize,
    /// The magic number, in hexadecimal.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub magic: String,
    /// The bits of the magic number that count, in hexadecimal. All bits if absent.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub mask: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl Handler {
    /// The enabled entries of this machine. Empty if binfmt_misc is not mounted or is disabled.
    pub fn of_this_machine() -> Vec<Self> {
        Self::all_in(Path::new(DIRECTORY))
    }

    fn all_in(directory: &Path) -> Vec<Self> {
        let is_on = fs::read_to_string(directory.join("status")).is_ok_and(|text| text.trim() == "enabled");
        let entries = fs::read_dir(directory).into_iter().flatten().flatten().filter(|_| is_on);
        let named = entries.filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let is_entry = !matches!(name.as_str(), "status" | "register");
            Self::parse(&name, &fs::read_to_string(entry.path()).ok().filter(|_| is_entry)?)
        });
        let mut all: Vec<Self> = named.take(MOST_ENTRIES).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Reads an entry as the kernel shows it. `None` if it is disabled or incomplete.
    pub fn parse(name: &str, text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next()? != "enabled" {
            return None;
        }
        let mut handler = Self { name: name.to_owned(), ..Self::default() };
        for line in lines {
            let (key, value) = line.split_once(' ').unwrap_or((line, ""));
            match key {
                "interpreter" => handler.interpreter = value.to_owned(),
                "flags:" => handler.flags = value.trim().to_owned(),
                "extension" => handler.extension = Some(value.trim_start_matches('.').to_owned()),
                "offset" => handler.offset = value.parse().ok()?,
                "magic" => handler.magic = value.to_owned(),
                "mask" => handler.mask = value.to_owned(),
                _ => {}
            }
        }
        let has_rule = handler.extension.is_some() || !handler.magic.is_empty();
        (has_rule && !handler.interpreter.is_empty()).then_some(handler)
    }

    /// Whether the kernel passes a file with this name and beginning to the handler.
    pub fn takes(&self, name: &str, head: &[u8]) -> bool {
        if let Some(extension) = &self.extension {
            return name
                .rsplit('/')
                .next()
                .and_then(|name| name.rsplit_once('.'))
                .is_some_and(|(_, own)| own == extension);
        }
        let head = &head[..head.len().min(BUFFER_SIZE)];
        let (Some(magic), Some(mask)) = (bytes(&self.magic), bytes(&self.mask)) else { return false };
        let Some(found) = head.get(self.offset..).and_then(|rest| rest.get(..magic.len())) else {
            return false;
        };
        let mask = |at: usize| mask.get(at).copied().unwrap_or(0xff);
        !magic.is_empty() && found.iter().zip(&magic).enumerate().all(|(at, (a, b))| (a ^ b) & mask(at) == 0)
    }

    /// Whether its program was opened when the entry was created and is therefore the same in every root.
    pub fn is_open(&self) -> bool {
        self.flags.contains('F')
    }

    /// Whether its program is qemu's user-mode emulator of a machine, which loads programs as that machine
    /// would.
    pub fn is_emulator(&self) -> bool {
        self.interpreter.rsplit('/').next().is_some_and(|name| name.starts_with("qemu-"))
    }
}

/// Parses hexadecimal text.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel's text for the entry of Debian's qemu-user-static.
    const AARCH64: &str = "enabled\ninterpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P\nflags: POCF\noffset 0\n\
        magic 7f454c460201010000000000000000000200b700\nmask ffffffffffffff00fffffffffffffffffeffffff\n";

    #[test]
    fn an_entry_takes_the_files_that_its_magic_number_says() {
        let handler = Handler::parse("qemu-aarch64", AARCH64).unwrap();
        assert!(handler.is_open());
        let mut head = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\xb7\0\x01\0\0\0".to_vec();
        assert!(handler.takes("app", &head), "both kinds of programs, by the mask");
        head[18] = 62;
        assert!(!handler.takes("app", &head));
        assert!(!handler.takes("app", &head[..10]));
    }

    #[test]
    fn a_disabled_entry_and_one_without_a_rule_count_for_nothing() {
        assert_eq!(Handler::parse("x", &AARCH64.replace("enabled", "disabled")), None);
        assert_eq!(Handler::parse("x", "enabled\ninterpreter /x\nflags: \n"), None);
        let odd = Handler::parse("x", "enabled\ninterpreter /x\nflags: \noffset 0\nmagic 7\u{e4}\n").unwrap();
        assert!(!odd.takes("a", b"\x7fELF"));
    }

    #[test]
    fn an_entry_may_go_by_the_extension() {
        let text = "enabled\ninterpreter /usr/bin/wine\nflags: \nextension .exe\n";
        let handler = Handler::parse("wine", text).unwrap();
        assert!(handler.takes("/srv/a.exe", b"MZ") && !handler.takes("/srv/exe", b"MZ"));
        assert!(!handler.is_open() && !handler.is_emulator());
    }

    #[test]
    fn a_directory_of_entries_is_read_if_it_is_switched_on() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("qemu-aarch64"), AARCH64).unwrap();
        fs::write(directory.path().join("status"), "enabled\n").unwrap();
        fs::write(directory.path().join("register"), "").unwrap();
        assert_eq!(Handler::all_in(directory.path()).len(), 1);
        fs::write(directory.path().join("status"), "disabled\n").unwrap();
        assert_eq!(Handler::all_in(directory.path()), []);
    }
}
