//! The constants of an object: the bytes that are mapped neither executable nor writable.

use goblin::elf::program_header::{PF_W, PF_X, PT_LOAD};

use crate::elf::object;

/// Returns the read-only parts of the file, which contain its string constants. They are a small share of a
/// library. Returns the whole file if it has no such segment (linked without `-z separate-code`) or is not an
/// ELF file.
pub fn constants(data: &[u8]) -> Vec<&[u8]> {
    let headers = object::program_headers(data).unwrap_or_default();
    let constant = headers.iter().filter(|h| h.p_type == PT_LOAD && h.p_flags & (PF_X | PF_W) == 0);
    let parts = constant.filter_map(|header| {
        let start = usize::try_from(header.p_offset).ok()?;
        data.get(start..start.checked_add(usize::try_from(header.p_filesz).ok()?)?)
    });
    let parts: Vec<&[u8]> = parts.collect();
    if parts.is_empty() { vec![data] } else { parts }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::sample::{CONSTANT, Sample};

    #[test]
    fn what_is_no_object_is_constant_as_a_whole() {
        assert_eq!(constants(b"text"), [b"text"]);
    }

    #[test]
    fn constants_are_a_part_of_an_object_and_hold_its_strings() {
        for sample in Sample::all(20_000) {
            let bytes = sample.bytes();
            let parts = constants(&bytes);
            assert!(parts.iter().map(|part| part.len()).sum::<usize>() < bytes.len() - 20_000, "{sample:?}");
            assert!(parts.iter().any(|part| memchr::memmem::find(part, CONSTANT).is_some()), "{sample:?}");
        }
    }
}
