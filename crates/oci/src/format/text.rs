//! Makes text from registries safe for display: on one line, of bounded length, and without characters that
//! control a terminal or reorder the surrounding text.

use std::fmt::Write as _;

/// The maximum number of list entries to show.
const LISTED: usize = 8;

/// Returns at most `most` characters of a text. Line ends become spaces. Other control characters, and those
/// that change the writing direction, are escaped.
pub fn shown(text: &str, most: usize) -> String {
    let mut shown = String::new();
    for (at, character) in text.chars().enumerate() {
        if at == most {
            shown.push('\u{2026}');
            break;
        }
        match character {
            '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => shown.push(' '),
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                let _ = write!(shown, "{}", character.escape_unicode());
            }
            character if character.is_control() => {
                let _ = write!(shown, "{}", character.escape_unicode());
            }
            character => shown.push(character),
        }
    }
    shown
}

/// Returns the first entries of a list and the number of the others.
pub fn listed(entries: &[String]) -> String {
    let mut text = entries.iter().take(LISTED).map(|entry| shown(entry, 100)).collect::<Vec<_>>().join(", ");
    if entries.len() > LISTED {
        let _ = write!(text, " and {} more", entries.len() - LISTED);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_steer_a_terminal_is_escaped_and_length_is_bounded() {
        insta::assert_snapshot!(shown("a\u{1b}[2Jb\r\nerror: c\u{202e}", 99), @r"a\u{1b}[2Jb  error: c\u{202e}");
        assert_eq!(shown("abcdef", 3), "abc\u{2026}");
        assert_eq!(shown("abc", 3), "abc");
    }

    #[test]
    fn a_long_list_is_cut_short() {
        let many: Vec<String> = (0..30).map(|number| format!("p{number}\n")).collect();
        assert_eq!(listed(&many), "p0 , p1 , p2 , p3 , p4 , p5 , p6 , p7  and 22 more");
        assert_eq!(listed(&many[..1]), "p0 ");
    }
}
