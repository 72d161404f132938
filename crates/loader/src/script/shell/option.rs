//! The options of a shell (`set`).

/// The names of options that every shell supports (`set -o`).
const PORTABLE: [&str; 10] = [
    "allexport",
    "ignoreeof",
    "monitor",
    "noclobber",
    "noglob",
    "notify",
    "verbose",
    "vi",
    "emacs",
    "xtrace",
];
/// Additional options of bash.
const OF_BASH: [&str; 12] = [
    "braceexpand",
    "errtrace",
    "functrace",
    "hashall",
    "histexpand",
    "history",
    "interactive-comments",
    "keyword",
    "physical",
    "pipefail",
    "posix",
    "privileged",
];

/// The options that affect the continuation of a script.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Options {
    /// `-e`
    pub exits_on_error: bool,
    /// `-u`
    pub exits_on_unset: bool,
    /// `-n`
    pub executes_nothing: bool,
    /// Whether an option is set that the shell may not support. The shell then exits.
    pub may_be_unknown: bool,
    /// Whether the shell may support only POSIX before 2024.
    is_plain: bool,
}

impl Options {
    pub(super) fn set(&mut self, letters: &str, is_on: bool) {
        for letter in letters.chars() {
            match letter {
                'e' => self.exits_on_error = is_on,
                'u' => self.exits_on_unset = is_on,
                'n' => self.executes_nothing = is_on,
                _ => {}
            }
        }
    }

    pub(super) fn set_by_name(&mut self, name: Option<&str>, is_on: bool) {
        match name {
            Some("errexit") => self.exits_on_error = is_on,
            Some("nounset") => self.exits_on_unset = is_on,
            Some("noexec") => self.executes_nothing = is_on,
            Some(name) if PORTABLE.contains(&name) => {}
            Some(name) => self.may_be_unknown |= self.is_plain || !OF_BASH.contains(&name),
            None => {}
        }
    }

    /// Returns the options in the words that start a shell.
    pub(super) fn of_words(words: &str) -> Self {
        let is_plain = |word: &str| matches!(word.rsplit('/').next(), Some("sh" | "dash"));
        let is_busybox = words.contains("busybox");
        let is_plain = !is_busybox && words.split_whitespace().any(is_plain);
        let mut options = Self { is_plain, ..Self::default() };
        let mut words = words.split_whitespace();
        while let Some(word) = words.next() {
            if let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.starts_with('-')) {
                options.set(letters, true);
                if letters.ends_with('o') {
                    options.set_by_name(words.next(), true);
                }
            }
        }
        options
    }
}
