//! Converts bytes that may be invalid UTF-8 to text and back.
//!
//! Names in objects, paths and caches are bytes to the kernel and to the loaders, and UTF-8 in nearly all
//! cases. Here they are strings, which documents can hold. A byte from 0x80 on that is not part of valid UTF-8
//! becomes a private use character, U+EF80 to U+EFFF, as in the encoding OPTU-8 of MirBSD. Such a character in
//! valid UTF-8 is encoded as three such bytes. Two texts are therefore equal if and only if their bytes are
//! equal, and no information is lost.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The character for byte 0. Only those for 0x80 and above are used.
const BASE: u32 = 0xef00;
/// The first byte of each of these characters in UTF-8.
const FIRST_BYTE: u8 = 0xee;

/// Returns the byte that a character represents.
fn byte_of(character: char) -> Option<u8> {
    let offset = (character as u32).checked_sub(BASE)?;
    u8::try_from(offset).ok().filter(|byte| *byte >= 0x80)
}

fn character_of(byte: u8) -> char {
    char::from_u32(BASE + u32::from(byte)).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// Converts bytes to text.
pub fn text(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes)
        && !has_bytes(text)
    {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len());
    let escape = |bytes: &[u8], text: &mut String| text.extend(bytes.iter().map(|b| character_of(*b)));
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match byte_of(character) {
                Some(_) => escape(character.encode_utf8(&mut [0; 4]).as_bytes(), &mut text),
                None => text.push(character),
            }
        }
        escape(chunk.invalid(), &mut text);
    }
    Cow::Owned(text)
}

/// Converts bytes to an owned string.
pub fn string(bytes: &[u8]) -> String {
    text(bytes).into_owned()
}

/// Converts a path or name of the file system to text.
pub fn of_path(path: impl AsRef<OsStr>) -> String {
    string(path.as_ref().as_bytes())
}

/// Returns the bytes that a text represents.
pub fn bytes(text: &str) -> Cow<'_, [u8]> {
    if !has_bytes(text) {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut bytes = Vec::with_capacity(text.len());
    for character in text.chars() {
        match byte_of(character) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Cow::Owned(bytes)
}

/// The number of bytes that a text represents.
pub fn length(text: &str) -> usize {
    bytes(text).len()
}

/// Returns the path that a text represents.
pub fn path(text: &str) -> Cow<'_, Path> {
    match bytes(text) {
        Cow::Borrowed(bytes) => Cow::Borrowed(Path::new(OsStr::from_bytes(bytes))),
        Cow::Owned(bytes) => Cow::Owned(PathBuf::from(OsStr::from_bytes(&bytes))),
    }
}

/// Returns a text for people, with invalid bytes as `\xff`.
pub fn shown(text: &str) -> Cow<'_, str> {
    if !has_bytes(text) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match byte_of(character) {
            Some(byte) => shown.push_str(&format!("\\x{byte:02x}")),
            None => shown.push(character),
        }
    }
    Cow::Owned(shown)
}

/// Whether a text contains characters that represent bytes.
fn has_bytes(text: &str) -> bool {
    memchr::memchr(FIRST_BYTE, text.as_bytes()).is_some() && text.chars().any(|c| byte_of(c).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_as_they_were() {
        let all: Vec<u8> = (0..=255).collect();
        let names: [&[u8]; 7] = [
            b"libx.so",
            b"lib\xff.so",
            b"\xc3",
            "é\u{fffd}".as_bytes(),
            "\u{ef80}\u{efff}".as_bytes(),
            b"",
            &all,
        ];
        for name in names {
            assert_eq!(bytes(&text(name)), name, "{name:?}");
            assert_eq!(path(&text(name)).as_os_str().as_bytes(), name);
            assert_eq!(length(&text(name)), name.len());
        }
    }

    #[test]
    fn different_bytes_are_different_texts() {
        let texts =
            [b"a\xff".as_slice(), b"a\xfe", "a\u{fffd}".as_bytes(), "a\u{efff}".as_bytes(), b"a\xff\xff"];
        let texts: std::collections::HashSet<_> = texts.into_iter().map(string).collect();
        assert_eq!(texts.len(), 5);
    }

    #[test]
    fn people_see_bytes_as_numbers() {
        assert_eq!(shown(&text(b"lib\xff\xc3.so")), r"lib\xff\xc3.so");
        assert_eq!(shown("libé.so"), "libé.so");
    }
}
