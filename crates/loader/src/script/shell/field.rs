//! Field splitting: unquoted parts of a command's words are split at blanks and matched against file names.
//! Source: POSIX.1-2024, Shell Command Language, 2.6.

use super::{ARGUMENTS, LONGEST_WORD, MOST_WORDS, OWN_DIRECTORY, Reader, UNKNOWN};
use crate::script::lexer::{Part, Word};

impl Reader {
    /// Returns the fields of a command. `None` if the first field cannot be determined.
    pub(super) fn command(&self, words: &[&Word]) -> Option<Vec<String>> {
        let mut command = Vec::new();
        for word in words.iter().take(MOST_WORDS) {
            match self.fields(word) {
                Some(fields) => command.extend(fields),
                None if command.is_empty() => return None,
                None => command.push(UNKNOWN.to_owned()),
            }
        }
        command.truncate(MOST_WORDS);
        let is_known = command.first().is_some_and(|first| !first.is_empty() && first != UNKNOWN);
        Some(command).filter(|_| is_known)
    }

    /// Returns the only field of a word.
    pub(super) fn single(&self, word: &Word) -> Option<String> {
        let mut fields = self.fields(word)?;
        fields.pop().filter(|field| fields.is_empty() && field != ARGUMENTS)
    }

    fn fields(&self, word: &Word) -> Option<Vec<String>> {
        match &word.parts[..] {
            [Part::Arguments] if !self.has_other_arguments => return Some(vec![ARGUMENTS.to_owned()]),
            [Part::Text(empty), Part::Arguments] if empty.is_empty() && !self.has_other_arguments => {
                return Some(vec![ARGUMENTS.to_owned()]);
            }
            _ if word.is_pattern => return None,
            parts if word.bare.is_empty() => {
                let is_told = |text: &String| !text.contains("$PATH") && !text.contains("$LD_");
                return self.resolve(parts).filter(is_told).map(|text| vec![text]);
            }
            _ if self.variables.contains_key("IFS") => return None,
            _ => {}
        }
        let mut fields = Vec::new();
        let mut open: Option<String> = None;
        for (at, part) in word.parts.iter().enumerate() {
            let text = self.resolve(std::slice::from_ref(part))?;
            if !word.bare.contains(&at) || *part == Part::OwnDirectory {
                open.get_or_insert_default().push_str(&text);
                continue;
            }
            if text.replace(OWN_DIRECTORY, "").contains(['*', '?', '[', '\\']) {
                return None;
            }
            for (number, piece) in text.split(' ').enumerate() {
                if number > 0 {
                    fields.extend(open.take());
                }
                if !piece.is_empty() {
                    open.get_or_insert_default().push_str(piece);
                }
            }
        }
        fields.extend(open);
        let is_whole = |field: &String| {
            !field.contains("$PATH")
                && !field.contains("$LD_")
                && field.len() <= LONGEST_WORD
                && field.rfind(OWN_DIRECTORY).is_none_or(|at| at == 0)
        };
        fields.iter().all(is_whole).then_some(fields)
    }
}
